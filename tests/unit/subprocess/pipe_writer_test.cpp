#include <sennit/subprocess/pipe_writer.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/io.hpp>

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

TEST(PipeWriter, writes_all_of_it_however_small_the_pipe) {
    os::Pipe pipe = os::make_pipe();
    os::set_pipe_bytes(pipe.write_end.get(), 4096);
    PipeWriter writer(std::move(pipe.write_end));
    std::string got;
    std::thread reader([&] {
        char buffer[1000];
        for (ssize_t n = 0; (n = ::read(pipe.read_end.get(), buffer, sizeof buffer)) > 0;)
            got.append(buffer, static_cast<std::size_t>(n));
    });
    const std::string data(300'000, 'd');
    EXPECT_EQ(writer.write(data), data.size());
    EXPECT_EQ(writer.write("", 1s), 0U);
    EXPECT_EQ(writer.write(data, 60s), data.size());
    writer.close();
    reader.join();
    EXPECT_EQ(got, data + data);
}

TEST(PipeWriter, at_the_deadline_tells_how_much_went) {
    const os::Pipe pipe = os::make_pipe();
    const int capacity = ::fcntl(pipe.write_end.get(), F_GETPIPE_SZ);
    PipeWriter writer(os::duplicate(pipe.write_end.get()));
    const std::string data(static_cast<std::size_t>(capacity) * 2, 'd');
    EXPECT_EQ(writer.write(data, 1ms), static_cast<std::size_t>(capacity));
    EXPECT_EQ(writer.write("x", 0s), 0U); // full
}

TEST(PipeWriter, nobody_reads_is_an_error_and_no_signal) {
    os::Pipe pipe = os::make_pipe();
    PipeWriter writer(std::move(pipe.write_end));
    pipe.read_end.reset();
    for (const Deadline deadline : {forever, Deadline(60s)}) {
        try {
            writer.write("x", deadline); // SIGPIPE would end this process here
            FAIL();
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), EPIPE);
        }
    }
}

TEST(PipeWriter, after_close_it_says_so) {
    os::Pipe pipe = os::make_pipe();
    PipeWriter writer(std::move(pipe.write_end));
    EXPECT_GE(writer.fileno(), 0);
    writer.close();
    writer.close();
    EXPECT_TRUE(writer.closed());
    EXPECT_THROW(writer.write("x"), UsageError);
    EXPECT_THROW(writer.fileno(), UsageError);
}

} // namespace
} // namespace sennit::subprocess

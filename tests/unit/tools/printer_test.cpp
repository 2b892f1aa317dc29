#include "tools/map/printer.hpp"

#include <sennit/os/fd.hpp>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

using Stream = Printer::Stream;

std::string drain(int fd) {
    std::string all(1 << 20, '\0');
    const ssize_t n = ::read(fd, all.data(), all.size());
    all.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return all;
}

TEST(Printer, writes_in_order_over_both_streams_and_tells_when_it_is_done) {
    const os::Pipe pipe = os::make_pipe();
    Printer printer(pipe.write_end.get(), pipe.write_end.get());
    bool told = false;
    printer.print(Stream::out, "a");
    printer.print(Stream::err, "b");
    printer.after([&] { told = true; });
    printer.print(Stream::out, "c");
    EXPECT_FALSE(told);
    EXPECT_TRUE(printer.flush());
    EXPECT_TRUE(told);
    EXPECT_EQ(drain(pipe.read_end.get()), "abc");
}
TEST(Printer, never_waits_for_a_slow_reader_and_leaves_its_descriptor_blocking) {
    const os::Pipe pipe = os::make_pipe();
    Printer printer(pipe.write_end.get(), pipe.write_end.get());
    const std::string much(300'000, 'x');
    printer.print(Stream::out, much);
    std::string got;
    while (!printer.flush()) {
        EXPECT_GE(printer.wait_fd(), 0);
        got += drain(pipe.read_end.get());
    }
    got += drain(pipe.read_end.get());
    EXPECT_EQ(got, much);
    EXPECT_EQ(printer.backlog_bytes(), 0);
    EXPECT_EQ(::fcntl(pipe.write_end.get(), F_GETFL) & O_NONBLOCK, 0);
}
TEST(Printer, encodes_what_lies_on_disk_as_it_goes) {
    const os::Pipe pipe = os::make_pipe();
    Spool spool("/tmp");
    Printer printer(pipe.write_end.get(), pipe.write_end.get());
    Capture text(spool), bytes(spool);
    spool.memory_used = Spool::memory_of_all;
    text.append("a\"b\n");
    bytes.append("\xff\xfe\xfd\xfc");
    spool.memory_used = 0;
    printer.print(Stream::out, std::move(text), Printer::Form::json_text);
    printer.print(Stream::out, std::move(bytes), Printer::Form::base64);
    EXPECT_TRUE(printer.flush());
    EXPECT_EQ(drain(pipe.read_end.get()), "a\\\"b\\n//79/A==");
}
TEST(Printer, says_that_nobody_reads_any_more) {
    ::signal(SIGPIPE, SIG_IGN);
    os::Pipe pipe = os::make_pipe();
    Printer printer(pipe.write_end.get(), pipe.write_end.get());
    pipe.read_end.reset();
    printer.print(Stream::out, "a");
    try {
        printer.flush();
        FAIL();
    } catch (const OutputError& error) {
        EXPECT_EQ(error.code(), EPIPE);
    }
}

} // namespace
} // namespace sennit::tools

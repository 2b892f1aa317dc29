#include <sennit/subprocess/pipe_reader.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>

#include <chrono>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

struct Both {
    explicit Both(const std::string& text = {}) : pipe(os::make_pipe()), reader(std::move(pipe.read_end)) { put(text); }
    void put(const std::string& text) const {
        ASSERT_EQ(::write(pipe.write_end.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    void finish() { pipe.write_end.reset(); }
    os::Pipe pipe;
    PipeReader reader;
};

TEST(PipeReader, reads_lines_with_their_ends_and_a_last_one_without) {
    Both p("one\n\ntwo\nthree");
    p.finish();
    EXPECT_EQ(p.reader.readline(), "one\n");
    EXPECT_EQ(p.reader.readline(), "\n");
    EXPECT_EQ(p.reader.readline(), "two\n");
    EXPECT_EQ(p.reader.readline(), "three");
    EXPECT_EQ(p.reader.readline(), "");
    EXPECT_EQ(p.reader.readline(), "");
}

TEST(PipeReader, is_a_range_of_lines) {
    Both p("a\nb\n\nc");
    p.finish();
    std::vector<std::string> lines;
    for (const std::string& line : p.reader) lines.push_back(line);
    EXPECT_EQ(lines, (std::vector<std::string>{"a\n", "b\n", "\n", "c"}));
}

TEST(PipeReader, gives_exact_amounts_what_is_there_or_all) {
    Both p("abcdefgh");
    EXPECT_EQ(p.reader.read(3), "abc");
    EXPECT_EQ(p.reader.read_some(2), "de");
    EXPECT_EQ(p.reader.read_some(), "fgh");
    p.put("rest");
    p.finish();
    EXPECT_EQ(p.reader.read(100), "rest"); // fewer only at the end
    EXPECT_EQ(p.reader.read(1), "");
    EXPECT_EQ(p.reader.read_some(), "");
    Both all("head\ntail");
    all.finish();
    EXPECT_EQ(all.reader.readline(), "head\n");
    EXPECT_EQ(all.reader.read_all(), "tail");
    EXPECT_EQ(all.reader.read_all(), "");
}

TEST(PipeReader, a_line_longer_than_the_pipe_arrives_whole) {
    Both p;
    std::string line(1'000'000, 'x');
    line += '\n';
    std::thread writer([&] {
        for (std::size_t at = 0; at < line.size();) {
            const ssize_t n = ::write(p.pipe.write_end.get(), line.data() + at, line.size() - at);
            if (n <= 0) return;
            at += static_cast<std::size_t>(n);
        }
    });
    EXPECT_TRUE(p.reader.readline() == line);
    writer.join();
}

TEST(PipeReader, a_deadline_throws_and_keeps_what_had_come) {
    Both p("half");
    EXPECT_THROW(p.reader.readline(1ms), TimeoutError);
    EXPECT_THROW(p.reader.read(100, 0s), TimeoutError);
    EXPECT_THROW(p.reader.read_all(-1s), TimeoutError);
    p.put(" and half\n");
    EXPECT_EQ(p.reader.readline(60s), "half and half\n");
}

TEST(PipeReader, after_close_it_says_so) {
    Both p("x");
    EXPECT_FALSE(p.reader.closed());
    EXPECT_GE(p.reader.fileno(), 0);
    p.reader.close();
    p.reader.close();
    EXPECT_TRUE(p.reader.closed());
    EXPECT_THROW(p.reader.read_all(), UsageError);
    EXPECT_THROW(p.reader.readline(), UsageError);
    EXPECT_THROW(p.reader.fileno(), UsageError);
}

TEST(PipeReader, many_short_lines_take_linear_time) {
    // 50,000 lines through a buffer that is read ahead: with a copy of the rest for each line this would move gigabytes.
    Both p;
    std::thread writer([&] {
        const std::string block(4096, '\n');
        for (int i = 0; i < 50; ++i) static_cast<void>(::write(p.pipe.write_end.get(), block.data(), block.size()));
        p.finish();
    });
    std::size_t lines = 0;
    for (const std::string& line : p.reader) lines += line == "\n";
    writer.join();
    EXPECT_EQ(lines, 50U * 4096U);
}

} // namespace
} // namespace sennit::subprocess

// StreamReader and StreamWriter on connected sockets and pipes.
#include "support/on_both_pollers.hpp"

#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/os/socket_setup.hpp>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::on_both_pollers;

struct Ends {
    StreamReader reader_a, reader_b;
    StreamWriter a, b;
};

// The option is no temporary of a co_await, and nothing here waits.
Ends connected(std::size_t limit = default_limit) {
    auto [one, two] = os::make_socket_pair();
    auto [ra, wa] = stream_of_socket(std::move(one), limit);
    auto [rb, wb] = stream_of_socket(std::move(two), limit);
    return {std::move(ra), std::move(rb), std::move(wa), std::move(wb)};
}

TEST(Stream, bytes_go_both_ways_in_order) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        s.a.write("one\ntwo\n");
        s.b.write("answer");
        EXPECT_EQ(co_await s.reader_b.readline(), "one\n");
        EXPECT_EQ(co_await s.reader_b.readuntil("o\n"), "two\n");
        EXPECT_EQ(co_await s.reader_a.readexactly(6), "answer");
        // And what comes while one waits.
        auto late = create_task([&]() -> Coro<std::string> { co_return co_await s.reader_b.readexactly(10); });
        co_await sleep(0s);
        s.a.write("12345");
        co_await sleep(0s);
        s.a.write("67890");
        EXPECT_EQ(co_await late, "1234567890");
        EXPECT_FALSE(s.reader_b.at_eof());
        s.a.close();
        co_await s.a.wait_closed();
        EXPECT_EQ(co_await s.reader_b.read(100), "");
        EXPECT_TRUE(s.reader_b.at_eof());
        EXPECT_EQ(co_await s.reader_b.readline(), "");
    });
}

TEST(Stream, half_of_it_may_end_while_the_other_goes_on) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        EXPECT_TRUE(s.a.can_write_eof());
        s.a.write("the whole question");
        s.a.write_eof();
        EXPECT_EQ(co_await s.reader_b.read(), "the whole question");
        s.b.write("the answer");
        s.b.close();
        EXPECT_EQ(co_await s.reader_a.read(), "the answer");
        EXPECT_THROW(s.a.write("more"), UsageError);
    });
}

TEST(Stream, an_end_in_the_middle_gives_what_came_in_the_error) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        s.a.write("half a mess");
        s.a.close();
        std::string partial;
        try {
            co_await s.reader_b.readexactly(100);
        } catch (const IncompleteReadError& e) {
            partial = e.partial();
        }
        EXPECT_EQ(partial, "half a mess");
        EXPECT_TRUE(s.reader_b.at_eof());
    });
}

TEST(Stream, the_limit_leaves_the_data_readable) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected(10);
        s.a.write("0123456789abcdef|rest");
        bool overrun = false;
        try {
            co_await s.reader_b.readuntil("|");
        } catch (const LimitOverrunError&) {
            overrun = true;
        }
        EXPECT_TRUE(overrun);
        EXPECT_EQ(co_await s.reader_b.readexactly(16), "0123456789abcdef");
        EXPECT_EQ(co_await s.reader_b.readuntil("|"), "|");
    });
}

TEST(Stream, a_read_that_is_late_or_cancelled_loses_nothing) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        s.a.write("abc");
        bool late = false;
        try {
            co_await s.reader_b.readexactly(6, 1ms);
        } catch (const TimeoutError&) {
            late = true;
        }
        EXPECT_TRUE(late);
        auto reading = create_task([&]() -> Coro<std::string> { co_return co_await s.reader_b.readexactly(6); });
        co_await sleep(0s);
        reading.cancel();
        bool cancelled = false;
        try {
            co_await reading;
        } catch (const CancelledError&) {
            cancelled = true;
        }
        EXPECT_TRUE(cancelled);
        s.a.write("def");
        EXPECT_EQ(co_await s.reader_b.readexactly(6), "abcdef");
    });
}

TEST(Stream, two_who_read_at_once_are_told) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        auto first = create_task([&]() -> Coro<std::string> { co_return co_await s.reader_b.read(10); });
        co_await sleep(0s);
        bool told = false;
        try {
            co_await s.reader_b.readline();
        } catch (const UsageError& e) {
            told = true;
            EXPECT_THAT(e.what(), HasSubstr("two coroutines read"));
        }
        EXPECT_TRUE(told);
        s.a.write("x");
        EXPECT_EQ(co_await first, "x");
    });
}

TEST(Stream, drain_waits_for_the_low_water_mark_and_memory_stays_bounded) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        s.a.set_write_buffer_limits(100'000, 20'000);
        const std::string piece(50'000, 'x');
        std::size_t sent = 0;
        std::size_t most = 0;
        while (s.a.get_write_buffer_size() <= 100'000) {
            s.a.write(piece);
            sent += piece.size();
        }
        most = s.a.get_write_buffer_size();
        EXPECT_LE(most, 150'000U);
        auto drained = create_task([&]() -> Coro<std::size_t> {
            co_await s.a.drain();
            co_return s.a.get_write_buffer_size();
        });
        co_await sleep(0s);
        EXPECT_FALSE(drained.done());
        EXPECT_EQ((co_await s.reader_b.readexactly(sent)).size(), sent);
        EXPECT_LE(co_await drained, 20'000U);
        EXPECT_THROW(s.a.set_write_buffer_limits(1, 2), UsageError);
    });
}

TEST(Stream, a_reader_that_does_not_read_stops_the_sender) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        EXPECT_EQ(co_await create_task([&]() -> Coro<std::string> {
                      s.a.write("x");
                      co_return co_await s.reader_b.read(1);
                  }),
                  "x");
        std::size_t sent = 0;
        const std::string piece(65'536, 'y');
        for (bool stuck = false; !stuck;) {
            s.a.write(piece);
            sent += piece.size();
            try {
                co_await s.a.drain(10ms);
            } catch (const TimeoutError&) {
                stuck = true;
            }
            if (sent > 64U << 20) break; // it takes whatever comes
        }
        EXPECT_LT(sent, 8U << 20) << "nobody reads, and the sender was not stopped";
        s.a.abort();
    });
}

TEST(Stream, drain_after_the_other_side_is_gone_says_so) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        s.b.abort();
        co_await s.b.wait_closed();
        std::string error;
        for (int i = 0; i < 3 && error.empty(); ++i) {
            s.a.write("is anybody there?");
            try {
                co_await s.a.drain();
            } catch (const OSError& e) {
                error = e.what();
                EXPECT_EQ(e.code(), EPIPE);
            }
        }
        EXPECT_THAT(error, HasSubstr("is gone"));
        s.a.write("dropped, without SIGPIPE");
        s.a.close();
        bool lost = false;
        try {
            co_await s.a.wait_closed();
        } catch (const OSError&) {
            lost = true;
        }
        EXPECT_TRUE(lost);
    });
}

TEST(Stream, closing_sends_first_and_aborting_does_not) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        const std::string much(3'000'000, 'z');
        s.a.write(much);
        s.a.close();
        EXPECT_TRUE(s.a.is_closing());
        s.a.write("dropped");
        auto closed = create_task([&]() -> Coro<> { co_await s.a.wait_closed(); });
        co_await sleep(0s);
        EXPECT_FALSE(closed.done());
        EXPECT_TRUE(co_await s.reader_b.read() == much);
        co_await closed;
        EXPECT_EQ(s.a.fileno(), -1);

        Ends t = connected();
        t.a.write(much);
        t.a.abort();
        co_await t.a.wait_closed();
        EXPECT_LT((co_await t.reader_b.read()).size(), much.size());
    });
}

TEST(Stream, a_dropped_writer_closes_and_a_dropped_loop_takes_all_along) {
    on_both_pollers([]() -> Coro<> {
        Ends s = connected();
        StreamWriter(std::move(s.b)).write("x");
        EXPECT_EQ(co_await s.reader_a.read(), "x");
        { const StreamWriter gone = std::move(s.a); }
        EXPECT_THROW(s.a.write("moved from"), UsageError);
        // Left behind with bytes to send and a reader's operation in flight: NothingLeaks looks.
        static Ends left;
        left = connected();
        left.a.write(std::string(5'000'000, 'w'));
        bool late = false;
        try {
            co_await left.reader_a.read(1, 1ms);
        } catch (const TimeoutError&) {
            late = true;
        }
        EXPECT_TRUE(late);
    });
}

TEST(Stream, pipes_have_a_reader_and_a_writer) {
    on_both_pollers([]() -> Coro<> {
        os::Pipe pipe = os::make_pipe();
        StreamReader reader = connect_read_pipe(std::move(pipe.read_end));
        StreamWriter writer = connect_write_pipe(std::move(pipe.write_end));
        const std::string much(1'000'000, 'p');
        auto all = create_task([&]() -> Coro<std::string> { co_return co_await reader.read(); });
        writer.write(much);
        co_await writer.drain();
        writer.write_eof();
        EXPECT_TRUE(co_await all == much);

        os::Pipe broken = os::make_pipe();
        StreamWriter into = connect_write_pipe(std::move(broken.write_end));
        broken.read_end.reset();
        into.write("nobody reads: no SIGPIPE");
        bool gone = false;
        try {
            co_await into.drain();
        } catch (const OSError& e) {
            gone = e.code() == EPIPE;
        }
        EXPECT_TRUE(gone);
    });
}

TEST(Stream, a_file_is_sent_whole_or_in_part) {
    on_both_pollers([]() -> Coro<> {
        const os::Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
        std::string text(300'000, '\0');
        EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 1000), static_cast<ssize_t>(text.size()));
        Ends s = connected();
        s.a.write("before ");
        auto sent = create_task([&]() -> Coro<std::size_t> {
            const std::size_t n = co_await sendfile(s.a, file.get(), 1000, 300'000);
            s.a.close();
            co_return n;
        });
        EXPECT_TRUE(co_await s.reader_b.read() == "before " + text);
        EXPECT_EQ(co_await sent, 300'000U);
    });
}

TEST(Stream, short_writes_and_reads_at_random_lose_no_byte) { // F38
    on_both_pollers([]() -> Coro<> {
        Ends s = connected(1000);
        os::set_socket_option(s.a.fileno(), SOL_SOCKET, SO_SNDBUF, 4608);
        std::string sent;
        unsigned seed = 12345;
        const auto next = [&seed] { return seed = seed * 1664525U + 1013904223U; };
        auto writing = create_task([&]() -> Coro<> {
            for (int i = 0; i < 300; ++i) {
                const std::string piece((next() >> 8) % 3000, static_cast<char>('a' + i % 26));
                sent += piece + '\n';
                s.a.write(piece);
                s.a.write("\n");
                if (i % 3 == 0) co_await s.a.drain();
            }
            s.a.close();
        });
        std::string got;
        while (!s.reader_b.at_eof()) {
            if (next() >> 8 & 1) {
                got += co_await s.reader_b.read((next() >> 8) % 5000 + 1);
            } else {
                try {
                    got += co_await s.reader_b.readuntil("\n");
                } catch (const IncompleteReadError& e) {
                    got += e.partial();
                } catch (const LimitOverrunError&) {}
            }
        }
        co_await writing;
        EXPECT_TRUE(got == sent);
    });
}

TEST(Stream, belongs_to_its_loop) {
    Ends kept;
    {
        Runner runner;
        runner.run([&]() -> Coro<> {
            kept = connected();
            kept.a.write("x");
            co_return;
        });
        runner.close();
    }
    EXPECT_EQ(kept.a.fileno(), -1); // closed with its loop
    kept.a.write("dropped");
    kept.a.close();
}

} // namespace
} // namespace sennit::asyncio

#include <sennit/asyncio.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/os/socket.hpp>
#include <sennit/os/socket_setup.hpp>

#include "support/snapshot.hpp"
#include "support/tier.hpp"

#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

class ConnectionTest : public sennit::testing::SnapshotTest {
  protected:
    void SetUp() override {
        wait::current_agent(); // the main thread is one from here on
        SnapshotTest::SetUp();
    }
};

std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string raw(const Connection& c, std::size_t n) {
    std::string bytes(n, '?');
    std::size_t got = 0;
    while (got < n) {
        const ssize_t r = ::read(c.fileno(), bytes.data() + got, n - got);
        if (r <= 0) break;
        got += static_cast<std::size_t>(r);
    }
    bytes.resize(got);
    return bytes;
}

struct Order {
    std::string item;
    std::vector<double> prices;
    bool operator==(const Order&) const = default;
};

TEST_F(ConnectionTest, objects_and_bytes_come_as_they_were_sent_and_in_order) {
    auto [a, b] = Pipe();
    const Order order{"nails", {1.5, 2.5}};
    a.send(order);
    a.send(7);
    a.send_bytes("text");
    a.send_bytes("");
    EXPECT_TRUE(b.poll());
    EXPECT_EQ(b.recv<Order>(), order);
    EXPECT_EQ(b.recv<int>(), 7);
    EXPECT_EQ(text_of(b.recv_bytes()), "text");
    EXPECT_TRUE(b.recv_bytes().empty()) << "an empty message is not the end";
    EXPECT_FALSE(b.poll());
    EXPECT_FALSE(b.poll(-1s));
    b.send(std::string("back"));
    EXPECT_EQ(a.recv<std::string>(), "back");
    EXPECT_THROW(a.recv<int>(1ms), TimeoutError);
}

TEST_F(ConnectionTest, frames_are_CPythons) {
    for (const bool duplex : {true, false}) {
        auto [reads, writes] = Pipe(duplex);
        writes.send_bytes("abc");
        EXPECT_EQ(raw(reads, 7), std::string("\0\0\0\3abc", 7));
        // The long form is taken for short messages as well.
        const std::string frame("\xff\xff\xff\xff\0\0\0\0\0\0\0\2xy", 14);
        ASSERT_EQ(::write(writes.fileno(), frame.data(), frame.size()), 14);
        EXPECT_EQ(text_of(reads.recv_bytes()), "xy");
    }
}

TEST_F(ConnectionTest, a_large_message_goes_through_while_both_sides_work) {
    for (const bool duplex : {true, false}) {
        auto pair = Pipe(duplex);
        const std::vector<std::uint64_t> numbers(3'000'000, 42);
        std::thread sender([&] { pair.second.send(numbers); });
        const auto same = pair.first.recv<std::vector<std::uint64_t>>();
        sender.join();
        EXPECT_EQ(same, numbers);
    }
}

TEST_F(ConnectionTest, the_wrong_direction_and_a_closed_end_are_refused) {
    auto [reads, writes] = Pipe(false);
    EXPECT_THROW(reads.send(1), UsageError);
    EXPECT_THROW(writes.recv<int>(), UsageError);
    EXPECT_THROW(writes.poll(), UsageError);
    reads.close();
    reads.close();
    EXPECT_TRUE(reads.closed());
    EXPECT_THROW(reads.recv<int>(), UsageError);
    EXPECT_THROW(static_cast<void>(reads.fileno()), UsageError);
    try {
        writes.send(1);
        ADD_FAILURE() << "nobody reads";
    } catch (const OSError& e) {
        EXPECT_EQ(e.code(), EPIPE);
    }
}

TEST_F(ConnectionTest, the_end_is_told_also_within_a_message) {
    auto [a, b] = Pipe();
    b.send(1);
    b.close();
    EXPECT_EQ(a.recv<int>(), 1) << "what was sent before comes first";
    EXPECT_TRUE(a.poll()) << "the end is something to receive";
    EXPECT_THROW(a.recv<int>(), EndOfFile);
    EXPECT_THROW(a.send(1), OSError);
    for (const std::string& part : {std::string("\0\0", 2), std::string("\0\0\0\4ab", 6)}) {
        auto [c, d] = Pipe();
        ASSERT_EQ(::write(d.fileno(), part.data(), part.size()), static_cast<ssize_t>(part.size()));
        EXPECT_THROW(c.recv_bytes(1ms), TimeoutError);
        d.close();
        EXPECT_THROW(c.recv_bytes(), EndOfFile);
    }
}

TEST_F(ConnectionTest, a_receive_that_times_out_in_mid_message_loses_nothing) {
    auto [a, b] = Pipe();
    ASSERT_EQ(::write(b.fileno(), "\0\0\0\4ab", 6), 6);
    EXPECT_THROW(a.recv_bytes(1ms), TimeoutError);
    ASSERT_EQ(::write(b.fileno(), "cd", 2), 2);
    EXPECT_EQ(text_of(a.recv_bytes()), "abcd");
}

TEST_F(ConnectionTest, a_send_that_times_out_in_mid_message_ends_the_stream) {
    for (const bool duplex : {true, false}) {
        auto [reads, writes] = Pipe(duplex);
        EXPECT_THROW(writes.send(std::vector<char>(10'000'000), 1ms), TimeoutError);
        EXPECT_THROW(writes.send(1), UsageError);
        EXPECT_THROW(reads.recv<std::vector<char>>(), EndOfFile);
    }
}

TEST_F(ConnectionTest, a_buffer_that_is_too_short_loses_nothing) {
    auto [a, b] = Pipe();
    a.send_bytes("0123456789");
    std::byte buffer[4];
    try {
        b.recv_bytes_into(buffer);
        ADD_FAILURE();
    } catch (const BufferTooShort& e) {
        EXPECT_EQ(text_of(e.message()), "0123456789");
    }
    a.send_bytes("abc");
    EXPECT_EQ(b.recv_bytes_into(buffer), 3u);
    EXPECT_EQ(std::memcmp(buffer, "abc", 3), 0);
}

TEST_F(ConnectionTest, a_length_that_can_not_be_or_is_too_long_ends_receiving) {
    auto [a, b] = Pipe();
    ASSERT_EQ(::write(b.fileno(), "\xff\xff\xff\xfe", 4), 4);
    EXPECT_THROW(a.recv_bytes(), CargoError);
    EXPECT_THROW(a.recv_bytes(), UsageError);
    a.send(1); // it can still send
    EXPECT_EQ(b.recv<int>(), 1);
    auto [c, d] = Pipe();
    d.send_bytes("12345");
    EXPECT_THROW(c.recv_bytes(4), CargoError);
    auto [e, f] = Pipe();
    e.set_max_message(100);
    ASSERT_EQ(::write(f.fileno(), "\x7f\xff\xff\xff", 4), 4);
    EXPECT_THROW(e.recv<std::string>(), CargoError);
}

TEST_F(ConnectionTest, messages_of_several_agents_never_mix) {
    auto pair = Pipe();
    constexpr int senders = 4, each = 200;
    std::vector<std::thread> threads;
    for (int t = 0; t < senders; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < each; ++i)
                pair.first.send(std::vector<int>(static_cast<std::size_t>(i % 7) * 5'000 + 1, t * each + i));
        });
    std::vector<int> last(senders, -1);
    for (int i = 0; i < senders * each; ++i) {
        const auto message = pair.second.recv<std::vector<int>>();
        const int value = message.at(0);
        EXPECT_EQ(std::count(message.begin(), message.end(), value), static_cast<std::ptrdiff_t>(message.size()));
        EXPECT_LT(last[static_cast<std::size_t>(value / each)], value % each) << "those of one sender come in order";
        last[static_cast<std::size_t>(value / each)] = value % each;
    }
    for (std::thread& thread : threads) thread.join();
}

TEST_F(ConnectionTest, descriptors_shared_objects_and_connections_travel_inside_objects) {
    auto [here, there] = Pipe();
    auto [c, d] = Pipe();
    Value<int> value(3);
    os::Pipe pipe = os::make_pipe();
    here.send(std::make_tuple(value, DupFd(pipe.write_end.get()), 5));
    here.send(c);
    auto [v, fd, five] = there.recv<std::tuple<Value<int>, DupFd, int>>();
    v.set(4);
    EXPECT_EQ(value.value(), 4);
    EXPECT_EQ(five, 5);
    const os::Fd arrived = fd.detach();
    EXPECT_THROW(fd.detach(), InvalidStateError);
    EXPECT_EQ(::write(arrived.get(), "x", 1), 1);
    EXPECT_EQ(::fcntl(arrived.get(), F_GETFD), FD_CLOEXEC);
    c.close();
    Connection e = there.recv<Connection>();
    e.send(9);
    EXPECT_EQ(d.recv<int>(), 9);

    auto [reads, writes] = Pipe(false);
    EXPECT_THROW(writes.send(value), UsageError) << "a pipe takes no descriptors";
    writes.send(1);
    EXPECT_EQ(reads.recv<int>(), 1);
    // Who receives bytes is given no descriptors.
    here.send(value);
    static_cast<void>(there.recv_bytes());
}

TEST_F(ConnectionTest, descriptors_with_large_numbers_travel) {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 1'100) GTEST_SKIP() << "this process may have " << limit.rlim_cur << " descriptors";
    auto [a, b] = Pipe();
    const os::Fd high = os::duplicate(a.fileno(), 1'050);
    a.send(DupFd(high.get()));
    EXPECT_TRUE(b.recv<DupFd>().detach());
}

TEST_F(ConnectionTest, wait_gives_those_that_are_ready) {
    auto [a, b] = Pipe();
    auto [c, d] = Pipe();
    EXPECT_TRUE(connection::wait({a, c}, 0s).empty());
    d.send(1);
    EXPECT_EQ(connection::wait({a, c, c.fileno()}), (std::vector<connection::Waitable>{c, c}));
    b.close();
    EXPECT_EQ(connection::wait({a, c}).size(), 2u) << "an end is something to receive";
    EXPECT_TRUE(connection::wait({}, 1ms).empty());
}

TEST_F(ConnectionTest, a_child_of_a_fork_talks_through_it) {
    auto [here, there] = Pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        here.close();
        auto order = there.recv<Order>();
        order.prices.push_back(9);
        there.send(order);
        ::_exit(0);
    }
    there.close();
    here.send(Order{"x", {1}});
    EXPECT_EQ(here.recv<Order>(), (Order{"x", {1, 9}}));
    EXPECT_THROW(here.recv<Order>(), EndOfFile) << "the child has ended, and nobody else has the other end";
    int status = 0;
    ::waitpid(child, &status, 0);
}

TEST_F(ConnectionTest, a_peer_killed_in_mid_message_is_an_end_of_file) {
    auto [here, there] = Pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        here.close();
        there.send(std::vector<char>(50'000'000)); // more than the kernel takes: never done
        ::_exit(1);
    }
    there.close();
    ASSERT_TRUE(here.poll(10s));
    ::kill(child, SIGKILL);
    EXPECT_THROW(here.recv<std::vector<char>>(), EndOfFile);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F(ConnectionTest, coroutines_send_and_receive) {
    for (const bool duplex : {true, false}) {
        auto pair = Pipe(duplex);
        const std::vector<int> numbers(1'000'000, 7);
        const auto main = [&]() -> asyncio::Coro<> {
            const bool nothing = co_await pair.first.async_poll();
            EXPECT_FALSE(nothing);
            auto receiving = asyncio::create_task(pair.first.async_recv<std::vector<int>>());
            auto sending = asyncio::create_task(pair.second.async_send(numbers));
            const std::vector<int> same = co_await receiving;
            co_await sending;
            EXPECT_EQ(same, numbers);
            co_await pair.second.async_send_bytes("text");
            const bool there = co_await pair.first.async_poll(10s);
            EXPECT_TRUE(there);
            const std::vector<connection::Waitable> both(1, pair.first);
            const auto ready = co_await connection::async_wait(both, 10s);
            EXPECT_EQ(ready.size(), 1u);
            const std::vector<std::byte> bytes = co_await pair.first.async_recv_bytes();
            EXPECT_EQ(text_of(bytes), "text");
            bool late = false;
            try {
                co_await pair.first.async_recv<int>(1ms);
            } catch (const TimeoutError&) {
                late = true;
            }
            EXPECT_TRUE(late);
            // A cancelled one takes nothing with it.
            auto cancelled = asyncio::create_task(pair.first.async_recv<int>());
            co_await asyncio::sleep(0s);
            cancelled.cancel();
            try {
                co_await cancelled;
            } catch (const CancelledError&) {}
            co_await pair.second.async_send(5);
            const int five = co_await pair.first.async_recv<int>();
            EXPECT_EQ(five, 5);
            pair.second.close();
            bool end = false;
            try {
                co_await pair.first.async_recv<int>();
            } catch (const EndOfFile&) {
                end = true;
            }
            EXPECT_TRUE(end);
        };
        asyncio::run(main());
    }
}

TEST_F(ConnectionTest, more_than_two_GiB_go_through) {
    if (sennit::testing::fault_tier() < 3) GTEST_SKIP() << "6 GiB of memory: tier 3";
    auto pair = Pipe();
    const std::vector<char> huge(std::size_t{2'200} << 20, 'x');
    std::thread sender([&] { pair.first.send_bytes(std::string_view(huge.data(), huge.size())); });
    EXPECT_EQ(pair.second.recv_message().bytes().size(), huge.size());
    sender.join();
}

} // namespace
} // namespace sennit::multiprocessing

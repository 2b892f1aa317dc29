// What a Poller promises, on each of them.
#include <sennit/loop/poller.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/loop/uring_poller.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/io.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/in.h>
#include <pthread.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace sennit::loop {
namespace {

using namespace std::chrono_literals;
using Kind = Operation::Kind;

struct Op : Operation {
    Op(Kind kind, int fd) : Operation(kind, fd, [](Operation& op) noexcept { ++static_cast<Op&>(op).ended; }) {}
    Op(Kind kind, int fd, void* data, std::size_t size) : Op(kind, fd) {
        this->data = data;
        this->size = size;
    }
    int ended = 0;
};

struct Pair {
    os::Fd a, b;
};

Pair unix_pair(int type = SOCK_STREAM) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) throw OSError(errno, "socketpair");
    return {os::Fd(ends[0]), os::Fd(ends[1])};
}

os::Fd listener(sockaddr_in& address) {
    os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd.get(), 64) != 0 ||
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw OSError(errno, "listen");
    return fd;
}

std::unique_ptr<Poller> make(const std::string& name) {
    if (name == "epoll") return std::make_unique<EpollPoller>();
    if (name == "io_uring") return std::make_unique<UringPoller>();
    return std::make_unique<UringPoller>(2, 4); // its queues are always full
}

class PollerTest : public ::testing::TestWithParam<const char*> {
  protected:
    void run(const Op& op) {
        while (!op.ended) poller->turn(forever);
    }
    int result(Op& op) {
        poller->start(op);
        run(op);
        return op.result;
    }
    Pair tcp_pair() {
        sockaddr_in address{};
        const os::Fd server = listener(address);
        os::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        Op accept(Kind::accept, server.get()), connect(Kind::connect, client.get(), &address, sizeof address);
        poller->start(accept);
        poller->start(connect);
        run(accept);
        run(connect);
        EXPECT_EQ(connect.result, 0);
        poller->forget(server.get());
        return {std::move(client), os::Fd(accept.result)};
    }
    void SetUp() override {
        try {
            poller = make(GetParam());
        } catch (const OSError& refused) {
            GTEST_SKIP() << refused.what();
        }
    }
    std::unique_ptr<Poller> poller;
};
INSTANTIATE_TEST_SUITE_P(Pollers, PollerTest, ::testing::Values("epoll", "io_uring", "small_io_uring"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(PollerTest, done_is_called_from_turn_and_never_from_start) {
    const Pair pair = unix_pair();
    char byte = 'x';
    Op send(Kind::send, pair.a.get(), &byte, 1);
    poller->start(send);
    EXPECT_EQ(send.ended, 0);
    EXPECT_TRUE(send.in_flight());
    EXPECT_EQ(poller->in_flight(), 1u);
    run(send);
    EXPECT_EQ(send.result, 1);
    EXPECT_FALSE(send.in_flight());
    EXPECT_EQ(poller->in_flight(), 0u);
}

TEST_P(PollerTest, bytes_go_through_tcp_whole_and_the_end_of_the_stream_is_seen) {
    Pair pair = tcp_pair();
    std::string sent(3'000'000, 'a'), got;
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 >> 3);
    std::size_t at = 0;
    std::vector<char> buffer(10'000);
    Op send(Kind::send, pair.a.get()), recv(Kind::recv, pair.b.get(), buffer.data(), buffer.size());
    bool sending = false, receiving = false, ended = false;
    while (!ended) {
        if (!sending && at < sent.size()) {
            send.data = sent.data() + at;
            send.size = sent.size() - at;
            send.ended = 0;
            poller->start(send);
            sending = true;
        }
        if (!receiving) {
            recv.ended = 0;
            poller->start(recv);
            receiving = true;
        }
        poller->turn(forever);
        if (sending && send.ended) {
            ASSERT_GT(send.result, 0);
            at += static_cast<std::size_t>(send.result);
            sending = false;
            if (at == sent.size()) ::shutdown(pair.a.get(), SHUT_WR);
        }
        if (receiving && recv.ended) {
            ASSERT_GE(recv.result, 0);
            got.append(buffer.data(), static_cast<std::size_t>(recv.result));
            receiving = false;
            ended = recv.result == 0;
        }
    }
    EXPECT_TRUE(got == sent);
}

TEST_P(PollerTest, the_end_of_a_stream_that_came_with_its_last_bytes_is_seen) {
    Pair pair = tcp_pair();
    char buffer[100];
    Op first(Kind::recv, pair.b.get(), buffer, sizeof buffer);
    poller->start(first);
    poller->turn(Deadline::poll());
    EXPECT_EQ(first.ended, 0);
    ASSERT_EQ(::send(pair.a.get(), "abc", 3, 0), 3);
    ::shutdown(pair.a.get(), SHUT_WR);
    run(first);
    EXPECT_EQ(first.result, 3);
    Op second(Kind::recv, pair.b.get(), buffer, sizeof buffer);
    EXPECT_EQ(result(second), 0);
}

TEST_P(PollerTest, datagrams_come_one_a_recv_though_they_are_short) {
    const Pair pair = unix_pair(SOCK_DGRAM);
    for (const char* text : {"1", "22", "333"}) ASSERT_GT(::send(pair.a.get(), text, std::strlen(text), 0), 0);
    char buffer[100];
    for (int n = 1; n <= 3; ++n) {
        Op recv(Kind::recv, pair.b.get(), buffer, sizeof buffer);
        EXPECT_EQ(result(recv), n);
    }
}

TEST_P(PollerTest, a_cancelled_operation_ends_with_ecanceled_and_the_next_one_gets_the_bytes) {
    const Pair pair = unix_pair();
    char buffer[10];
    Op first(Kind::recv, pair.a.get(), buffer, sizeof buffer), second(Kind::recv, pair.a.get(), buffer, sizeof buffer);
    poller->start(first);
    poller->start(second);
    poller->turn(Deadline::poll());
    poller->cancel(first);
    EXPECT_EQ(first.ended, 0);
    run(first);
    EXPECT_EQ(first.result, -ECANCELED);
    ASSERT_EQ(::send(pair.b.get(), "abc", 3, 0), 3);
    run(second);
    EXPECT_EQ(second.result, 3);
    poller->cancel(second); // ended: nothing
    EXPECT_EQ(poller->in_flight(), 0u);
}

TEST_P(PollerTest, operations_on_a_forgotten_descriptor_end_with_ecanceled) {
    Pair pair = unix_pair();
    char buffer[10];
    Op recv(Kind::recv, pair.a.get(), buffer, sizeof buffer), poll(Kind::poll_in, pair.a.get());
    poller->start(recv);
    poller->start(poll);
    poller->turn(Deadline::poll());
    poller->forget(pair.a.get());
    run(recv);
    run(poll);
    EXPECT_EQ(recv.result, -ECANCELED);
    EXPECT_EQ(poll.result, -ECANCELED);
    // Another one under the same number is a new one.
    const int number = pair.a.get();
    pair = unix_pair();
    ASSERT_EQ(::dup3(pair.a.get(), number, O_CLOEXEC), number);
    const os::Fd again(number);
    Op anew(Kind::recv, number, buffer, sizeof buffer);
    poller->start(anew);
    poller->turn(Deadline::poll());
    ASSERT_EQ(::send(pair.b.get(), "ab", 2, 0), 2);
    run(anew);
    EXPECT_EQ(anew.result, 2);
    poller->forget(number);
}

TEST_P(PollerTest, polls_tell_the_level_each_time) {
    const Pair pair = unix_pair();
    ASSERT_EQ(::send(pair.b.get(), "abc", 3, 0), 3);
    for (int i = 0; i < 3; ++i) {
        Op in(Kind::poll_in, pair.a.get()), out(Kind::poll_out, pair.a.get());
        poller->start(in);
        poller->start(out);
        run(in);
        run(out);
        EXPECT_EQ(in.result, 0);
        EXPECT_EQ(out.result, 0);
    }
    char buffer[10];
    ASSERT_EQ(::recv(pair.a.get(), buffer, sizeof buffer, 0), 3);
    Op in(Kind::poll_in, pair.a.get());
    poller->start(in);
    poller->turn(Deadline(1ms));
    EXPECT_EQ(in.ended, 0);
    ASSERT_EQ(::send(pair.b.get(), "abc", 3, 0), 3);
    run(in);
}

TEST_P(PollerTest, a_blocking_pipe_does_not_stop_the_loop) {
    const os::Pipe pipe = os::make_pipe();
    char buffer[10];
    Op read(Kind::read, pipe.read_end.get(), buffer, sizeof buffer);
    for (int i = 0; i < 3; ++i) {
        read.ended = 0;
        poller->start(read);
        poller->turn(Deadline::poll());
        EXPECT_EQ(read.ended, 0);
        char text[] = "abc";
        Op write(Kind::write, pipe.write_end.get(), text, 3);
        EXPECT_EQ(result(write), 3);
        run(read);
        EXPECT_EQ(read.result, 3);
    }
}

TEST_P(PollerTest, a_refused_connection_is_told) {
    sockaddr_in address{};
    { const os::Fd gone = listener(address); }
    const os::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    Op connect(Kind::connect, client.get(), &address, sizeof address);
    EXPECT_EQ(result(connect), -ECONNREFUSED);
}

TEST_P(PollerTest, bad_descriptors_are_told) {
    char byte = 0;
    Op recv(Kind::recv, -1, &byte, 1), closed(Kind::recv, 999, &byte, 1), pipe(Kind::recv, 0, &byte, 1);
    EXPECT_EQ(result(recv), -EBADF);
    EXPECT_EQ(result(closed), -EBADF);
    const os::Fd null = os::open_null();
    pipe.fd = null.get();
    EXPECT_EQ(result(pipe), -ENOTSOCK);
}

TEST_P(PollerTest, files_are_read_and_written_where_told) {
    char name[] = "/tmp/sennit_poller_XXXXXX";
    const os::Fd file(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    char text[] = "hello", back[10] = {};
    Op write(Kind::file_write, file.get(), text, 5);
    write.offset = 1000;
    EXPECT_EQ(result(write), 5);
    Op read(Kind::file_read, file.get(), back, sizeof back);
    read.offset = 1001;
    EXPECT_EQ(result(read), 4);
    EXPECT_STREQ(back, "ello");
    Op end(Kind::file_read, file.get(), back, sizeof back);
    end.offset = 5000;
    EXPECT_EQ(result(end), 0);
}

TEST_P(PollerTest, a_turn_ends_no_earlier_than_its_deadline_when_nothing_happens) {
    const Deadline deadline(20ms);
    poller->turn(deadline);
    EXPECT_TRUE(deadline.has_passed());
}

TEST_P(PollerTest, a_wake_from_another_thread_ends_a_turn_and_is_not_lost_when_none_waits) {
    poller->wake();
    poller->turn(forever);
    pthread_t thread;
    const auto ring = [](void* p) -> void* {
        static_cast<Poller*>(p)->wake();
        return nullptr;
    };
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(::pthread_create(&thread, nullptr, ring, poller.get()), 0);
        poller->turn(forever);
        ::pthread_join(thread, nullptr);
    }
}

TEST_P(PollerTest, more_operations_than_the_queues_have_room_for_all_end) {
    constexpr int n = 300;
    const Pair pair = unix_pair(SOCK_DGRAM);
    char buffer[n];
    std::vector<std::unique_ptr<Op>> polls, sends;
    for (int i = 0; i < n; ++i) {
        polls.push_back(std::make_unique<Op>(Kind::recv, pair.a.get(), &buffer[i], 1));
        poller->start(*polls.back());
    }
    poller->turn(Deadline::poll());
    for (int i = 0; i < n; i += 3) poller->cancel(*polls[static_cast<std::size_t>(i)]);
    char byte = 'x';
    for (int i = 0; i < n; ++i) {
        if (i % 3 == 0) continue;
        sends.push_back(std::make_unique<Op>(Kind::send, pair.b.get(), &byte, 1));
        poller->start(*sends.back());
    }
    while (poller->in_flight() > 0) poller->turn(forever);
    for (int i = 0; i < n; ++i) EXPECT_EQ(polls[static_cast<std::size_t>(i)]->result, i % 3 == 0 ? -ECANCELED : 1) << i;
    for (const auto& send : sends) EXPECT_EQ(send->result, 1);
}

TEST_P(PollerTest, what_is_started_and_forgotten_at_once_does_not_reach_the_next_owner_of_the_number) {
    for (int i = 0; i < 10; ++i) {
        Pair pair = unix_pair();
        char byte = 'x', buffer[10];
        Op recv(Kind::recv, pair.a.get(), buffer, sizeof buffer);
        poller->start(recv);
        const int number = pair.a.get();
        poller->forget(number);
        pair.a.reset();
        const Pair other = unix_pair();
        ASSERT_TRUE(other.a.get() == number || other.b.get() == number);
        ASSERT_EQ(::send(other.a.get(), &byte, 1, 0), 1);
        ASSERT_EQ(::send(other.b.get(), &byte, 1, 0), 1);
        run(recv);
        EXPECT_EQ(recv.result, -ECANCELED);
        poller->forget(number);
    }
}

TEST_P(PollerTest,
       what_was_started_before_the_thread_that_turns_it_is_carried_out_there_and_another_thread_may_follow) {
    const Pair pair = unix_pair();
    char buffer[10], byte = 'x';
    Op recv(Kind::recv, pair.a.get(), buffer, sizeof buffer);
    poller->start(recv);
    ASSERT_EQ(::send(pair.b.get(), &byte, 1, 0), 1);
    struct Work {
        Poller& poller;
        Op& op;
    } work{*poller, recv};
    const auto body = [](void* p) -> void* {
        const Work& w = *static_cast<Work*>(p);
        w.poller.attach();
        while (!w.op.ended) w.poller.turn(forever);
        return nullptr;
    };
    pthread_t thread;
    ASSERT_EQ(::pthread_create(&thread, nullptr, body, &work), 0);
    ::pthread_join(thread, nullptr);
    EXPECT_EQ(recv.result, 1);
    poller->attach();
    Op send(Kind::send, pair.a.get(), &byte, 1);
    EXPECT_EQ(result(send), 1);
}

TEST_P(PollerTest, a_descriptor_that_an_fd_closes_need_not_be_forgotten) {
    for (int i = 0; i < 5; ++i) {
        const Pair pair = unix_pair();
        char buffer[10], byte = 'x';
        Op recv(Kind::recv, pair.a.get(), buffer, sizeof buffer);
        poller->start(recv);
        poller->turn(Deadline::poll());
        ASSERT_EQ(::send(pair.b.get(), &byte, 1, 0), 1);
        run(recv);
        EXPECT_EQ(recv.result, 1);
    }
}

struct AcceptEach : RepeatedOperation {
    explicit AcceptEach(int fd)
        : RepeatedOperation(
              Kind::accept_each, fd,
              [](RepeatedOperation& op, std::int32_t result) noexcept {
                  static_cast<AcceptEach&>(op).came.emplace_back(result);
              },
              [](Operation& op) noexcept {
                  auto& me = static_cast<AcceptEach&>(op);
                  ++me.told;
                  if (!op.in_flight()) ++me.ended;
              }) {}
    std::vector<os::Fd> came;
    int told = 0, ended = 0;
};

os::Fd connect_to(const sockaddr_in& address) {
    os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
}

TEST_P(PollerTest, one_operation_accepts_all_connections_until_it_is_cancelled) {
    if (!poller->repeats(Kind::accept_each)) GTEST_SKIP() << "one by one here";
    sockaddr_in address{};
    const os::Fd server = listener(address);
    AcceptEach accept(server.get());
    poller->start(accept);
    std::vector<os::Fd> clients;
    for (int i = 0; i < 50; ++i) { // more than the kernel's queues have room for
        clients.push_back(connect_to(address));
        if (i % 7 == 0) poller->turn(Deadline::poll());
    }
    while (accept.came.size() < 50) poller->turn(forever);
    EXPECT_TRUE(accept.in_flight());
    EXPECT_EQ(accept.ended, 0);
    EXPECT_LE(accept.told, 50);
    for (const os::Fd& fd : accept.came) {
        EXPECT_TRUE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC);
        EXPECT_TRUE(::fcntl(fd.get(), F_GETFL) & O_NONBLOCK);
    }
    clients.push_back(connect_to(address)); // races with the cancellation: taken, or left in the socket's queue
    poller->cancel(accept);
    while (accept.ended == 0) poller->turn(forever);
    EXPECT_EQ(accept.result, -ECANCELED);
    EXPECT_EQ(poller->in_flight(), 0U);
    clients.push_back(connect_to(address));
    Op one(Kind::accept, server.get());
    for (std::size_t n = accept.came.size(); n < clients.size(); ++n) {
        ASSERT_GE(result(one), 0) << "nobody's connection is lost";
        os::Fd(one.result).reset();
    }
    poller->start(accept); // again
    clients.push_back(connect_to(address));
    for (const std::size_t before = accept.came.size(); accept.came.size() == before;) poller->turn(forever);
    poller->forget(server.get());
    while (accept.ended == 1) poller->turn(forever);
    EXPECT_EQ(accept.ended, 2);
}

TEST_P(PollerTest, one_operation_for_all_connections_tells_why_it_ended_and_may_be_left_in_flight) {
    if (!poller->repeats(Kind::accept_each)) GTEST_SKIP() << "one by one here";
    const Pair no_listener = unix_pair();
    AcceptEach refused(no_listener.a.get());
    poller->start(refused);
    while (refused.ended == 0) poller->turn(forever);
    EXPECT_LT(refused.result, 0);
    EXPECT_NE(refused.result, -ECANCELED);

    sockaddr_in address{};
    const os::Fd server = listener(address);
    AcceptEach left(server.get());
    poller->start(left);
    poller->turn(Deadline::poll());
    const os::Fd client = connect_to(address);
    poller.reset();
    EXPECT_LE(left.came.size(), 1U);
}

TEST_P(PollerTest, sendfile_sends_a_part_of_a_file) {
    char name[] = "/tmp/sennit_poller_XXXXXX";
    const os::Fd file(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    const std::string text(2'000'000, 'f');
    ASSERT_EQ(::pwrite(file.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    const Pair pair = tcp_pair();
    std::vector<char> buffer(100'000);
    Op send(Kind::sendfile, pair.a.get()), recv(Kind::recv, pair.b.get(), buffer.data(), buffer.size());
    send.other = file.get();
    std::size_t sent = 0, got = 0;
    const std::size_t end = text.size() - 1000;
    send.ended = recv.ended = 1;
    while (got < end) {
        if (send.ended && sent < end) {
            send.offset = static_cast<std::int64_t>(sent);
            send.size = end - sent;
            send.ended = 0;
            poller->start(send);
        }
        if (recv.ended) {
            recv.ended = 0;
            poller->start(recv);
        }
        poller->turn(forever);
        if (send.ended && sent < end) {
            ASSERT_GT(send.result, 0);
            sent += static_cast<std::size_t>(send.result);
        }
        if (recv.ended) {
            ASSERT_GT(recv.result, 0);
            got += static_cast<std::size_t>(recv.result);
        }
    }
    EXPECT_EQ(got, end);
}

bool io_uring_is_allowed() {
    try {
        make("io_uring");
        return true;
    } catch (const OSError&) {
        return false;
    }
}

// SENNIT_POLLER while it lives.
class PollerVariable {
  public:
    explicit PollerVariable(const char* value) {
        if (const char* const before = std::getenv("SENNIT_POLLER")) before_ = before;
        set(value);
    }
    ~PollerVariable() { set(before_.empty() ? nullptr : before_.c_str()); }
    static void set(const char* value) {
        if (value)
            ::setenv("SENNIT_POLLER", value, 1);
        else
            ::unsetenv("SENNIT_POLLER");
    }

  private:
    std::string before_;
};

TEST(MakePoller, the_environment_forces_one_and_an_unknown_name_is_an_error) {
    PollerVariable variable("epoll");
    EXPECT_STREQ(make_poller()->name(), "epoll");
    PollerVariable::set("io_uring");
    if (io_uring_is_allowed()) {
        EXPECT_STREQ(make_poller()->name(), "io_uring");
    }
    PollerVariable::set("kqueue");
    try {
        make_poller();
        FAIL();
    } catch (const UsageError& e) {
        EXPECT_NE(std::string(e.what()).find("kqueue"), std::string::npos);
    }
}

#if defined(SENNIT_FAULT_POINTS)
TEST(MakePoller, a_refused_io_uring_is_epoll_with_one_line_and_an_error_when_it_was_asked_for) {
    for (const char* refusal : {"EPERM", "ENOSYS", "ENOMEM"}) {
        PollerVariable variable(nullptr);
        base::arm_faults(("ring.setup=fail:" + std::string(refusal)).c_str());
        ::testing::internal::CaptureStderr();
        EXPECT_STREQ(make_poller()->name(), "epoll");
        EXPECT_STREQ(make_poller()->name(), "epoll");
        const std::string said = ::testing::internal::GetCapturedStderr();
        EXPECT_LE(std::count(said.begin(), said.end(), '\n'), 1);
        PollerVariable::set("io_uring");
        EXPECT_THROW(make_poller(), OSError);
        base::disarm_faults();
        if (io_uring_is_allowed()) {
            EXPECT_STREQ(make_poller()->name(), "io_uring");
        }
    }
}
#endif

} // namespace
} // namespace sennit::loop

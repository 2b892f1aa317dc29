// Wake-ups of a poller from many threads: none is lost, whatever the loop's thread does meanwhile.
#include <sennit/base/errors.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/loop/uring_poller.hpp>

#include "support/tier.hpp"

#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace sennit::loop {
namespace {

class PollerStress : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Pollers, PollerStress, ::testing::Values("epoll", "io_uring"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(PollerStress, every_wake_ends_a_turn_that_began_before_it) {
    std::unique_ptr<Poller> poller;
    try {
        if (std::string(GetParam()) == "epoll")
            poller = std::make_unique<EpollPoller>();
        else
            poller = std::make_unique<UringPoller>();
    } catch (const OSError& refused) {
        GTEST_SKIP() << refused.what();
    }

    constexpr int threads = 4;
    const auto rounds = testing::by_tier(2'000, 50'000, 500'000);
    // A request waits for its answer, which comes only from a turn of the loop: a lost wake would stop both for ever.
    struct alignas(64) Box {
        std::atomic<std::int64_t> asked{0}, answered{0};
    };
    std::vector<Box> boxes(threads);
    std::vector<std::thread> askers;
    for (int t = 0; t < threads; ++t)
        askers.emplace_back([&, t] {
            Box& box = boxes[static_cast<std::size_t>(t)];
            for (std::int64_t i = 1; i <= rounds; ++i) {
                box.asked.store(i, std::memory_order_release);
                poller->wake();
                while (box.answered.load(std::memory_order_acquire) < i) std::this_thread::yield();
            }
        });

    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    const os::Fd a(ends[0]), b(ends[1]);
    char in[64], out = 'x';
    struct Op : Operation {
        Op(OperationKind kind, int fd, void* data, std::size_t size)
            : Operation(kind, fd, data, size, [](Operation& op) noexcept { ++static_cast<Op&>(op).ended; }) {}
        std::int64_t ended = 0;
    };
    Op recv(OperationKind::recv, a.get(), in, sizeof in), send(OperationKind::send, b.get(), &out, 1);
    poller->start(recv);
    std::int64_t received = 0;
    for (bool over = false; !over;) {
        poller->turn(forever);
        over = true;
        for (Box& box : boxes) {
            const std::int64_t asked = box.asked.load(std::memory_order_acquire);
            if (asked != box.answered.load(std::memory_order_relaxed)) {
                box.answered.store(asked, std::memory_order_release);
                if (!send.in_flight()) poller->start(send);
            }
            over = over && asked == rounds;
        }
        if (recv.ended > 0) {
            ASSERT_GT(recv.result, 0);
            received += recv.result;
            recv.ended = 0;
            poller->start(recv);
        }
    }
    for (std::thread& t : askers) t.join();
    poller->cancel(recv);
    poller->cancel(send);
    while (poller->in_flight() > 0) poller->turn(forever);
    EXPECT_GT(received, 0);
}

} // namespace
} // namespace sennit::loop

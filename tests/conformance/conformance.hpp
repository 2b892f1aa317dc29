// What the suites of this folder share.
#pragma once

#include "support/agent_pair.hpp"
#include "support/tier.hpp"

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <vector>

namespace sennit::testing {

/// What agents report, in the order in which they do.
template <class T>
class Log {
  public:
    void add(T what) {
        const std::lock_guard guard(mutex_);
        list_.push_back(std::move(what));
    }
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard guard(mutex_);
        return list_.size();
    }
    [[nodiscard]] std::vector<T> list() const {
        const std::lock_guard guard(mutex_);
        return list_;
    }
    [[nodiscard]] std::vector<T> sorted() const {
        auto copy = list();
        std::sort(copy.begin(), copy.end());
        return copy;
    }
    /// Until there are n.
    void wait_for_size(std::size_t n) const {
        while (size() < n) ::sched_yield();
    }

  private:
    mutable std::mutex mutex_;
    std::vector<T> list_;
};

/// How a wait ended, with a cancellation as a result.
enum class End { yes, no, cancelled };
inline Co<End> end_of(Co<bool> wait) {
    try {
        co_return co_await wait ? End::yes : End::no;
    } catch (const CancelledError&) {}
    co_return End::cancelled;
}
/// The same for Barrier::wait: its number; -1: broken; -2: cancelled.
inline Co<int> end_of(Co<int> wait) {
    int got = -2;
    try {
        got = co_await wait;
    } catch (const BrokenBarrierError&) {
        got = -1;
    } catch (const CancelledError&) {}
    co_return got;
}

/// Interrupts threads by a signal whose handler was installed without SA_RESTART.
class Interrupter {
  public:
    Interrupter() {
        struct sigaction action {};
        action.sa_handler = [](int) { ++handled(); };
        ::sigaction(SIGUSR1, &action, &before_);
    }
    ~Interrupter() { ::sigaction(SIGUSR1, &before_, nullptr); }
    Interrupter(const Interrupter&) = delete;
    Interrupter& operator=(const Interrupter&) = delete;
    /// Returns when the thread has handled it.
    void interrupt(pthread_t thread) {
        const int before = handled();
        while (handled() == before) {
            ::pthread_kill(thread, SIGUSR1);
            const std::int64_t again_at = base::monotonic_ns() + patience_ns;
            while (handled() == before && base::monotonic_ns() < again_at) ::sched_yield();
        }
    }

  private:
    // ThreadSanitizer puts a handler off until the thread calls something that it knows. If the signal comes right before the thread
    // goes to sleep in a system call of its own, that is never; a second one wakes it.
    static constexpr std::int64_t patience_ns =
        thread_sanitized() ? 100'000'000 : std::numeric_limits<std::int64_t>::max() / 2;
    static std::atomic<int>& handled() {
        static std::atomic<int> it{0};
        return it;
    }
    struct sigaction before_ {};
};

/// Until nobody waits longer than `ns` already: what then is handed over is so because of that.
inline void wait_until_waited(const wait::Agent& agent, const void* object, std::int64_t ns) {
    wait_until_parked(agent, object);
    const std::int64_t since = agent.snapshot().since_ns;
    while (base::monotonic_ns() - since <= ns) ::sched_yield();
}

} // namespace sennit::testing

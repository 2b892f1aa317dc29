// Where the workers of a pool sleep when there is nothing to do. Part of ThreadPoolExecutor.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::futures {

/// A condition variable for lock-free structures: who finds nothing announces itself, looks again, and sleeps; who adds something
/// looks whether anybody is announced, which costs a load when nobody is.
///
///     who finds nothing                          who adds
///     w1  waiters_ + 1           seq_cst         n1  add it                seq_cst, or under a lock that w2 takes
///     w2  look again; found: cancel_wait()       n2  load waiters_         seq_cst;  0: done
///     w3  lock; a notification left: take it     n3  lock; take one who sleeps, or leave the notification to
///     w4  link, unlock, park                         one who is announced; unlock; wake
///
/// 1. Nothing is slept through: w1, w2, n1, n2 are in the one order of seq_cst operations (or ordered by the lock): n2 before w1, and
///    then n1 before w2, which finds it; or n2 sees w1, and n3 gives a notification to somebody who looks after it.
/// 2. A notification goes to exactly one of those who are announced: commit_wait() or cancel_wait() says who has it, and what it
///    stands for is then that agent's business.
/// 3. waiters_ counts those who are announced or asleep, and have no notification: changed under the lock, but for w1.
///
/// Agents    Each member from everywhere.
/// Fairness  Who fell asleep last is woken first: its caches are warm, and who is not needed sleeps on.
/// Cost      notify_one() without waiters: one load.
/// Source    D. Vyukov's eventcount, and the one in Eigen's NonBlockingThreadPool; here with agents in place of threads.
class EventCount {
  public:
    EventCount() noexcept = default;
    EventCount(const EventCount&) = delete;
    EventCount& operator=(const EventCount&) = delete;

    /// Announces the caller, who then looks once more, and calls one of the two below.
    void prepare_wait() noexcept { waiters_.fetch_add(1, memory_order_seq_cst); } // w1; meets n2
    /// In place of waiting. True: a notification was left to the caller.
    bool cancel_wait() noexcept;
    /// Sleeps until notified. Neither cancellation nor deadline end it. `site` is what lists of agents say of it.
    void commit_wait(const void* object, const wait::WaitSite& site);

    /// True: one of those who are announced or asleep has the notification. False: there is none, and none is kept.
    bool notify_one() noexcept { return has_waiters() && notify_slow(); }
    /// Whether anybody is announced or asleep, without a notification. seq_cst: n2, meets w1.
    [[nodiscard]] bool has_waiters() const noexcept { return waiters_.load(memory_order_seq_cst) != 0; }
    [[nodiscard]] std::size_t waiters_hint() const noexcept { return waiters_.load(memory_order_relaxed); }

  private:
    class WaitOp;
    bool notify_slow() noexcept;
    bool take_left(const wait::WaitQueue::Guard&) noexcept;

    wait::WaitQueue queue_;
    plain<std::uint32_t> left_ = 0;   // notifications for those who are announced; under the queue's lock
    plain<std::uint32_t> asleep_ = 0; // linked ones; likewise
    atomic<std::uint32_t> waiters_{0};
};

} // namespace sennit::futures

#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/os/futex.hpp>

#include <cstddef>
#include <cstdint>
#include <linux/futex.h>

namespace sennit::os {

/// What robust words need of the calling thread: looked up once, anew after a fork.
struct RobustThread {
    robust_list_head* head = nullptr; // the thread's list in the kernel; glibc's mutexes are in it as well
    std::uint32_t id = 0;             // gettid
    std::uint64_t process_tag = 0;    // the process's number, in the upper 24 bits
};
namespace detail {
inline constinit thread_local RobustThread robust_thread{};
RobustThread& adopt_robust_thread() noexcept;
} // namespace detail
inline RobustThread& robust_thread() noexcept {
    RobustThread& me = detail::robust_thread;
    if (me.head) [[likely]]
        return me;
    return detail::adopt_robust_thread();
}

/// A word in memory that processes share, which a thread holds, and which the kernel marks when that thread dies.
///
/// In the place of a robust pthread mutex's members, on the same list: so both kinds live side by side in one thread.
///
/// Agents    Every member, from threads of all processes that have the memory mapped; at different addresses if need be.
/// Lifetime  The memory stays mapped in a process as long as one of its threads holds the word.
/// Cost      try_lock(): one compare-exchange; unlock(): one. A thread holds at most 2,048 (the kernel's limit).
/// Source    set_robust_list(2), Documentation/locking/robust-futex-ABI.rst; glibc's nptl/pthread_mutex_lock.c.
class RobustWord {
  public:
    // bits         meaning                                    harmless error
    // 0-29 holder  its thread's number; 0: free; all ones:    none
    //              given up, for ever
    // 30 died      a holder died, and nobody has declared     may be set though what it guards is whole (who died was
    //              the data whole since                       about to let go, or cleared `waiters`, see unlock())
    // 31 waiters   somebody may sleep on the word             may be set without one; clear with one only for a moment, in
    //                                                         which a holder makes sure that it is none (unlock())
    static constexpr std::uint32_t holder_mask = FUTEX_TID_MASK, died = FUTEX_OWNER_DIED, waiters = FUTEX_WAITERS;
    static constexpr std::uint32_t given_up = holder_mask;

    RobustWord() noexcept = default;
    RobustWord(const RobustWord&) = delete;
    RobustWord& operator=(const RobustWord&) = delete;

    /// True when it was free, whole, and nobody waited for it: it is held now.
    bool try_lock_fast(RobustThread& me) noexcept {
        me.head->list_op_pending = node();
        in_order();
        std::uint32_t expected = 0;
        // acquire: meets the release of who had it before, or the kernel's mark, which comes after all that a dead one did.
        if (word_.compare_exchange_strong(expected, me.id, memory_order_acquire, memory_order_relaxed)) [[likely]] {
            link(me);
            return true;
        }
        me.head->list_op_pending = nullptr;
        return false;
    }
    enum class Take : unsigned char { taken, busy, given_up };
    /// The same for a word in any state. `was_woken`: the caller has slept on it, and others may.
    Take try_lock(RobustThread& me, bool was_woken = false) noexcept;
    /// The same, but leaves a word that is held marked, so that the caller may sleep on it as long as it is `seen`. With
    /// `announce` the kernel passes on the caller's wake-up if it dies while it sleeps: then leave_wait() must follow.
    Take try_lock_or_mark(RobustThread& me, bool was_woken, bool announce, std::uint32_t& seen) noexcept;
    static void leave_wait(RobustThread& me) noexcept { me.head->list_op_pending = nullptr; }
    /// Takes it, however long that takes: for a few lines that never wait. False: it was given up.
    bool lock(RobustThread& me) noexcept;

    /// By the thread that holds it.
    void unlock(RobustThread& me) noexcept {
        me.head->list_op_pending = node();
        in_order();
        unlink();
        std::uint32_t expected = me.id;
        // release: meets the acquire of who takes it next.
        if (!word_.compare_exchange_strong(expected, 0, memory_order_release, memory_order_relaxed)) [[unlikely]]
            unlock_slow(me);
        in_order();
        me.head->list_op_pending = nullptr;
    }
    /// By the thread that holds it: nobody gets it any more.
    void give_up(RobustThread& me) noexcept;

    /// Whether the calling thread holds it.
    [[nodiscard]] bool is_held_by(const RobustThread& me) const noexcept {
        // relaxed: only this thread writes its own number.
        return (word_.load(memory_order_relaxed) & holder_mask) == me.id;
    }
    [[nodiscard]] bool is_held() const noexcept { return (load() & holder_mask) != 0; }
    /// Nobody has it, and a holder died.
    [[nodiscard]] bool is_dead() const noexcept { return (load() & (holder_mask | died)) == died; }
    /// By who holds it: a holder before died, and nobody has called make_consistent() since.
    [[nodiscard]] bool owner_died() const noexcept { return (load() & died) != 0; }
    void make_consistent() noexcept { word_.fetch_and(~died, memory_order_relaxed); } // its unlock() publishes
    [[nodiscard]] std::uint32_t load() const noexcept { return word_.load(memory_order_relaxed); }
    [[nodiscard]] FutexWord& word() noexcept { return word_; }

    // For whose lock this is; written by the holder.
    [[nodiscard]] std::uint32_t& depth() noexcept { return depth_; }
    [[nodiscard]] atomic<std::uint64_t>& owner() noexcept { return owner_; }

  private:
    // For the compiler alone: the kernel reads this thread's memory as it was when the thread died.
    static void in_order() noexcept { asm volatile("" ::: "memory"); }
    robust_list* node() noexcept { return reinterpret_cast<robust_list*>(&next_); }
    void link(RobustThread& me) noexcept {
        // As glibc's ENQUEUE_MUTEX: a node's `previous` lies just before its `next`, also in the thread's head.
        const auto first = reinterpret_cast<std::uintptr_t>(me.head->list.next);
        next_ = first;
        previous_ = reinterpret_cast<std::uintptr_t>(&me.head->list);
        reinterpret_cast<std::uintptr_t*>(first & ~std::uintptr_t{1})[-1] = reinterpret_cast<std::uintptr_t>(&next_);
        in_order();
        me.head->list.next = node();
        in_order();
        me.head->list_op_pending = nullptr;
    }
    void unlink() noexcept {
        reinterpret_cast<std::uintptr_t*>(next_ & ~std::uintptr_t{1})[-1] = previous_;
        *reinterpret_cast<std::uintptr_t*>(previous_ & ~std::uintptr_t{1}) = next_;
        in_order();
    }
    void unlock_slow(RobustThread& me) noexcept;

    // The layout is glibc's pthread_mutex_t: the kernel finds the word at one distance from the node for all on the list.
    friend struct RobustLayout;
    alignas(8) FutexWord word_{0};
    std::uint32_t depth_ = 0;
    atomic<std::uint64_t> owner_{0};
    [[maybe_unused]] std::uint64_t spare_ = 0;
    std::uintptr_t previous_ = 0, next_ = 0;
};

} // namespace sennit::os

// taking it                                        letting go
//   t1  pending = the word's node                    u1  pending = node; unlink
//   t2  CAS: free -> mine             acquire        u2  CAS: mine -> free                       release
//   t3  link; pending = nothing                      u3  somebody may sleep: keep `waiters`, wake one
//   t4  it is held: CAS: set `waiters`               u4  nobody did: CAS: free, waiters -> mine  acquire
//   t5  sleep while the word is what t4 left         u5  wake one once more
//   t6  from t2, now with `waiters`                  u6  from u2: without `waiters` if u5 found nobody
//
// When a thread dies the kernel visits the words that it has linked and the pending one. Which it held it makes
// `died`, and wakes one sleeper. A pending one that is free it leaves, and wakes one: so the wake-up of u3 goes on if its
// receiver dies in t5 or before t2, or if who let go dies between u2 and u3.
//
// 1. Who dies anywhere between t2 and u2 is in the list, or the word is pending: the next taker is told.
// 2. `waiters` is not lost. It goes in u4 alone. Who sleeps then was there before u4, for who comes later finds the word held,
//    without the bit, and sets it (t4): and u5 wakes one of those, if there are any, so that u6 keeps the bit. In u3 the bit
//    stays, other than with glibc: a third thread that takes the word before the one that was woken has it, so
//    that the others who sleep are remembered if the woken one dies.
// 3. Dead between u4 and u5, in the rare case that somebody came, slept, and found it let go between u3 and u4: then nobody
//    wakes the sleeper. He looks again by himself after Wait::look_again_ns, as every sleeper does.
#include <sennit/os/robust_word.hpp>

#include <sennit/base/fault_point.hpp>
#include <sennit/os/thread.hpp>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::os {

#if !defined(SENNIT_MODEL)
struct RobustLayout {
    static_assert(offsetof(RobustWord, word_) == offsetof(pthread_mutex_t, __data.__lock));
    static_assert(offsetof(RobustWord, previous_) == offsetof(pthread_mutex_t, __data.__list.__prev));
    static_assert(offsetof(RobustWord, next_) == offsetof(pthread_mutex_t, __data.__list.__next));
    static constexpr long futex_offset =
        static_cast<long>(offsetof(RobustWord, word_)) - static_cast<long>(offsetof(RobustWord, next_));
};
#endif

namespace detail {

RobustThread& adopt_robust_thread() noexcept {
    static const int hooked = after_fork_in_child([]() noexcept { robust_thread = {}; });
    static_cast<void>(hooked);
    RobustThread& me = robust_thread;
    std::size_t size = 0;
    const long error = ::syscall(SYS_get_robust_list, 0, &me.head, &size);
#if !defined(SENNIT_MODEL)
    if (error != 0 || !me.head || me.head->futex_offset != RobustLayout::futex_offset) {
        // Another libc than the one that this was compiled with. A lock that no death would free is worse than none.
        std::fputs("sennit: this thread has no robust list of glibc's kind; locks between processes need one\n",
                   stderr);
        std::abort();
    }
#else
    static_cast<void>(error);
#endif
    me.id = static_cast<std::uint32_t>(::syscall(SYS_gettid));
    me.process_tag = static_cast<std::uint64_t>(::getpid()) << 40;
    return me;
}

} // namespace detail

RobustWord::Take RobustWord::try_lock(RobustThread& me, bool was_woken) noexcept {
    me.head->list_op_pending = node(); // t1
    in_order();
    std::uint32_t seen = word_.load(memory_order_relaxed);
    while ((seen & holder_mask) == 0) {
        const std::uint32_t mine = seen | me.id | (was_woken ? waiters : 0);
        // t2. acquire: meets unlock(), and the kernel's mark.
        if (!word_.compare_exchange_weak(seen, mine, memory_order_acquire, memory_order_relaxed)) continue;
        FAULT_POINT("robust.cas_won");
        link(me);
        FAULT_POINT("robust.listed");
        return Take::taken;
    }
    leave_wait(me);
    return (seen & holder_mask) == given_up ? Take::given_up : Take::busy;
}

RobustWord::Take RobustWord::try_lock_or_mark(RobustThread& me, bool was_woken, bool announce,
                                              std::uint32_t& seen) noexcept {
    for (;;) {
        const Take got = try_lock(me, was_woken);
        if (got != Take::busy) return got;
        if (announce) me.head->list_op_pending = node();
        seen = word_.load(memory_order_relaxed);
        if ((seen & holder_mask) == 0 || (seen & holder_mask) == given_up) continue;
        if (seen & waiters) return Take::busy;
        // t4. relaxed: nothing is published by it; the futex call compares the word.
        if (word_.compare_exchange_strong(seen, seen | waiters, memory_order_relaxed, memory_order_relaxed)) {
            seen |= waiters;
            return Take::busy;
        }
    }
}

bool RobustWord::lock(RobustThread& me) noexcept {
    if (try_lock_fast(me)) return true;
    constexpr std::int64_t slice_ns = 100'000'000;
    for (bool slept = false;; slept = true) {
        std::uint32_t seen = 0;
        const Take got = try_lock_or_mark(me, slept, true, seen);
        if (got != Take::busy) return got == Take::taken;
        futex_wait_shared(word_, seen, Deadline::at_monotonic_ns(base::monotonic_ns() + slice_ns));
    }
}

void RobustWord::unlock_slow(RobustThread& me) noexcept {
    for (std::uint32_t keep = 0;;) {
        std::uint32_t seen = word_.load(memory_order_relaxed), left = 0;
        do {
            left = (seen & (waiters | died)) | keep;
            // u2. release: meets the acquire of who takes it next.
        } while (!word_.compare_exchange_weak(seen, left, memory_order_release, memory_order_relaxed));
        if (!(left & waiters)) return;
        FAULT_POINT("robust.unlocked_before_wake");
        if (futex_wake_shared(word_, 1) > 0) return; // u3
        std::uint32_t expected = left;               // u4
        if (!word_.compare_exchange_strong(expected, (left & died) | me.id, memory_order_acquire, memory_order_relaxed))
            return;                                           // somebody has it: he has the bit
        keep = futex_wake_shared(word_, 1) > 0 ? waiters : 0; // u5
    }
}

void RobustWord::give_up(RobustThread& me) noexcept {
    me.head->list_op_pending = node();
    in_order();
    unlink();
    word_.store(given_up, memory_order_release); // nobody takes it: what was done is in nobody's way
    in_order();
    leave_wait(me);
    futex_wake_shared(word_, INT_MAX);
}

} // namespace sennit::os

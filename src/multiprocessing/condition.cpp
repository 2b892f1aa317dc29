//   wait(), the lock held                             notify(n), the lock held
//   w1  ticket = next++, ++waiting                    n1  n = min(n, waiting - tokens); tokens += n; limit = next
//   w2  read the word; release the lock               n2  ++word
//   w3  sleep while the word is as read, the          n3  wake n sleepers
//       deadline and cancellation allow
//   w4  take the lock again
//   w5  a token, and ticket < limit: --tokens,
//       --waiting: notified. Timed out, cancelled: --waiting. Else another was quicker: from w2
//
// 1. No notification is lost: the word is read under the lock (w2), so a notify after that changes it; and all counts
//    change under the lock.
// 2. Nobody who comes after a notify gets it: his ticket is not below the limit until a later notify.
// 3. A notification outlives its receiver: the token stays, and whoever else has waited since then finds it when he looks again by himself,
//    100 ms later at the latest; who is cancelled wakes one before.
// 4. A waiter that dies stays counted in `waiting`. So one token more than live waiters take may be made for him, and a
//    later notify makes it theirs: one return too many for each death, and none too few.
// 5. Who dies at w1, n1 or w5 holds the lock: the counts are as before or after each single store, which 4 covers; a notify that
//    ended between n1 and n2 is found by looking again.
#include <sennit/multiprocessing/condition.hpp>

#include <sennit/base/fault_point.hpp>
#include <sennit/multiprocessing/cargo.hpp>

#include <climits>
#include <new>
#include <string>

namespace sennit::multiprocessing {

constinit const wait::WaitSite Condition::wait_site{"multiprocessing.Condition", "wait"};

// Under the lock, but `word`; without it the others are hints. relaxed: the lock orders them.
struct Condition::State {
    os::FutexWord word{0};
    atomic<std::uint32_t> waiting{0}, tokens{0};
    atomic<std::uint64_t> next{0}, limit{0};

    [[nodiscard]] bool may_have(std::uint64_t ticket) const noexcept {
        return tokens.load(memory_order_relaxed) > 0 && ticket < limit.load(memory_order_relaxed);
    }
    template <class T>
    static void add(atomic<T>& count, T n) noexcept { // one writer: no read-modify-write needed
        count.store(count.load(memory_order_relaxed) + n, memory_order_relaxed);
    }
};

Condition::Condition(SharedBlock block, const SharedBlock& lock, bool recursive)
    : block_(std::move(block)),
      state_(static_cast<State*>(block_.data())),
      lock_(lock),
      rlock_(lock),
      recursive_(recursive) {
    if (block_.size() < sizeof(State))
        throw UsageError("multiprocessing.Condition: a block of " + std::to_string(block_.size()) +
                         " bytes holds none; pass another condition's block()");
}

Condition::Condition() : Condition(RLock()) {}
Condition::Condition(const Lock& lock) : Condition(SharedBlock(sizeof(State)), lock.block(), false) {
    ::new (block_.data()) State;
}
Condition::Condition(const RLock& lock) : Condition(SharedBlock(sizeof(State)), lock.block(), true) {
    ::new (block_.data()) State;
}
Condition::Condition(SharedBlock block, const Lock& lock) : Condition(std::move(block), lock.block(), false) {}
Condition::Condition(SharedBlock block, const RLock& lock) : Condition(std::move(block), lock.block(), true) {}

void Condition::pack(CargoWriter& to) const {
    block_.pack(to);
    lock_.block().pack(to);
    detail::pack_number(to, recursive_ ? 1 : 0);
}

Condition Condition::unpack(CargoReader& from) {
    SharedBlock block = SharedBlock::unpack(from);
    const SharedBlock lock = SharedBlock::unpack(from);
    return {std::move(block), lock, detail::unpack_number(from) != 0};
}

void Condition::require_held(const char* call) const {
    if (recursive_ ? rlock_.is_owned() : lock_.is_held_here()) return;
    throw UsageError(
        std::string("multiprocessing.Condition.") + call +
        ": the lock is not held; acquire() the Condition (std::unique_lock guard(condition)) around the call");
}

bool Condition::wait(Deadline deadline) {
    WaitOp op(*this);
    return sync::run_blocking(op, deadline);
}

void Condition::notify(std::size_t n) {
    require_held("notify");
    State& s = *state_;
    const std::uint32_t tokens = s.tokens.load(memory_order_relaxed), waiting = s.waiting.load(memory_order_relaxed);
    if (waiting <= tokens) {
        // Who of them has died is not known: the tokens are for all who wait now.
        if (n > 0 && tokens > 0) s.limit.store(s.next.load(memory_order_relaxed), memory_order_relaxed);
        return;
    }
    const auto more = n < waiting - tokens ? static_cast<std::uint32_t>(n) : waiting - tokens;
    if (more == 0) return;
    State::add(s.tokens, more); // n1
    s.limit.store(s.next.load(memory_order_relaxed), memory_order_relaxed);
    FAULT_POINT("shared_condition.token_made");
    // n2. release: meets w3; who wakes takes the lock before he reads anything else.
    s.word.fetch_add(1, memory_order_release);
    os::futex_wake_shared(s.word, more > INT_MAX ? INT_MAX : static_cast<int>(more)); // n3
}

// Gives up the lock, as often as it is held.
void Condition::WaitOp::let_go() noexcept {
    os::RobustWord& word = *condition_.lock_.word_;
    depth_ = word.depth();
    word.depth() = 0;
    word.owner().store(0, memory_order_relaxed);
    word.unlock(os::robust_thread());
}

// w2, with the lock held. False: it does not sleep, for the deadline is past.
bool Condition::WaitOp::sleep() noexcept {
    part_ = Part::waiting;
    os::FutexWord& word = condition_.state_->word;
    const std::uint32_t seen = word.load(memory_order_relaxed); // the lock orders it
    let_go();
    FAULT_POINT("shared_condition.lock_released");
    if (deadline().is_poll()) return false;
    sleep_on(word, seen);
    return true;
}

// w4. False: it sleeps.
bool Condition::WaitOp::lock_again() noexcept {
    os::RobustWord& word = *condition_.lock_.word_;
    std::uint32_t seen = 0;
    switch (word.try_lock_or_mark(os::robust_thread(), slept_for_lock_, is_thread(), seen)) {
    case os::RobustWord::Take::busy:
        slept_for_lock_ = true;
        sleep_on(word.word(), seen);
        return false;
    case os::RobustWord::Take::given_up:
        given_up_ = true;
        break;
    case os::RobustWord::Take::taken:
        word.depth() = depth_;
        word.owner().store(owner_id(os::robust_thread(), agent()), memory_order_relaxed);
        break;
    }
    return true;
}

// w5. False: another was quicker.
bool Condition::WaitOp::settle_account() noexcept {
    State& s = *condition_.state_;
    constexpr auto minus_one = static_cast<std::uint32_t>(-1);
    notified_ = !cancelled_ && s.may_have(ticket_);
    if (notified_) {
        State::add(s.tokens, minus_one);
    } else if (!timed_out_ && !cancelled_) {
        return false;
    }
    State::add(s.waiting, minus_one);
    const std::uint32_t left = s.waiting.load(memory_order_relaxed);
    if (s.tokens.load(memory_order_relaxed) > left) s.tokens.store(left, memory_order_relaxed);
    // Its notification may have been the one that woke this waiter: it goes to another.
    if (cancelled_ && s.tokens.load(memory_order_relaxed) > 0) {
        s.word.fetch_add(1, memory_order_release); // as n2
        os::futex_wake_shared(s.word, 1);
    }
    return true;
}

bool Condition::WaitOp::step() noexcept {
    woke_up();
    State& s = *condition_.state_;
    for (;;) {
        switch (part_) {
        case Part::begin: // w1
            notified_ = timed_out_ = cancelled_ = slept_for_lock_ = false;
            interruptible_ = true;
            ticket_ = s.next.load(memory_order_relaxed);
            State::add(s.next, std::uint64_t{1});
            State::add(s.waiting, std::uint32_t{1});
            if (sleep()) return false;
            timed_out_ = true;
            break;
        case Part::waiting:
            timed_out_ = outcome() == wait::Outcome::timed_out;
            cancelled_ = outcome() == wait::Outcome::cancelled;
            if (!timed_out_ && !cancelled_) {
                // acquire: meets n2: what notify() counted before is seen.
                const std::uint32_t seen = s.word.load(memory_order_acquire);
                if (!s.may_have(ticket_)) {
                    sleep_on(s.word, seen);
                    return false;
                }
            }
            break;
        case Part::locking:
            break;
        }
        if (part_ != Part::locking) {
            part_ = Part::locking;
            interruptible_ = false;
            restart_since(); // who is starved of the lock counts from here
        }
        if (!lock_again()) return false;
        if (given_up_) return true;
        if (!settle_account()) {
            interruptible_ = true;
            slept_for_lock_ = false;
            if (sleep()) return false;
            continue; // the deadline is past; never here, for then it has timed out
        }
        if (!again()) return true;
        part_ = Part::begin;
    }
}

bool Condition::WaitOp::finish(wait::Agent& me) {
    if (given_up_) throw LockGivenUp();
    // A coroutine that blocked its loop's thread waited as that thread: the owner is who called.
    condition_.lock_.word_->owner().store(owner_id(os::robust_thread(), me), memory_order_relaxed);
    if (cancelled_) me.throw_cancelled();
    return notified_;
}

} // namespace sennit::multiprocessing

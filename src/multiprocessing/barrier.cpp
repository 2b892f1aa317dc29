// Python's states, and one for an action that runs:
//
//   filling ──all have come──> acting ──action done──> draining ──all have left──> filling
//      │ ╰────── reset() ──────> resetting ──all have left──────────────────────────┘
//      ╰─ time-out, abort(), a death, an action that throws ─> broken ── reset() ─> resetting, or filling when nobody is left
//
// All of it lies under one robust lock, held for a few lines. Every change that somebody may wait for changes `word` under it; sleepers
// read the word under it, so none is missed.
//
// Deaths. Who is in the barrier holds a place: a robust word that the kernel marks when its thread dies. Who has the lock looks at
// all places, and everybody who waits takes the lock each look_again_ns: so a death is found. In the lock itself: the
// next one finds `died`; the counts are made anew from the places, and the barrier breaks.
#include <sennit/multiprocessing/barrier.hpp>

#include <sennit/base/fault_point.hpp>
#include <sennit/multiprocessing/cargo.hpp>

#include <climits>
#include <new>
#include <string>

namespace sennit::multiprocessing {

constinit const wait::WaitSite Barrier::wait_site{"multiprocessing.Barrier", "wait"};

// Where one party waits. Under the barrier's lock, but the kernel's mark in `alive`.
struct alignas(64) Barrier::Place {
    os::RobustWord alive; // held by who has the place
    atomic<bool> taken{false};
    atomic<std::uint32_t> number{0}; // what its wait() gives, written when the round is full
};

struct alignas(64) Barrier::State {
    static constexpr std::uint32_t magic_number = 0x73624172;
    enum Phase : std::uint32_t { filling, acting, draining, resetting, broken };
    explicit State(std::uint32_t n) noexcept : parties(n) {}

    os::RobustWord lock;
    os::RobustWord actor; // held by who runs the action
    os::FutexWord word{0};
    // relaxed, all below: the lock orders them.
    atomic<std::uint32_t> phase{filling};
    atomic<std::uint32_t> count{0}; // the places taken
    const std::uint32_t parties;
    const std::uint32_t magic = magic_number;

    [[nodiscard]] Place* places() noexcept { return reinterpret_cast<Place*>(this + 1); }
    [[nodiscard]] Phase now() const noexcept { return static_cast<Phase>(phase.load(memory_order_relaxed)); }
};

/// The barrier's lock, and at its end a wake-up of all if anything has changed.
class Barrier::Guard {
  public:
    explicit Guard(State& s) noexcept : s_(s) { lock(); }
    ~Guard() { unlock(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    void lock() noexcept {
        s_.lock.lock(me_); // it is never given up
        if (s_.lock.owner_died()) [[unlikely]] {
            std::uint32_t n = 0;
            for (std::uint32_t i = 0; i < s_.parties; ++i) n += s_.places()[i].taken.load(memory_order_relaxed) ? 1 : 0;
            s_.count.store(n, memory_order_relaxed);
            change_to(State::broken);
            s_.lock.make_consistent();
        }
        bury();
    }
    void unlock() noexcept {
        const bool wake = std::exchange(changed_, false);
        FAULT_POINT("shared_barrier.locked");
        s_.lock.unlock(me_);
        if (wake) os::futex_wake_shared(s_.word, INT_MAX);
    }
    void change_to(State::Phase p) noexcept {
        s_.phase.store(p, memory_order_relaxed);
        // relaxed: read under the lock, or by the kernel that compares it.
        s_.word.fetch_add(1, memory_order_relaxed);
        changed_ = true;
    }
    // True with a place; its number + 1 in `place`.
    bool enter(std::size_t& place) noexcept {
        for (std::uint32_t i = 0; i < s_.parties; ++i) {
            Place& p = s_.places()[i];
            if (p.taken.load(memory_order_relaxed)) continue;
            // Busy: a coroutine that left it on another thread than it had entered on.
            if (p.alive.try_lock(me_) != os::RobustWord::Take::taken) continue;
            p.alive.make_consistent();
            p.taken.store(true, memory_order_relaxed);
            FAULT_POINT("shared_barrier.place_taken");
            s_.count.fetch_add(1, memory_order_relaxed);
            place = i + 1;
            return true;
        }
        return false;
    }
    void leave(std::size_t& place) noexcept {
        if (place == 0) return;
        Place& p = s_.places()[std::exchange(place, 0) - 1];
        free(p);
        if (p.alive.is_held_by(me_)) p.alive.unlock(me_);
    }
    // Numbers those who are in; the caller is the last.
    void number(std::size_t callers_place) noexcept {
        std::uint32_t n = 0;
        for (std::uint32_t i = 0; i < s_.parties; ++i)
            if (i + 1 != callers_place && s_.places()[i].taken.load(memory_order_relaxed))
                s_.places()[i].number.store(n++, memory_order_relaxed);
    }
    [[nodiscard]] os::RobustThread& me() noexcept { return me_; }

  private:
    void free(Place& p) noexcept {
        p.taken.store(false, memory_order_relaxed);
        s_.count.fetch_sub(1, memory_order_relaxed);
        const State::Phase now = s_.now();
        if (s_.count.load(memory_order_relaxed) == 0 && (now == State::draining || now == State::resetting))
            change_to(State::filling);
    }
    // Those who died in it.
    void bury() noexcept {
        bool died = s_.now() == State::acting && s_.actor.is_dead();
        for (std::uint32_t i = 0; i < s_.parties; ++i) {
            Place& p = s_.places()[i];
            if (!p.taken.load(memory_order_relaxed) || !p.alive.is_dead()) continue;
            died = true;
            free(p);
        }
        if (died && (s_.now() == State::filling || s_.now() == State::acting)) change_to(State::broken);
    }

    State& s_;
    os::RobustThread& me_ = os::robust_thread();
    bool changed_ = false;
};

Barrier::Barrier(std::size_t parties, std::function<void()> action, Deadline deadline)
    : state_(nullptr), action_(std::move(action)), deadline_(deadline) {
    constexpr std::size_t most = 1U << 20;
    if (parties < 1 || parties > most)
        throw UsageError("multiprocessing.Barrier: " + std::to_string(parties) + " parties; from 1 to " +
                         std::to_string(most) + " are possible");
    block_ = SharedBlock(sizeof(State) + parties * sizeof(Place));
    state_ = ::new (block_.data()) State(static_cast<std::uint32_t>(parties));
    for (std::size_t i = 0; i < parties; ++i) ::new (static_cast<void*>(state_->places() + i)) Place;
}

void Barrier::pack(CargoWriter& to) const {
    if (action_)
        throw UsageError("multiprocessing.Barrier: its action does not travel to another process; send "
                         "Barrier(block()), and give it "
                         "an action there");
    block_.pack(to);
    detail::pack_number(to, has_timeout_ ? 1 : 0);
    detail::pack_number(to, static_cast<std::uint64_t>(has_timeout_ ? timeout_.count() : deadline_.monotonic_ns()));
}

Barrier Barrier::unpack(CargoReader& from) {
    SharedBlock block = SharedBlock::unpack(from);
    const bool has_timeout = detail::unpack_number(from) != 0;
    const auto ns = static_cast<std::int64_t>(detail::unpack_number(from));
    Barrier barrier(std::move(block), {}, has_timeout ? Deadline(forever) : Deadline::at_monotonic_ns(ns));
    barrier.timeout_ = std::chrono::nanoseconds(has_timeout ? ns : 0);
    barrier.has_timeout_ = has_timeout;
    return barrier;
}

Barrier::Barrier(SharedBlock block, std::function<void()> action, Deadline deadline)
    : block_(std::move(block)),
      state_(static_cast<State*>(block_.data())),
      action_(std::move(action)),
      deadline_(deadline) {
    if (block_.size() < sizeof(State) || state_->magic != State::magic_number ||
        block_.size() < sizeof(State) + state_->parties * sizeof(Place))
        throw InvalidStateError("multiprocessing.Barrier: a block of " + std::to_string(block_.size()) +
                                " bytes holds none; pass another barrier's block()");
}

int Barrier::wait(Deadline deadline) {
    WaitOp op(*this);
    return sync::run_blocking(op, deadline);
}

int Barrier::WaitOp::finish(wait::Agent& me) {
    switch (result_) {
    case Result::cancelled:
        me.throw_cancelled();
        break;
    case Result::action_failed:
        std::rethrow_exception(error_);
    case Result::broken:
        throw BrokenBarrierError();
    case Result::passed:
    case Result::none:
        break;
    }
    return index_;
}

bool Barrier::WaitOp::step() noexcept {
    woke_up();
    Guard guard(*barrier_.state_);
    return place_ == 0 ? barrier_.arrive(*this, guard) : barrier_.go_on(*this, guard);
}

// Not in yet, or just come.
bool Barrier::arrive(WaitOp& w, Guard& guard) noexcept {
    using Result = WaitOp::Result;
    State& s = *state_;
    if (w.slept() && w.outcome() == wait::Outcome::cancelled) {
        w.result_ = Result::cancelled;
        return true;
    }
    if (s.now() == State::broken) {
        w.result_ = Result::broken;
        return true;
    }
    const bool late = w.deadline().is_poll() || (w.slept() && w.outcome() == wait::Outcome::timed_out);
    if (s.now() != State::filling || !guard.enter(w.place_)) {
        if (late) {
            // The round that leaves is none of its business.
            if (s.now() == State::filling) guard.change_to(State::broken);
            w.result_ = Result::broken;
            return true;
        }
        w.sleep_on(s.word, s.word.load(memory_order_relaxed));
        return false;
    }
    if (s.count.load(memory_order_relaxed) < s.parties) {
        if (late) {
            guard.leave(w.place_);
            guard.change_to(State::broken);
            w.result_ = Result::broken;
            return true;
        }
        w.sleep_on(s.word, s.word.load(memory_order_relaxed));
        return false;
    }
    w.result_ = Result::passed;
    w.index_ = static_cast<int>(s.parties - 1);
    guard.number(w.place_);
    if (action_) run_action(w, guard);
    if (w.result_ == Result::passed) guard.change_to(State::draining);
    guard.leave(w.place_);
    return true;
}

// Without the lock, which it has again at its end.
void Barrier::run_action(WaitOp& w, Guard& guard) noexcept {
    State& s = *state_;
    guard.change_to(State::acting);
    s.actor.lock(guard.me());
    s.actor.make_consistent();
    guard.unlock();
    try {
        action_();
    } catch (...) {
        w.result_ = WaitOp::Result::action_failed;
        w.error_ = std::current_exception();
    }
    guard.lock();
    s.actor.unlock(guard.me());
    if (s.now() != State::acting) { // aborted, or reset
        if (w.result_ == WaitOp::Result::passed) w.result_ = WaitOp::Result::broken;
    } else if (w.result_ == WaitOp::Result::action_failed) {
        guard.change_to(State::broken);
    }
}

// In it, and woken, timed out, cancelled, or just looking again.
bool Barrier::go_on(WaitOp& w, Guard& guard) noexcept {
    using Result = WaitOp::Result;
    State& s = *state_;
    const bool cancelled = w.outcome() == wait::Outcome::cancelled;
    switch (s.now()) {
    case State::filling:
        if (w.outcome() == wait::Outcome::timed_out) {
            guard.change_to(State::broken);
            w.result_ = Result::broken;
            break;
        }
        [[fallthrough]];
    case State::acting:
        if (cancelled) break;
        // A full round is not timed out any more.
        if (w.outcome() == wait::Outcome::timed_out) w.interruptible_ = false;
        w.sleep_on(s.word, s.word.load(memory_order_relaxed));
        return false;
    case State::draining:
        w.result_ = Result::passed;
        w.index_ = static_cast<int>(s.places()[w.place_ - 1].number.load(memory_order_relaxed));
        break;
    case State::resetting:
    case State::broken:
        w.result_ = Result::broken;
        break;
    }
    if (cancelled) w.result_ = Result::cancelled;
    guard.leave(w.place_);
    return true;
}

void Barrier::reset() noexcept {
    Guard guard(*state_);
    guard.change_to(state_->count.load(memory_order_relaxed) > 0 ? State::resetting : State::filling);
}

void Barrier::abort() noexcept {
    Guard guard(*state_);
    guard.change_to(State::broken);
}

bool Barrier::broken() const noexcept {
    const Guard guard(*state_);
    return state_->now() == State::broken;
}

std::size_t Barrier::n_waiting() const noexcept {
    const Guard guard(*state_);
    const State::Phase now = state_->now();
    return now == State::filling || now == State::acting ? state_->count.load(memory_order_relaxed) : 0;
}

std::size_t Barrier::parties() const noexcept { return state_->parties; }

} // namespace sennit::multiprocessing

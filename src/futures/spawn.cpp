// A coroutine on a pool, from thread to thread
//
//   worker: run()                                        who wakes it: unpark()
//   r1  step: the coroutine suspends, its wait is armed  u1  settled_ = the wait
//   r2  CAS running -> idle              acq_rel         u2  exchange -> notified       acq_rel
//       failed: notified -> running, go on                   idle before: running, and into the pool's queue
//
// 1. One thread at a time: it is in the queue only after r2 gave it up; before that u2 only leaves a note.
// 2. No wake-up is lost: r2 and u2 change one word. u2 first: r2 fails and goes on. r2 first: u2 sees idle.
// 3. r2 (release) meets u2 (acquire), and the queue hands that on: the next worker sees what the coroutine did.
#include <sennit/futures/spawn.hpp>

#include <sennit/os/futex.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/registry.hpp>

#include <cstdlib>
#include <string>

namespace sennit::futures::detail {

// One thread for all pools: timers of spawned coroutines, and the end of those whose pool takes no tasks any more. Starts with the
// first coroutine, never ends; the end of the process does not wait for it.
class SpawnHelper {
  public:
    static SpawnHelper& instance() {
        static SpawnHelper* const it = new SpawnHelper;
        return *it;
    }
    /// Room for one timer more, and the thread. Throws OSError, std::bad_alloc.
    void attach() {
        const os::MutexGuard guard(mutex_);
        timers_.reserve(attached_ + 1);
        if (!started_) {
            pthread_t thread;
            const int error = os::start_thread(
                thread,
                [](void* self) -> void* {
                    static_cast<SpawnHelper*>(self)->work();
                    return nullptr;
                },
                this, 0);
            if (error != 0) throw OSError(error, "spawn: cannot start the helper thread");
            os::detach_thread(thread);
            started_ = true;
        }
        ++attached_;
    }
    void detach() noexcept {
        const os::MutexGuard guard(mutex_);
        --attached_;
    }
    void arm(SpawnedBase& s, wait::Pause& w, Deadline deadline) noexcept {
        bool first = false;
        {
            const os::MutexGuard guard(mutex_);
            first = deadline.monotonic_ns() < timers_.first_ns();
            s.timed_ = &w;
            timers_.arm(s, deadline.monotonic_ns()); // there is room
        }
        if (first) ring();
    }
    void disarm(SpawnedBase& s) noexcept {
        const os::MutexGuard guard(mutex_);
        timers_.disarm(s);
    }
    /// Runs it here.
    void post(SpawnedBase& s) noexcept {
        {
            const os::MutexGuard guard(mutex_);
            s.next_ = nullptr;
            *(first_ ? &last_->next_ : &first_) = &s;
            last_ = &s;
        }
        ring();
    }

  private:
    SpawnHelper() {
        os::after_fork_in_child([]() noexcept { instance().forget(); });
    }
    // The child has no such thread, and its copies of coroutines are nobody's.
    void forget() noexcept SENNIT_NO_TSA {
        mutex_.reset_after_fork();
        started_ = false;
        first_ = last_ = nullptr;
    }
    void ring() noexcept {
        bell_.fetch_add(1, memory_order_release); // meets work()
        os::futex_wake(bell_, 1);
    }
    void work() noexcept {
        wait::detail::adopt_new_thread("spawn helper", false);
        for (;;) {
            const std::uint32_t rung = bell_.load(memory_order_acquire); // meets ring()
            SpawnedBase* due = nullptr;
            SpawnedBase* to_run = nullptr;
            std::int64_t next_ns = INT64_MAX;
            {
                const os::MutexGuard guard(mutex_);
                const std::int64_t now = base::monotonic_ns();
                while (loop::TimedReady* const t = timers_.pop_due(now)) {
                    auto& s = static_cast<SpawnedBase&>(*t);
                    // Under the lock: who disarms knows that the wait is not touched after that.
                    if (!s.timed_->settle(wait::Outcome::timed_out)) continue;
                    s.next_ = due;
                    due = &s;
                }
                to_run = std::exchange(first_, nullptr);
                next_ns = timers_.first_ns();
            }
            const bool idle = !due && !to_run;
            while (due) {
                SpawnedBase& s = *due;
                due = s.next_;
                s.unpark(*s.timed_);
            }
            while (to_run) {
                SpawnedBase& s = *to_run;
                to_run = s.next_;
                s.run();
            }
            if (idle) os::futex_wait(bell_, rung, Deadline::at_monotonic_ns(next_ns));
        }
    }
    os::Mutex mutex_;
    loop::TimerHeap timers_ SENNIT_GUARDED_BY(mutex_);
    std::size_t attached_ SENNIT_GUARDED_BY(mutex_) = 0;
    SpawnedBase* first_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    SpawnedBase* last_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    bool started_ SENNIT_GUARDED_BY(mutex_) = false;
    os::FutexWord bell_{0};
};

namespace {
// Never called: the helper looks at the timers itself.
void no_fire(loop::Timer&) noexcept {}
} // namespace

SpawnedBase::SpawnedBase(ThreadPoolExecutor& pool) : Agent(wait::AgentKind::coroutine), Timer(no_fire), pool_(pool) {
    SpawnHelper::instance().attach();
}

SpawnedBase::~SpawnedBase() {
    if (root_) root_.destroy(); // never started
    SpawnHelper::instance().detach();
}

void SpawnedBase::start(asyncio::detail::PromiseBase& root, std::shared_ptr<SpawnedBase> self) {
    root_ = leaf_ = root.handle();
    self_ = std::move(self);
    wait::Registry::add(*this);
    try {
        pool_.enqueue(*this);
    } catch (...) {
        wait::Registry::remove(*this);
        self_.reset();
        throw;
    }
}

void SpawnedBase::enqueue() noexcept {
    try {
        pool_.enqueue(*this);
    } catch (...) {
        cancel_and_drop();
    } // it takes no tasks any more, or has no memory for them
}

void SpawnedBase::cancel_and_drop() noexcept {
    cancel();
    SpawnHelper::instance().post(*this);
}

void SpawnedBase::fail_and_drop(const std::exception_ptr&) noexcept { cancel_and_drop(); }

void SpawnedBase::unpark(wait::Pause& w) noexcept {
    settled_ = &w;                                                                     // u1
    if (state_.exchange(State::notified, memory_order_acq_rel) != State::idle) return; // u2
    state_.store(State::running, memory_order_relaxed);                                // nobody else has it
    enqueue();
}

bool SpawnedBase::park(wait::Wait&, Deadline) noexcept { std::abort(); } // coroutines suspend: Agent::wait sees to that

void SpawnedBase::arm_timer(wait::Pause& w, Deadline deadline) noexcept {
    if (w.has_steps()) continue_with(static_cast<wait::Wait&>(w).continuation());
    if (!deadline.is_forever()) SpawnHelper::instance().arm(*this, w, deadline);
}

void SpawnedBase::disarm_timer(wait::Pause& w) noexcept {
    if (!w.deadline().is_forever()) SpawnHelper::instance().disarm(*this);
}

// True: it has ended.
bool SpawnedBase::step() noexcept {
    if (wait::Pause* const w = std::exchange(settled_, nullptr)) {
        if (!w->has_steps())
            end_pause(*w);
        else if (!resume_step(static_cast<wait::Wait&>(*w)))
            return false;
    }
    if (!started_) {
        started_ = true;
        if (cancel_requested()) { // its body never runs
            store_error(std::make_exception_ptr(CancelledError()));
            return true;
        }
    }
    wait::Agent* const outer = std::exchange(wait::detail::current, this);
    leaf_.resume();
    wait::detail::current = outer;
    return root_.done();
}

void SpawnedBase::run() noexcept {
    while (!step()) {
        State seen = State::running;
        if (state_.compare_exchange_strong(seen, State::idle, memory_order_acq_rel, memory_order_acquire)) return; // r2
        state_.store(State::running, memory_order_relaxed); // notified: nobody else writes now
    }
    wait::Agent* const outer = std::exchange(wait::detail::current, this);
    std::exchange(root_, {}).destroy();
    end_locals();
    wait::detail::current = outer;
    wait::Registry::remove(*this);
    const std::shared_ptr<SpawnedBase> last = std::move(self_);
    publish();
}

} // namespace sennit::futures::detail

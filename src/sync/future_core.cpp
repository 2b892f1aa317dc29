//   finish(), cancel()                               attend: wait(), observe()
//   f1  store the value or the error                 a1  lock the queue
//   f2  state += done            acq_rel             a2  state: CAS | attended, unless done     acq_rel
//   f3  attended in what f2 saw:                     a3  link
//       lock, claim all waiters, take all            a4  unlock; park
//       observers, unlock; wake, call
//
// 1. Nobody is forgotten: f2 and a2 change one word. Either a2 comes first, then f2 sees `attended` and f3 waits for the lock
//    until a3 has linked; or f2 comes first, and a2 sees that it is done.
// 2. Order: f2 (release) meets done() and a2 (acquire): who sees it done sees the value.
// 3. Callbacks run once each, in the order in which they came: f3 takes the whole list; later ones find it done.
// 4. An interruptible future ends once: end() and cancel() change the same word, and the first of them takes `interruptible` away.
//    After end() nobody can cancel it; after cancel() end() says so, and the value is never stored.
// 5. Whoever completes holds a reference until f3 has ended: so the core outlives its own completion.
#include <sennit/sync/future_core.hpp>

#include <sennit/wait/wait_queue.hpp>

#include "os/patience.hpp"

#include <cstdio>
#include <typeinfo>

namespace sennit::sync {
namespace {

constinit thread_local FutureCore::WaitHook* wait_hook = nullptr;
// How long this thread looks before it parks.
constinit thread_local os::Patience patience;

void print_unseen_error(std::exception_ptr error, const char* what) noexcept {
    try {
        std::rethrow_exception(std::move(error));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "sennit: exception in %s: %s: %s\n", what, typeid(e).name(), e.what());
    } catch (...) {
        std::fprintf(stderr, "sennit: exception of unknown type in %s\n", what);
    }
}

// nullptr: the default one.
constinit atomic<UnseenErrorHook> unseen_error_hook{nullptr};
constinit atomic<UnseenErrorHook> default_unseen_error_hook{print_unseen_error};

} // namespace

constinit const wait::WaitSite FutureCore::wait_site{"Future", "result"};

FutureCore::~FutureCore() SENNIT_NO_TSA {
    // The last owner: the release of the reference has ordered all others before.
    while (first_) {
        auto& observer = static_cast<FutureObserver&>(*first_);
        unlink(observer);
        observer.discard();
    }
    const std::uint32_t state = state_.load(memory_order_relaxed);
    if (!(state & failed)) return;
    std::exception_ptr error = stored_error();
    std::destroy_at(&stored_error());
    if (state & unseen) report_unseen_error(std::move(error), "a task whose future nobody asked for its result");
}

bool FutureCore::claim() noexcept {
    std::uint32_t seen = state_.load(memory_order_relaxed);
    for (;;) {
        const std::uint32_t status = seen & status_mask;
        if (status >= cancelled || (seen & claimed)) return false;
        // acquire: meets the release of whoever had the future before (nothing is told by the bits themselves).
        if (state_.compare_exchange_weak(seen, seen | running | claimed, memory_order_acquire, memory_order_relaxed))
            return true;
    }
}

bool FutureCore::attend() noexcept {
    std::uint32_t seen = state_.load(memory_order_acquire);
    while ((seen & status_mask) < cancelled) {
        if ((seen & attended) ||
            state_.compare_exchange_weak(seen, seen | attended, memory_order_acq_rel, memory_order_acquire))
            return true;
    }
    return false;
}

void FutureCore::link(FutureObserver& observer) noexcept {
    base::ListNode* const first = first_;
    if (!first) {
        observer.prev = observer.next = &observer;
        first_ = &observer;
        return;
    }
    base::ListNode* const last = first->prev;
    observer.prev = last;
    observer.next = first;
    last->next = first->prev = &observer;
}

void FutureCore::unlink(FutureObserver& observer) noexcept {
    base::ListNode* const next = observer.next;
    if (next == &observer)
        first_ = nullptr;
    else if (first_ == &observer)
        first_ = next;
    base::IntrusiveList::remove(observer);
}

void FutureCore::tell_all() noexcept {
    base::IntrusiveList observers;
    {
        wait::WakeList wakes; // wakes after the guard
        os::MutexGuard guard(mutex_);
        while (first_) {
            auto& observer = static_cast<FutureObserver&>(*first_);
            unlink(observer);
            if (wait::Wait* w = observer.waiter()) {
                if (w->settle(wait::Outcome::woken)) wakes.add(*w);
            } else {
                observers.push_back(observer);
            }
        }
    }
    // A last reference may be given back by a callback: who called finish() or cancel() holds one of its own.
    while (base::ListNode* n = observers.pop_front()) {
        try {
            static_cast<FutureObserver*>(n)->on_done(*this);
        } catch (...) {
            report_unseen_error(std::current_exception(), "a done-callback of a future");
        }
    }
}

bool FutureCore::cancel() noexcept {
    std::uint32_t seen = state_.load(memory_order_relaxed);
    for (;;) {
        const std::uint32_t status = seen & status_mask;
        if (status == cancelled) return true;
        if (status == finished || (status == running && !(seen & interruptible))) return false;
        // release: nothing but the status is told; acquire: the attendants.
        if (state_.compare_exchange_weak(seen, (seen & ~(status_mask | interruptible)) | cancelled,
                                         memory_order_acq_rel, memory_order_relaxed))
            break;
    }
    if (seen & attended) tell_all();
    if (seen & interruptible) on_interrupted();
    return true;
}

void FutureCore::observe(FutureObserver& observer) {
    {
        os::MutexGuard guard(mutex_);
        if (attend()) {
            link(observer);
            return;
        }
    }
    try {
        observer.on_done(*this);
    } catch (...) {
        report_unseen_error(std::current_exception(), "a done-callback of a future");
    }
}

bool FutureCore::unobserve(FutureObserver& observer) noexcept {
    os::MutexGuard guard(mutex_);
    // Once it is done the list is tell_all()'s, which goes through it without the lock. Before, it waits for us.
    if (done() || !observer.linked()) return false;
    unlink(observer);
    return true;
}

bool FutureCore::WaitOp::step() noexcept {
    if (linked_ && outcome() == wait::Outcome::woken) return true;
    {
        os::MutexGuard guard(core_.mutex_);
        if (linked_) {
            if (link_.linked()) core_.unlink(link_);
            cancelled_ = outcome() == wait::Outcome::cancelled;
            if (!cancelled_ || !stay_) return true;
            interruptible_ = false; // the next outcome is `woken`
        }
        if (!core_.attend()) return true;
        arm();
        core_.link(link_);
        linked_ = true;
    }
    if (cancelled_) stay_->on_cancel();
    return false;
}

void FutureCore::set_wait_hook(WaitHook* hook) noexcept { wait_hook = hook; }

FutureCore::WaitHook* FutureCore::current_wait_hook() noexcept { return wait_hook; }

bool FutureCore::wait(Deadline deadline) {
    if (done()) return true;
    if (deadline.is_poll()) return false;
    WaitHook* const hook = wait_hook;
    // Only a wait without end: a task can't be left half run at the deadline.
    if (hook && deadline.is_forever() && hook->help(*this)) return true;
    const bool may_look = wait::current_agent().may_spin();
    if (may_look && patience.look(hook != nullptr, [this] { return done(); })) return true;
    WaitOp op(*this);
    const Absence absence(hook);
    const std::int64_t began = base::monotonic_ns();
    const bool is_done = run_blocking(op, deadline);
    if (may_look && is_done) patience.learn(base::monotonic_ns() - began);
    return is_done;
}

UnseenErrorHook set_unseen_error_hook(UnseenErrorHook hook) noexcept {
    // acq_rel: what the hook's installer prepared is visible to who calls it.
    return unseen_error_hook.exchange(hook, memory_order_acq_rel);
}

void set_default_unseen_error_hook(UnseenErrorHook hook) noexcept {
    default_unseen_error_hook.store(hook, memory_order_release); // meets report_unseen_error
}

void report_unseen_error(std::exception_ptr error, const char* what) noexcept {
    UnseenErrorHook hook = unseen_error_hook.load(memory_order_acquire);    // meets set_unseen_error_hook
    if (!hook) hook = default_unseen_error_hook.load(memory_order_acquire); // meets set_default_unseen_error_hook
    hook(std::move(error), what);
}

} // namespace sennit::sync

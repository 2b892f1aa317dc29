#include "test_loop.hpp"

#if defined(SENNIT_MODEL)

#include <sennit/base/errors.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <cstdlib>

namespace sennit::testing {

TestTask::TestTask(TestLoop& loop, std::function<Co<void>()> body, std::string_view name)
    : Agent(wait::AgentKind::coroutine), loop_(loop), body_(std::move(body)) {
    keep_name(name);
    wait::Registry::add(*this);
}

TestTask::~TestTask() {
    wait::Registry::remove(*this);
    if (root_) root_.destroy();
}

bool TestTask::park(wait::Wait&, Deadline) noexcept { std::abort(); } // coroutines suspend

void TestTask::unpark(wait::Pause& w) noexcept { loop_.post(static_cast<wait::Wait&>(w)); }

void TestTask::arm_timer(wait::Pause& w, Deadline deadline) noexcept {
    if (deadline.is_forever()) return;
    timer_ = loop_.timers_.emplace(deadline.monotonic_ns(), static_cast<wait::Wait*>(&w));
    has_timer_ = true;
}

void TestTask::disarm_timer(wait::Pause&) noexcept {
    if (has_timer_) loop_.timers_.erase(timer_);
    has_timer_ = false;
}

Co<void> TestTask::run_body() {
    try {
        co_await body_();
    } catch (...) {
        error_ = std::current_exception();
    }
}

void TestTask::start() {
    root_ = run_body().release();
    wait::Agent* const outer = wait::detail::current;
    wait::detail::current = this;
    root_.resume();
    if (root_.done()) end_locals();
    wait::detail::current = outer;
}

void TestTask::go_on(wait::Wait& w) {
    if (!resume_step(w)) return;
    wait::Agent* const outer = wait::detail::current;
    wait::detail::current = this;
    std::coroutine_handle<>::from_address(w.continuation()).resume();
    if (root_.done()) end_locals();
    wait::detail::current = outer;
}

bool TestTask::was_cancelled() const noexcept {
    try {
        if (error_) std::rethrow_exception(error_);
    } catch (const CancelledError&) {
        return true;
    } catch (...) {
        return false;
    }
    return false;
}

TestLoop::~TestLoop() {
    if (threaded_) join();
}

TestTask& TestLoop::spawn(std::function<Co<void>()> body, std::string_view name) {
    std::unique_ptr<TestTask> task(new TestTask(*this, std::move(body), name));
    TestTask& it = *task;
    {
        os::MutexGuard guard(mutex_);
        tasks_.push_back(std::move(task));
        fresh_.push_back(&it);
        ++live_;
    }
    bell_.fetch_add(1, memory_order_release); // meets the load in turn_until
    os::futex_wake(bell_, 1);
    return it;
}

void TestLoop::post(wait::Wait& w) noexcept {
    os::MutexGuard guard(mutex_); // held till the bell has rung: the loop can't end before
    auto& ready = static_cast<TestTask&>(w.agent()).ready_;
    ready.wait = &w;
    inbox_.push_back(ready);
    bell_.fetch_add(1, memory_order_release); // meets the load in turn_until
    os::futex_wake(bell_, 1);
}

void TestLoop::fire_timers() {
    const std::int64_t now = base::monotonic_ns();
    while (!timers_.empty() && timers_.begin()->first <= now) {
        wait::Wait& w = *timers_.begin()->second;
        auto& task = static_cast<TestTask&>(w.agent());
        task.disarm_timer(w);
        if (w.settle(wait::Outcome::timed_out)) task.go_on(w);
        // else: somebody was quicker, and it is or will be in the inbox
    }
}

void TestLoop::turn_until(bool (*stop)(TestLoop&)) {
    for (;;) {
        const std::uint32_t rung = bell_.load(memory_order_acquire); // meets post and spawn
        base::IntrusiveList woken;
        std::vector<TestTask*> fresh;
        {
            os::MutexGuard guard(mutex_);
            woken.splice_back(inbox_);
            fresh.swap(fresh_);
            if (woken.empty() && fresh.empty() && stop(*this)) return;
        }
        std::vector<TestTask*> ended;
        for (TestTask* t : fresh) {
            t->start();
            if (t->root_.done()) ended.push_back(t);
        }
        while (base::ListNode* n = woken.pop_front()) {
            wait::Wait& w = *static_cast<TestTask::Ready*>(n)->wait;
            auto& t = static_cast<TestTask&>(w.agent());
            t.go_on(w);
            if (t.root_.done()) ended.push_back(&t);
        }
        const std::size_t timers_before = timers_.size();
        if (timers_before) {
            fire_timers();
            os::MutexGuard guard(mutex_);
            for (auto& t : tasks_)
                if (t->root_ && t->root_.done() && !t->done_.is_set() &&
                    std::find(ended.begin(), ended.end(), t.get()) == ended.end())
                    ended.push_back(t.get());
        }
        for (TestTask* t : ended) {
            {
                os::MutexGuard guard(mutex_);
                --live_;
            }
            t->done_.set();
        }
        if (!ended.empty()) continue;
        os::futex_wait(bell_, rung, timers_.empty() ? forever : Deadline::at_monotonic_ns(timers_.begin()->first));
    }
}

void TestLoop::run() {
    turn_until([](TestLoop& l) { return l.live_ == 0; });
}

void TestLoop::start() {
    threaded_ = true;
    const int e = os::start_thread(
        thread_,
        [](void* self) -> void* {
            static_cast<TestLoop*>(self)->turn_until([](TestLoop& l) { return l.stopping_ && l.live_ == 0; });
            return nullptr;
        },
        this, 0);
    if (e) throw OSError(e, "TestLoop: cannot start a thread");
}

void TestLoop::join() {
    {
        os::MutexGuard guard(mutex_);
        stopping_ = true;
    }
    bell_.fetch_add(1, memory_order_release);
    os::futex_wake(bell_, 1);
    os::join_thread(thread_);
    threaded_ = false;
    stopping_ = false;
}

std::exception_ptr TestLoop::first_error() const noexcept {
    os::MutexGuard guard(mutex_);
    for (const auto& t : tasks_)
        if (t->error_) return t->error_;
    return nullptr;
}

} // namespace sennit::testing

#endif

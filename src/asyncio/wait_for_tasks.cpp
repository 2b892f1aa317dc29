// Everything here runs on one loop's thread: the tasks' ends tell the links there. So the counts are plain.
#include <sennit/asyncio/wait_for_tasks.hpp>

#include <sennit/base/errors.hpp>

#include <string>
#include <utility>

namespace sennit::asyncio::detail {

constinit const wait::WaitSite WaitForTasks::gather_site{"asyncio", "gather"};
constinit const wait::WaitSite WaitForTasks::wait_site{"asyncio", "wait"};
constinit const wait::WaitSite WaitForTasks::shield_site{"asyncio", "shield"};

bool is_cancelled_error(const std::exception_ptr& error) noexcept {
    if (!error) return false;
    try {
        std::rethrow_exception(error);
    } catch (const CancelledError&) {
        return true;
    } catch (...) {
        return false;
    }
}

WaitForTasks::WaitForTasks(const wait::WaitSite& site, Until until, Cancelling cancelling, std::size_t count)
    : Wait(this, site),
      links_(std::make_unique<Link[]>(count)),
      count_(count),
      left_(count),
      until_(until),
      cancelling_(cancelling) {
    for (std::size_t i = 0; i < count; ++i) links_[i].owner = this;
}

WaitForTasks::~WaitForTasks() {
    if (!observes_) return;
    for (std::size_t i = 0; i < count_; ++i)
        if (links_[i].observes) links_[i].task->unobserve(links_[i]);
}

void WaitForTasks::set_task(std::size_t index, const TaskRef& task) { links_[index].task = &task.base(); }

bool WaitForTasks::enough() const noexcept {
    if (left_ == 0) return true;
    if (cancelled_) return false;
    return (until_ == Until::first_done && left_ < count_) || (until_ == Until::first_error && first_error_) ||
           (until_ == Until::first_failed && one_failed_);
}

void WaitForTasks::told(TaskBase& task) noexcept {
    --left_;
    if (!first_error_ && (task.failed() || task.cancelled())) first_error_ = &task;
    if (task.failed()) one_failed_ = true;
    if (armed_ && enough() && settle(wait::Outcome::woken)) {
        armed_ = false;
        agent().unpark(*this);
    }
}

void WaitForTasks::observe_all() noexcept {
    if (observes_) return;
    observes_ = true;
    by_ = &wait::current_agent();
    for (std::size_t i = 0; i < count_; ++i) {
        links_[i].observes = true;
        links_[i].task->observe(links_[i]); // one that is done tells at once
    }
}

bool WaitForTasks::try_now(Deadline deadline) noexcept {
    observe_all();
    return enough() || deadline.is_poll();
}

void WaitForTasks::hand_cancel_on(const TaskBase& me) noexcept {
    if (cancelling_ == Cancelling::leaves) return;
    handed_on_ = true; // meets step(), which runs after the unpark that follows this
    for (std::size_t i = 0; i < count_; ++i) links_[i].task->cancel_as(me);
}

bool WaitForTasks::step() noexcept {
    if (armed_ && outcome() == wait::Outcome::timed_out) return true;
    if (armed_) { // not woken, which disarms: cancelled
        if (cancelling_ == Cancelling::leaves) return cancelled_ = true;
        cancelled_ = true;
        auto& me = static_cast<TaskBase&>(agent());
        me.take_cancel();
        armed_ = false;
        if (!std::exchange(handed_on_, false))
            for (std::size_t i = 0; i < count_; ++i) links_[i].task->cancel_as(me);
    }
    if (enough()) return true;
    arm();
    armed_ = waited_ = true;
    return false;
}

void WaitForTasks::finish(wait::Agent& me) {
    // As in Python, a request that came after the wake-up and before the task went on is thrown here, too.
    if (cancelled_ || (waited_ && me.cancel_requested())) me.throw_cancelled();
}

void check_same_loop(const TaskRef& task, const char* call) {
    if (&task.get_loop() != &EventLoop::running())
        throw UsageError(std::string("asyncio::") + call + ": the task " + task.name() +
                         " belongs to another event loop; co_await it in a coroutine of this loop, and give that one");
}

} // namespace sennit::asyncio::detail

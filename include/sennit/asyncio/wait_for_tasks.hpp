#pragma once

#include <sennit/asyncio/task.hpp>
#include <sennit/wait/waiter.hpp>

#include <cstddef>
#include <exception>
#include <memory>

namespace sennit::asyncio {

namespace detail {

/// Whether an error is what a cancelled task ends with.
bool is_cancelled_error(const std::exception_ptr& error) noexcept;

/// The wait for several tasks together: what gather, wait, wait_for and shield are made of.
///
/// Agents    The tasks run on the loop of who waits.
/// Cancel    Of who waits: Cancelling::leaves throws at once and leaves the tasks alone; Cancelling::cancels passes each request on,
///           in the same call, to all tasks that are not done, and throws when all of them are.
/// Lifetime  Who waits keeps the tasks alive.
class WaitForTasks final : public wait::Wait {
  public:
    /// first_failed: a cancelled one has not failed; first_error: it has ended with an error, CancelledError.
    enum class Until : std::uint8_t { first_done, first_failed, first_error, all_done };
    enum class Cancelling : std::uint8_t { leaves, cancels };

    WaitForTasks(const wait::WaitSite& site, Until until, Cancelling cancelling, std::size_t count);
    ~WaitForTasks();
    /// Each of them, before anything else; once or more often.
    void set_task(std::size_t index, const TaskRef& task);

    bool try_now(Deadline deadline) noexcept;
    bool step() noexcept override;
    /// By who has cancelled `me`, which waits: passes it on. Not for Cancelling::leaves.
    void hand_cancel_on(const TaskBase& me) noexcept;
    /// Throws CancelledError when who waits was cancelled.
    void finish(wait::Agent& me);
    /// The task that ended first with an error, CancelledError included; nullptr: none of those that are done.
    [[nodiscard]] TaskBase* first_error() const noexcept { return first_error_; }
    /// Of those that were waited for.
    [[nodiscard]] bool all_done() const noexcept { return left_ == 0; }

    static const wait::WaitSite gather_site, wait_site, shield_site;

  private:
    struct Link final : TaskObserver {
        void on_done(TaskBase& done_one) noexcept override { owner->told(done_one); }
        const wait::Agent* awaiting() const noexcept override { return owner->by_; }
        WaitForTasks* owner = nullptr;
        TaskBase* task = nullptr;
        bool observes = false;
    };
    void told(TaskBase& task) noexcept;
    [[nodiscard]] bool enough() const noexcept;
    void observe_all() noexcept;

    std::unique_ptr<Link[]> links_;
    const wait::Agent* by_ = nullptr; // who waits; set before the links are linked
    const std::size_t count_;
    std::size_t left_;
    TaskBase* first_error_ = nullptr;
    bool one_failed_ = false;
    Until until_;
    const Cancelling cancelling_;
    bool observes_ = false;
    bool armed_ = false; // linked in tasks that may settle it
    bool waited_ = false;
    bool cancelled_ = false;
    bool handed_on_ = false; // the cancellation that has settled this
};

/// Throws UsageError: a task of another loop in a call of this one.
void check_same_loop(const TaskRef& task, const char* call);

} // namespace detail
} // namespace sennit::asyncio

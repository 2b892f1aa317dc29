// Who cancels whom, as in Python 3.13
//
//   a child fails          abort(): all children are cancelled; the parent, too, once: parent_cancel_requested_
//   the body fails         abort(), when the body has ended
//   the parent is          the body, or leave(), sees it: abort(); the request is the parent's own: outer_cancel_
//   cancelled by others
//
// The parent's count of requests (cancelling) is after the group what it was before, plus those of others: the group takes back its own
// one, and only when the count comes to 0 is a CancelledError of the body taken for its doing. If errors go out while there
// is a request of others, it is made anew, so that the parent's next wait sees it.
//
// A child's end is handled in the turn after, by a node of its own on the ready list, as Python's done-callback is: children that
// fail in one turn all have their errors in the group. The group waits for these nodes, not only for the tasks.
#include <sennit/asyncio/task_group.hpp>

#include <sennit/asyncio/wait_for_tasks.hpp>
#include <sennit/base/errors.hpp>

#include <memory>

namespace sennit::asyncio {
namespace {

TaskBase& task_around() {
    TaskBase* const task = detail::running_task();
    if (!task)
        throw UsageError(
            "asyncio::TaskGroup outside of a task; run it in a coroutine, by asyncio::run() or create_task()");
    return *task;
}

std::exception_ptr cancelled_error(const TaskBase& task) noexcept {
    const std::string message = task.cancel_message();
    return std::make_exception_ptr(message.empty() ? CancelledError() : CancelledError(message));
}

} // namespace

constinit const wait::WaitSite TaskGroup::LeaveOp::leave_site{"TaskGroup", "run"};

struct TaskGroup::Child final : base::ListNode {
    explicit Child(TaskGroup& g) noexcept : group(g) { ready.run = &Child::handle; }
    static void* operator new(std::size_t bytes) { return FrameMemory::take(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept { FrameMemory::give_back(memory, bytes); }

    struct End final : TaskObserver {
        explicit End(Child& c) noexcept : child(c) {}
        void on_done(TaskBase& task) noexcept override { task.loop().post(child.ready); }
        const wait::Agent* awaiting() const noexcept override { return &child.group.parent_; }
        Child& child;
    };
    struct Node : loop::Ready {
        explicit Node(Child& c) noexcept : child(c) {}
        Child& child;
    };
    static void handle(loop::Ready& r) noexcept {
        Child& child = static_cast<Node&>(r).child;
        child.group.child_done(child);
    }
    TaskGroup& group;
    TaskRef task;
    End end{*this};
    Node ready{*this};
};

void TaskGroup::DropChild::operator()(Child* child) const noexcept { delete child; }

TaskGroup::TaskGroup() : parent_(task_around()), loop_(parent_.loop()) {}

TaskGroup::~TaskGroup() = default; // children_ is empty: leave() has seen to that

TaskGroup::ChildPtr TaskGroup::make_child() {
    if (leaving_ && children_.empty())
        throw UsageError("TaskGroup::create_task: the group has ended; create tasks in its body or in its children");
    if (aborting_)
        throw UsageError(
            "TaskGroup::create_task: the group is shutting down, because a child failed or it was cancelled");
    // Room for the errors of all, the body's included: child_done() can't fail then.
    const std::size_t room = errors_.size() + size_ + 2;
    if (errors_.capacity() < room) errors_.reserve(2 * room);
    return ChildPtr(new Child(*this));
}

void TaskGroup::adopt(ChildPtr& made, const TaskRef& task) noexcept {
    Child& child = *made.release();
    child.task = task;
    children_.push_back(child);
    ++size_;
    task.base().observe(child.end);
}

void TaskGroup::abort() noexcept {
    aborting_ = true;
    for (base::ListNode* n = children_.front(); n; n = children_.after(*n)) static_cast<Child*>(n)->task.cancel();
}

void TaskGroup::cancel() {
    if (aborting_ || (leaving_ && children_.empty())) return;
    abort();
    parent_cancel_requested_ = true;
    parent_.cancel();
}

void TaskGroup::child_done(Child& done_one) noexcept {
    const std::unique_ptr<Child> child(&done_one);
    base::IntrusiveList::remove(done_one);
    --size_;
    if (child->task.base().failed()) {
        child->task.base().mark_error_seen();
        errors_.push_back(child->task.base().stored_error());
        if (!aborting_ && !parent_cancel_requested_) {
            abort();
            parent_cancel_requested_ = true;
            parent_.cancel();
        }
    }
    if (size_ == 0 && leaver_ && leaver_->settle(wait::Outcome::woken)) {
        LeaveOp& waiting = *std::exchange(leaver_, nullptr);
        parent_.unpark(waiting);
    }
}

void TaskGroup::begin_leaving() noexcept {
    leaving_ = true;
    if (!body_error_) return;
    if (detail::is_cancelled_error(body_error_)) outer_cancel_ = body_error_;
    if (!aborting_) abort();
}

void TaskGroup::parent_was_cancelled() noexcept {
    parent_.take_cancel();
    pending_cancel_ = cancelled_error(parent_);
    if (aborting_) return;
    outer_cancel_ = pending_cancel_;
    abort();
}

bool TaskGroup::LeaveOp::step() noexcept {
    if (!waited_)
        group_.begin_leaving();
    else if (outcome() == wait::Outcome::cancelled || group_.parent_.cancel_requested())
        group_.parent_was_cancelled();
    group_.leaver_ = nullptr;
    if (group_.size_ == 0) return true;
    arm();
    waited_ = true;
    group_.leaver_ = this;
    return false;
}

void TaskGroup::finish() {
    if (parent_cancel_requested_) {
        if (parent_.uncancel() == 0)
            outer_cancel_ = nullptr; // all of it was the group's own
        else if (!outer_cancel_)
            outer_cancel_ = pending_cancel_; // what is left is not the group's
    }
    if (outer_cancel_ && errors_.empty()) std::rethrow_exception(outer_cancel_);
    if (body_error_ && !detail::is_cancelled_error(body_error_)) errors_.push_back(std::move(body_error_));
    if (errors_.empty()) return;
    if (parent_.cancelling() > 0) {
        const std::string message = parent_.cancel_message();
        parent_.uncancel();
        parent_.cancel(message);
    }
    throw ExceptionGroup("unhandled errors in a TaskGroup", std::move(errors_));
}

} // namespace sennit::asyncio

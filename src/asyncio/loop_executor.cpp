#include <sennit/asyncio/loop_executor.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/sync/condition.hpp>
#include <sennit/sync/lock.hpp>

#include <cstddef>
#include <mutex>
#include <utility>

namespace sennit::asyncio {

// Shared with the entries that the loop has.
struct LoopExecutor::State {
    struct Node : base::ListNode {
        sync::Task* task = nullptr; // nullptr: somebody ends it, or has
        bool accepted = false;      // submit() has given its future out
        bool dropped = false;       // by the loop, before that
    };
    // Takes the node's task out, so that exactly one party ends it. Under the lock.
    static sync::Task* take(Node& node) noexcept {
        if (node.linked()) base::IntrusiveList::remove(node);
        return std::exchange(node.task, nullptr);
    }
    void one_has_ended() {
        const std::scoped_lock guard(lock);
        if (--unended == 0) idle.notify_all();
    }
    sync::Lock lock;
    sync::Condition idle{lock};
    base::IntrusiveList queued; // Nodes, oldest first
    std::size_t unended = 0;    // queued, or running
    bool closed = false;
};

// What the loop calls, or drops uncalled.
class LoopExecutor::Entry {
  public:
    Entry(std::shared_ptr<State> state, std::shared_ptr<State::Node> node) noexcept
        : state_(std::move(state)), node_(std::move(node)) {}
    Entry(Entry&&) noexcept = default;
    Entry& operator=(Entry&&) = delete;
    ~Entry() {
        if (!node_) return;
        sync::Task* task = nullptr;
        {
            const std::scoped_lock guard(state_->lock);
            if (node_->accepted)
                task = State::take(*node_);
            else
                node_->dropped = true;
        }
        if (!task) return;
        task->cancel_and_drop();
        state_->one_has_ended();
    }
    void operator()() {
        sync::Task* task = nullptr;
        {
            const std::scoped_lock guard(state_->lock);
            task = State::take(*node_);
        }
        node_.reset();
        if (!task) return;
        task->run();
        state_->one_has_ended();
    }

  private:
    std::shared_ptr<State> state_;
    std::shared_ptr<State::Node> node_;
};

LoopExecutor::LoopExecutor(loop::EventLoop& loop) : loop_(loop), state_(std::make_shared<State>()) {}

LoopExecutor::~LoopExecutor() { shutdown(ShutdownOptions{}); }

void LoopExecutor::enqueue(sync::Task& task) {
    const auto node = std::make_shared<State::Node>();
    {
        const std::scoped_lock guard(state_->lock);
        if (state_->closed) throw UsageError("submit: this LoopExecutor was shut down; submit before shutdown()");
        node->task = &task;
        state_->queued.push_back(*node);
        ++state_->unended;
    }
    // False: nobody has the task any more.
    const auto take_back = [&] {
        {
            const std::scoped_lock guard(state_->lock);
            node->accepted = true;
            if (!State::take(*node)) return false;
        }
        state_->one_has_ended();
        return true;
    };
    try {
        loop_.call_soon_threadsafe(Entry(state_, node));
    } catch (...) {
        if (!take_back()) return; // shutdown() was quicker, and has cancelled it
        throw;
    }
    {
        const std::scoped_lock guard(state_->lock);
        node->accepted = true;
        if (!node->dropped) return;
    }
    if (take_back()) throw UsageError("submit: the event loop of this LoopExecutor is closed");
}

void LoopExecutor::shutdown(ShutdownOptions options) {
    const bool on_loop = loop::EventLoop::running_or_null() == &loop_;
    for (;;) {
        sync::Task* task = nullptr;
        {
            const std::scoped_lock guard(state_->lock);
            state_->closed = true;
            if (options.cancel_futures || on_loop)
                if (base::ListNode* const n = state_->queued.pop_front())
                    task = std::exchange(static_cast<State::Node*>(n)->task, nullptr);
        }
        if (!task) break;
        task->cancel_and_drop();
        state_->one_has_ended();
    }
    if (!options.wait || on_loop) return;
    const std::scoped_lock guard(state_->lock);
    state_->idle.wait_for([&] { return state_->unended == 0; });
}

} // namespace sennit::asyncio

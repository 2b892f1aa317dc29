#include <sennit/threading/thread_ref.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/thread.hpp>

#include "threads.hpp"

namespace sennit::threading {

using detail::Threads;
using detail::ThreadState;

ThreadState& ThreadRef::state(const char* call) const {
    if (!state_)
        throw UsageError(std::string("Thread.") + call +
                         ": this Thread was moved from; use the one that it was moved to");
    return *state_;
}

std::string ThreadRef::name() const { return state_ ? state_->name() : std::string(); }

void ThreadRef::set_name(std::string_view name) { state("set_name").set_name(name); }

bool ThreadRef::daemon() const { return state_ && state_->daemon(); }

void ThreadRef::set_daemon(bool daemon) { state("set_daemon").set_daemon(daemon); }

bool ThreadRef::is_alive() const noexcept { return state_ && state_->phase() == ThreadState::Phase::started; }

std::uintptr_t ThreadRef::ident() const noexcept { return state_ ? state_->ident() : 0; }

std::int64_t ThreadRef::native_id() const noexcept { return state_ ? state_->native_id() : 0; }

bool ThreadRef::join(Deadline deadline) const {
    state("join");
    JoinOp op(state_);
    wait::Agent& me = wait::current_agent();
    if (op.try_now(deadline)) return op.finish(me);
    if (deadline.is_forever() && op.join_with_system(me)) return true;
    me.wait(op, deadline);
    return op.finish(me);
}

sync::Awaitable<JoinOp> ThreadRef::async_join(Deadline deadline) const {
    state("join");
    return sync::Awaitable<JoinOp>(deadline, state_);
}

ThreadRef current_thread() { return Threads::ref(Threads::current()); }

ThreadRef main_thread() { return Threads::ref(Threads::main()); }

std::vector<ThreadRef> enumerate() { return Threads::all(); }

std::size_t active_count() { return Threads::count(); }

std::uintptr_t get_ident() noexcept { return os::thread_number(os::this_thread()); }

std::int64_t get_native_id() noexcept { return os::current_thread_id(); }

} // namespace sennit::threading

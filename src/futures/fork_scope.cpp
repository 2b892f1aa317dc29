#include <sennit/futures/fork_scope.hpp>

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/futures/thread_pool_executor.hpp>
#include <sennit/wait/agent.hpp>

#include "futures/fork_team.hpp"

#include <algorithm>

namespace sennit::futures {
namespace {

// A call that is over before never tells anybody of it, and costs no system call.
constexpr std::int64_t young_ns = 20'000;

// Lets a coroutine's agent report that it is about to block its loop.
class NoWait final : public wait::Wait {
  public:
    NoWait() noexcept : Wait(nullptr, site) {}
    bool step() noexcept override { return true; }

  private:
    static constexpr wait::WaitSite site{"ThreadPoolExecutor", "fork_join"};
};

} // namespace

namespace detail {

ForkScope*& current_fork_scope() noexcept {
    constinit static thread_local ForkScope* current = nullptr;
    return current;
}

void throw_fork_cancelled() {
    throw CancelledError(
        "cancelled: the fork_join or parallel_ call that this is part of was, or another part of it threw");
}

} // namespace detail

// ---- ForkScope

void ForkScope::grow() {
    const std::size_t larger = capacity_ * 4;
    auto** const frames = new detail::ForkFrame*[larger];
    std::copy(frames_, frames_ + tail_, frames);
    if (frames_ != first_frames_) delete[] frames_;
    frames_ = frames;
    capacity_ = larger;
}

bool ForkScope::look_at_signals() noexcept {
    if (cancelled()) return true;
    if (young_) {
        const std::int64_t now = base::monotonic_ns();
        if (young_since_ == 0) young_since_ = now;
        if (now - young_since_ < young_ns) return false;
        team_.grow_up(*this);
    }
    // relaxed: the signal alone. Before the look at the frames: a later beat comes again.
    signals_.fetch_and(~wanted, memory_order_relaxed);
    while (head_ < tail_) {
        bool more = false;
        detail::ForkJob* const job = frames_[head_]->give(*frames_[head_], more);
        if (!more) ++head_;
        if (job) {
            team_.offer(*this, *job);
            return false;
        }
        if (more) break; // not now
    }
    signals_.fetch_or(wanted, memory_order_relaxed); // it had nothing: still wanted
    return false;
}

void ForkScope::look_at_signals_in_fork() {
    if (!cancelled() && !look_at_signals()) return;
    --tail_; // the frame that has just been pushed; nothing was given away
    detail::throw_fork_cancelled();
}

bool ForkScope::join(std::size_t at, detail::ForkJob* job) {
    tail_ = head_ = at;
    const std::unique_ptr<detail::ForkJob> owner(job);
    bool agent_cancelled = false;
    if (team_.join(*job, agent_cancelled)) return true;
    std::exception_ptr error = team_.take_error(*this, *job);
    if (agent_cancelled) wait::current_agent().throw_cancelled();
    if (error) std::rethrow_exception(std::move(error));
    return false;
}

bool ForkScope::after_error(std::size_t at, detail::ForkJob& job) {
    tail_ = head_ = at;
    const std::unique_ptr<detail::ForkJob> owner(&job);
    // What the job threw first is thrown on: what came here was a consequence, or later.
    if (std::exception_ptr error = team_.take_error(*this, job)) {
        bool agent_cancelled = false;
        team_.join(job, agent_cancelled);
        std::rethrow_exception(std::move(error));
    }
    team_.cancel(job);
    bool agent_cancelled = false; // stays with the agent, for its next wait
    if (team_.join(job, agent_cancelled)) return false;
    return !team_.take_error(*this, job);
}

// ---- ForkEntry

ForkEntry::ForkEntry(ThreadPoolExecutor& pool, const std::stop_token& stop) { begin(pool.fork_team(), stop); }

ForkEntry::ForkEntry(detail::ForkTeam& team, const std::stop_token& stop) { begin(team, stop); }

ForkEntry::ForkEntry(ForkScope& scope, const std::stop_token& stop) : scope_(&scope) {
    if (stop.stop_possible()) begin(scope.team_, stop);
}

void ForkEntry::begin(detail::ForkTeam& team, const std::stop_token& stop) {
    ForkScope*& current = detail::current_fork_scope();
    if (current && &current->team_ == &team && !stop.stop_possible()) {
        scope_ = current; // within a call: part of it
        return;
    }
    wait::Agent& me = wait::current_agent();
    if (me.kind() == wait::AgentKind::coroutine) {
        NoWait w;
        me.wait(w, forever);
    }
    former_ = current;
    scope_ = ::new (static_cast<void*>(&own_)) ForkScope(team, nullptr);
    owns_ = true;
    team.enter(*scope_);
    current = scope_;
    if (stop.stop_possible()) stopper_.emplace(stop, Stopper{scope_});
}

ForkEntry::~ForkEntry() {
    if (!owns_) return;
    stopper_.reset();
    detail::current_fork_scope() = former_;
    scope_->team_.leave(*scope_);
    own_.~ForkScope();
}

void ForkEntry::Stopper::operator()() const noexcept { scope->team_.cancel(*scope); }

ForkEntry::Aside::Aside() noexcept : former_(std::exchange(detail::current_fork_scope(), nullptr)) {}
ForkEntry::Aside::~Aside() { detail::current_fork_scope() = former_; }

} // namespace sennit::futures

#include "futures/fork_team.hpp"

#include <sennit/os/system_state.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/sync/future_core.hpp>
#include <sennit/wait/agent.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace sennit::futures::detail {
namespace {

// A job that took as long was worth the giving. Who had a smaller one lets as much time pass before it asks again.
constexpr std::int64_t beat_ns = 50'000;
// How often who is idle looks before it sleeps, if there is a core for it: for longer than most take to their next fork.
constexpr unsigned looks = 500;
// How often an idle worker sees whether its pool has other work for it.
constexpr std::int64_t nap_ns = 200'000;
// How many naps it stays when nobody is in a call.
constexpr int naps_at_the_end = 5;
// How long one that would be more than there are cores watches between its looks at the others, and how long at most.
constexpr std::int64_t shortest_watch_ns = 200'000, longest_watch_ns = 2'000'000, all_watches_ns = 200'000'000;

constinit const wait::WaitSite join_site{"fork_join", "join"};
constinit const wait::WaitSite help_site{"fork_join", "help"};

// For nothing but time.
class Nap final : public wait::Wait {
  public:
    explicit Nap(ForkTeam& team) noexcept : Wait(&team, help_site) {}
    bool step() noexcept override {
        if (std::exchange(armed_, true)) return true;
        arm();
        return false;
    }

  private:
    bool armed_ = false;
};

Deadline in_ns(std::int64_t ns) noexcept { return Deadline::at_monotonic_ns(base::monotonic_ns() + ns); }

// Waits as an OS thread even where a coroutine runs on it (which has been reported then, see ForkEntry).
void wait_here(wait::Wait& w, Deadline deadline) noexcept {
    wait::Agent& me = wait::current_agent();
    (me.kind() == wait::AgentKind::coroutine ? wait::current_thread_agent() : me).wait(w, deadline);
}

#if defined(SENNIT_MODEL)
std::int64_t thread_cpu_ns(std::int64_t) noexcept { return 0; } // the scheduler's time is none of the cores'
#else
using os::thread_cpu_ns;
#endif

} // namespace

/// For a job to be done, or to have a descendant on offer; without a job: for any offer.
class ForkWait final : public wait::Wait {
  public:
    ForkWait(ForkTeam& team, ForkJob* job, bool interruptible) noexcept
        : Wait(&team, job ? join_site : help_site), team_(team), job_(job) {
        interruptible_ = interruptible;
    }

    bool step() noexcept override {
        const os::MutexGuard guard(team_.mutex_);
        plain<ForkWait*>& place = job_ ? job_->waiter_ : team_.sleeper_;
        if (!linked_) {
            if (ready()) return true;
            arm();
            place = this;
            linked_ = true;
            return false;
        }
        if (place == this) place = nullptr; // it ended by itself
        return true;
    }

  private:
    bool ready() const noexcept SENNIT_REQUIRES(team_.mutex_) {
        if (!job_) return !team_.offers_.empty();
        // relaxed: under the lock.
        if (job_->state_.load(memory_order_relaxed) == ForkJob::State::done) return true;
        for (base::ListNode* n = team_.offers_.front(); n; n = team_.offers_.after(*n))
            if (ForkTeam::belongs(static_cast<ForkJob*>(n)->parent_, *job_)) return true;
        return false;
    }
    ForkTeam& team_;
    ForkJob* const job_;
    bool linked_ = false;
};

ForkTeam::ForkTeam(ForkHost& host, std::size_t limit) noexcept
    : host_(host), limit_(limit), cpus_(static_cast<std::size_t>(os::process_cpus())) {}

// ---- who belongs to whom: ancestors outlive their descendants, which they join

bool ForkTeam::belongs(const ForkScope* scope, const ForkJob& job) noexcept {
    for (const ForkJob* j = scope->job_; j; j = j->parent_->job_)
        if (j == &job) return true;
    return false;
}

bool ForkTeam::is_cancelled(const ForkJob& job) noexcept {
    for (const ForkJob* j = &job; j; j = j->parent_->job_) {
        // relaxed: under the lock.
        if (j->cancelled_ || (j->parent_->signals_.load(memory_order_relaxed) & ForkScope::scope_cancelled))
            return true;
    }
    return false;
}

// relaxed: a signal carries no data; what it stands for is under the lock.
void ForkTeam::tell(ForkScope& scope, std::uint32_t signal) noexcept {
    scope.signals_.fetch_or(signal, memory_order_relaxed);
}

// ---- those in a call

void ForkTeam::enter(ForkScope& scope) noexcept {
    const os::MutexGuard guard(mutex_);
    scopes_.push_back(scope);
    ++active_;
    scope.thread_ = os::current_thread_id();
    scope.young_ = true;
    tell(scope, ForkScope::wanted); // so that it looks when it is not any more
}

void ForkTeam::leave(ForkScope& scope) noexcept {
    bool others = false;
    {
        const os::MutexGuard guard(mutex_);
        base::IntrusiveList::remove(scope);
        --active_;
        others = !scopes_.empty();
    }
    if (others) invite_if_wanted();
}

void ForkTeam::invite_if_wanted() noexcept {
    {
        const os::MutexGuard guard(mutex_);
        if (invited_ || alone_ || has_idle_ || active_ >= limit_ || scopes_.empty()) return;
        if (watched_ && active_ >= cpus_) return;
        invited_ = true;
    }
    if (host_.invite()) return;
    const os::MutexGuard guard(mutex_);
    invited_ = false;
    alone_ = true;
}

void ForkTeam::grow_up(ForkScope& scope) noexcept {
    {
        const os::MutexGuard guard(mutex_);
        scope.young_ = false;
    }
    invite_if_wanted();
}

void ForkTeam::invitation_lost() noexcept {
    const os::MutexGuard guard(mutex_);
    invited_ = false;
    alone_ = true; // the pool is closing
}

void ForkTeam::offer(ForkScope& scope, ForkJob& job) noexcept {
    ForkWait* wake = nullptr;
    bool invite = false;
    {
        const os::MutexGuard guard(mutex_);
        job.parent_ = &scope;
        offers_.push_back(job);
        // relaxed: who sees it takes the lock.
        offered_.fetch_add(1, memory_order_relaxed);
        const auto claim = [&wake](plain<ForkWait*>& place) noexcept {
            ForkWait* const w = place;
            if (!w) return false;
            place = nullptr;
            if (w->settle(wait::Outcome::woken)) wake = w; // else it wakes up by itself, and looks
            return true;
        };
        if (has_idle_) {
            claim(sleeper_); // if it looks it will see the offer
        } else {
            bool told = false;
            for (ForkJob* j = scope.job_; j && !told; j = j->parent_->job_) told = claim(j->waiter_);
            invite = !told;
        }
    }
    if (wake) wake->agent().unpark(*wake);
    if (invite) invite_if_wanted();
}

ForkJob* ForkTeam::take_offer(const ForkJob* ancestor) noexcept {
    for (base::ListNode* n = offers_.front(); n; n = offers_.after(*n)) {
        auto& job = static_cast<ForkJob&>(*n);
        if (ancestor && !belongs(job.parent_, *ancestor)) continue;
        base::IntrusiveList::remove(job);
        job.state_.store(ForkJob::State::taken, memory_order_relaxed); // under the lock
        return &job;
    }
    return nullptr;
}

void ForkTeam::beat(const ForkJob* job) noexcept {
    for (base::ListNode* n = scopes_.front(); n; n = scopes_.after(*n)) {
        auto& scope = static_cast<ForkScope&>(*n);
        if (scope.young_) continue; // it gives by itself before long
        if (!job || belongs(&scope, *job)) tell(scope, ForkScope::wanted);
    }
}

void ForkTeam::beat_for_test() noexcept {
    const os::MutexGuard guard(mutex_);
    beat(nullptr);
}

// ---- doing what others gave away

void ForkTeam::run(ForkJob& job) noexcept {
    ForkScope scope(*this, &job);
    scope.thread_ = os::current_thread_id();
    scopes_.push_back(scope);
    if (is_cancelled(job)) tell(scope, ForkScope::scope_cancelled);
    if (asks_) tell(scope, ForkScope::wanted);
    mutex_.unlock();
    invite_if_wanted(); // for the next one who is to help

    std::exception_ptr error;
    {
        ForkScope*& current = current_fork_scope();
        ForkScope* const outer = current;
        current = &scope;
        try {
            job.run(scope);
        } catch (...) {
            error = std::current_exception();
        }
        current = outer;
    }

    mutex_.lock();
    base::IntrusiveList::remove(scope);
    if (error) {
        job.error_ = std::move(error);
        if (!job.cancelled_) {
            job.failed_ = true;
            ++job.parent_->failed_;
            tell(*job.parent_, ForkScope::part_failed);
        }
    }
    ForkWait* waiter = job.waiter_;
    job.waiter_ = nullptr;
    if (waiter && !waiter->settle(wait::Outcome::woken)) waiter = nullptr;
    // relaxed: under the lock, which its owner takes once more (take_error) before it goes on.
    job.state_.store(ForkJob::State::done, memory_order_relaxed);
    if (waiter) {
        mutex_.unlock();
        waiter->agent().unpark(*waiter);
        mutex_.lock();
    }
}

struct ForkTeam::Idleness {
    std::int64_t last_beat = 0;
    std::int64_t began = 0;
    bool last_was_worth_it = true;
    bool has_asked = false;
    int naps_alone = 0;
    bool may_be_one_more = false; // than there are cores
    std::int64_t watch_ns = shortest_watch_ns;
    std::int64_t watched_ns = 0;
};

// What those who run have had of the cores: each thread of a scope, as many as there is room for.
struct ForkTeam::CpuUse {
    struct Thread {
        std::int64_t id, cpu_ns;
    };
    std::array<Thread, 64> threads;
    std::size_t size = 0;
    std::int64_t at_ns = 0;
};

void ForkTeam::look_at_cpu_use(CpuUse& use) noexcept {
    use.at_ns = base::monotonic_ns();
    for (base::ListNode* n = scopes_.front(); n && use.size < use.threads.size(); n = scopes_.after(*n)) {
        const std::int64_t id = static_cast<ForkScope*>(n)->thread_;
        bool known = false; // a thread may be in several scopes
        for (std::size_t i = 0; i < use.size && !known; ++i) known = use.threads[i].id == id;
        if (known) continue;
        use.threads[use.size++] = {id, thread_cpu_ns(id)};
    }
}

bool ForkTeam::watch(Idleness& me) noexcept {
    if (scopes_.empty()) return false;
    CpuUse before, after;
    look_at_cpu_use(before);
    watched_ = true;
    const bool invited = invited_;
    mutex_.unlock();
    bool stay = !host_.has_other_work(invited);
    if (stay) {
        Nap nap(*this);
        wait_here(nap, in_ns(me.watch_ns));
        stay = nap.outcome() != wait::Outcome::cancelled; // then it could not sleep any more
    }
    mutex_.lock();
    watched_ = false;
    if (!stay) return false;
    look_at_cpu_use(after);
    std::int64_t used = 0;
    for (std::size_t i = 0; i < after.size; ++i)
        for (std::size_t k = 0; k < before.size; ++k)
            if (before.threads[k].id == after.threads[i].id) used += after.threads[i].cpu_ns - before.threads[k].cpu_ns;
    const std::int64_t passed = after.at_ns - before.at_ns;
    me.watched_ns += passed;
    me.watch_ns = std::min(me.watch_ns * 2, longest_watch_ns);
    // A thread that came or went meanwhile is not counted: then the next look tells.
    const bool same = before.size == after.size;
    me.may_be_one_more =
        (same && used < passed * static_cast<std::int64_t>(cpus_) * 3 / 4) || me.watched_ns >= all_watches_ns;
    return true;
}

void ForkTeam::help() noexcept {
    Idleness me;
    bool come_again = false;
    mutex_.lock();
    invited_ = false;
    for (;;) {
        // Others are here for what is left: who leaves or parks then invites the next one.
        if (active_ >= limit_ || has_idle_) break;
        if (active_ >= cpus_ && !me.may_be_one_more) {
            if (watched_) break;
            if (watch(me)) continue;
            come_again = !scopes_.empty();
            break;
        }
        if (ForkJob* job = take_offer(nullptr)) {
            ++active_;
            const std::int64_t began = base::monotonic_ns();
            run(*job);
            --active_;
            me.last_was_worth_it = base::monotonic_ns() - began >= beat_ns;
            me.has_asked = false;
            me.naps_alone = 0;
            const bool invited = invited_;
            mutex_.unlock();
            come_again = host_.has_other_work(invited);
            mutex_.lock();
            if (come_again) break;
            continue;
        }
        if (!idle(me)) {
            come_again = !scopes_.empty();
            break;
        }
    }
    mutex_.unlock();
    if (come_again) invite_if_wanted(); // after what the pool has to do first
}

bool ForkTeam::idle(Idleness& me) noexcept {
    if (scopes_.empty() && ++me.naps_alone > naps_at_the_end) return false;
    has_idle_ = true;
    std::int64_t nap = nap_ns;
    if (!me.has_asked) {
        const std::int64_t now = base::monotonic_ns();
        if (me.last_was_worth_it || now - me.last_beat >= beat_ns) {
            me.has_asked = true;
            me.last_beat = now;
        } else {
            nap = beat_ns - (now - me.last_beat);
        }
    }
    if (me.has_asked) {
        asks_ = true;
        beat(nullptr);
    }
    const unsigned spins = has_core_to_spare() ? spin_turns(looks) : 0;
    const std::uint32_t seen = offered_.load(memory_order_relaxed); // under the lock
    const bool invited = invited_;
    mutex_.unlock();

    bool stay = !host_.has_other_work(invited);
    if (stay) {
        bool came = false;
        for (unsigned i = 0; i < spins && !came; ++i) {
            cpu_relax();
            came = offered_.load(memory_order_relaxed) != seen; // a hint: the lock is taken next
        }
        if (!came) {
            ForkWait w(*this, nullptr, true);
            wait_here(w, in_ns(nap));
            stay = w.outcome() != wait::Outcome::cancelled; // then it could not sleep any more
        }
    }
    mutex_.lock();
    has_idle_ = false;
    asks_ = false;
    return stay;
}

// ---- joining

bool ForkTeam::join(ForkJob& job, bool& agent_cancelled) noexcept {
    // relaxed: what is seen is final, and the caller takes the lock before it touches what the job has left.
    if (job.state_.load(memory_order_relaxed) == ForkJob::State::done) return false;
    bool interruptible = true;
    mutex_.lock();
    // relaxed, here and below: under the lock.
    if (job.state_.load(memory_order_relaxed) == ForkJob::State::offered) {
        base::IntrusiveList::remove(job);
        job.state_.store(ForkJob::State::taken, memory_order_relaxed);
        mutex_.unlock();
        return true;
    }
    while (job.state_.load(memory_order_relaxed) != ForkJob::State::done) {
        if (ForkJob* part = take_offer(&job)) {
            run(*part);
        } else {
            wait_for(job, interruptible);
            if (!interruptible && !agent_cancelled) {
                agent_cancelled = true;
                mutex_.unlock();
                cancel(job);
                mutex_.lock();
            }
        }
    }
    mutex_.unlock();
    return false;
}

// One who waits for imminent things looks for a while, then sleeps a moment; only then another one takes its place.
void ForkTeam::wait_for(ForkJob& job, bool& interruptible) noexcept {
    beat(&job);
    const unsigned spins = active_ <= cpus_ ? spin_turns(looks) : 0;
    const std::uint32_t seen = offered_.load(memory_order_relaxed); // under the lock
    mutex_.unlock();
    bool came = false;
    for (unsigned i = 0; i < spins && !came; ++i) {
        cpu_relax();
        // hints: the lock is taken next
        came = job.state_.load(memory_order_relaxed) == ForkJob::State::done ||
               offered_.load(memory_order_relaxed) != seen;
    }
    wait::Outcome how = wait::Outcome::woken;
    if (!came && interruptible) {
        ForkWait w(*this, &job, true);
        wait_here(w, in_ns(nap_ns));
        how = w.outcome();
        came = how == wait::Outcome::woken;
    }
    if (!came && how != wait::Outcome::cancelled) {
        mutex_.lock();
        --active_;
        mutex_.unlock();
        invite_if_wanted();
        {
            const sync::Absence absence(sync::FutureCore::current_wait_hook());
            ForkWait w(*this, &job, interruptible);
            wait_here(w, forever);
            how = w.outcome();
        }
        mutex_.lock();
        ++active_;
        mutex_.unlock();
    }
    if (how == wait::Outcome::cancelled) interruptible = false;
    mutex_.lock();
}

// ---- cancelling

void ForkTeam::cancel(ForkJob& job) noexcept {
    const os::MutexGuard guard(mutex_);
    job.cancelled_ = true;
    for (base::ListNode* n = scopes_.front(); n; n = scopes_.after(*n)) {
        auto& scope = static_cast<ForkScope&>(*n);
        if (belongs(&scope, job)) tell(scope, ForkScope::scope_cancelled);
    }
}

void ForkTeam::cancel(ForkScope& top) noexcept {
    const os::MutexGuard guard(mutex_);
    tell(top, ForkScope::scope_cancelled);
    for (base::ListNode* n = scopes_.front(); n; n = scopes_.after(*n)) {
        auto& scope = static_cast<ForkScope&>(*n);
        if (scope.job_ && is_cancelled(*scope.job_)) tell(scope, ForkScope::scope_cancelled);
    }
}

std::exception_ptr ForkTeam::take_error(ForkScope& scope, ForkJob& job) noexcept {
    const os::MutexGuard guard(mutex_);
    if (!job.error_) return nullptr;
    if (job.failed_ && --scope.failed_ == 0)
        scope.signals_.fetch_and(~ForkScope::part_failed, memory_order_relaxed); // as in tell()
    return std::move(job.error_);
}

} // namespace sennit::futures::detail

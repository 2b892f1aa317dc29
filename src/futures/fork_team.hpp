// Those who share forks: the threads that are in a call, and the workers that come to help them. One team a pool.
//
// Each thread keeps its forks for itself (ForkScope), in a list that nobody else sees. Only when somebody is idle does it
// give one away, the oldest, as a job:
//
//   owner, at a fork                     who is idle                           who joins (the owner)
//   o1  push the frame                   i1  lock; take the oldest offer       j1  frame not given away: pop, call. Done.
//   o2  signals_ == 0: go on             i2  none: set `wanted` in all scopes  j2  lock; still offered: take it back, call
//   o3  wanted: clear it, make a job     i3  unlock; look a while, then sleep  j3  taken: take an offer that descends from
//       of the oldest frame              i4  run what was taken                    it, and run that; none: sleep
//   o4  lock; offer it; claim who        i5  lock; done; claim who joins       j4  done: go on with its result
//       sleeps; unlock; wake             i6  unlock; wake
//
// 1. A job changes hands under the lock alone: offered -> taken (i1, j2, j3) -> done (i5). So it runs once. What has not
//    been given away nobody else knows: o1 and j1 need neither lock nor atomic operation.
// 2. What stands in a scope's list before a frame is older, and holds more work; so head_ alone tells what was given away.
// 3. No wake-up is lost: i3 and j3 link their wait under the lock under which they found nothing; o4 and i5 claim it under
//    the same lock.
// 4. Order: all that is shared is under one lock. The frame is written before o4 unlocks, which meets i1: who runs a job sees
//    what its owner did before. i5 meets j4, which takes the lock (take_error) even if it has seen `done` without it: the
//    owner sees the result. `wanted` and the counts of offers carry no data: seen late, they delay; seen early, somebody
//    looks under the lock in vain. So their orders are relaxed.
// 5. The job dies after j4 has had the lock, when i5 has ended. The wait in j3 is on the owner's stack: who claims it
//    unparks it, and only then does the owner go on (wait/waiter.hpp).
// 6. Joins end (P11): who waits for a job runs only offers that descend from it, so what it runs never waits for a frame
//    below it on its own stack; and it parks only while others run the job, or a descendant which they can take.
//    A worker that parks is absent (sync::Absence), so that its pool has another one for whatever else it has to do.
// 7. The beat: `wanted` is set by who is idle, at once if its last job was worth it (beat_ns), else so much later. So giving away
//    costs at most a hundredth of the time, however small the jobs are.
// 8. More than there are cores: turns that compute gain nothing by it, turns that sleep or wait do. So while as many run as there
//    are cores, the next helper watches first: it takes part once those who run leave a good part of the cores' time unused,
//    and in the end anyway, for some may wait for it by looking.
#pragma once

#include <sennit/base/thread_safety.hpp>
#include <sennit/futures/fork_scope.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/wait/waiter.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::futures::detail {

/// Where helpers come from: a pool.
class ForkHost {
  public:
    /// Asks for a worker that calls ForkTeam::help(). False: none will come, now or later.
    virtual bool invite() noexcept = 0;
    /// Whether the pool has tasks that a worker who is idle here should rather run. `invited`: one invitation is among them.
    virtual bool has_other_work(bool invited) noexcept = 0;

  protected:
    ~ForkHost() = default;
};

/// The scope of the innermost call that the calling thread is in; nullptr: none.
ForkScope*& current_fork_scope() noexcept;
[[noreturn]] void throw_fork_cancelled();

class ForkTeam {
  public:
    /// At most `limit` threads run at one time, those in a call included.
    ForkTeam(ForkHost& host, std::size_t limit) noexcept;
    ForkTeam(const ForkTeam&) = delete;
    ForkTeam& operator=(const ForkTeam&) = delete;

    /// Runs jobs until it is not needed. By a worker that was invited.
    void help() noexcept;
    /// The invitation was dropped.
    void invitation_lost() noexcept;

    void enter(ForkScope& scope) noexcept;
    void leave(ForkScope& scope) noexcept;
    /// The call is not young any more: from now on others are to help.
    void grow_up(ForkScope& scope) noexcept;
    void offer(ForkScope& scope, ForkJob& job) noexcept;
    /// True: taken back, the caller runs it. False: done; next is take_error(). `agent_cancelled`: the calling agent was, meanwhile; then the job
    /// has been cancelled, too.
    bool join(ForkJob& job, bool& agent_cancelled) noexcept;
    /// Nothing that belongs to the job, or to the scope, is wanted any more.
    void cancel(ForkJob& job) noexcept;
    void cancel(ForkScope& scope) noexcept;
    /// What the done job of `scope` threw, which is not its cause to stop any more.
    std::exception_ptr take_error(ForkScope& scope, ForkJob& job) noexcept;

    /// Asks all scopes to give something away, as who is idle does.
    void beat_for_test() noexcept;

  private:
    friend class ForkWait;

    // Whether the scope is part of what the job does.
    static bool belongs(const ForkScope* scope, const ForkJob& job) noexcept;
    static bool is_cancelled(const ForkJob& job) noexcept;
    static void tell(ForkScope& scope, std::uint32_t signal) noexcept;
    ForkJob* take_offer(const ForkJob* ancestor) noexcept SENNIT_REQUIRES(mutex_);
    // Asks the scopes that belong to the job (nullptr: all) to give something away.
    void beat(const ForkJob* job) noexcept SENNIT_REQUIRES(mutex_);
    // With the lock before and after, not meanwhile.
    void run(ForkJob& job) noexcept SENNIT_REQUIRES(mutex_);
    // What an idle worker does until there may be something to take. False: it is not needed here any more.
    struct Idleness;
    bool idle(Idleness& me) noexcept SENNIT_REQUIRES(mutex_);
    // What a worker does first that would be one more than there are cores. False: it is not needed here.
    bool watch(Idleness& me) noexcept SENNIT_REQUIRES(mutex_);
    struct CpuUse;
    void look_at_cpu_use(CpuUse& use) noexcept SENNIT_REQUIRES(mutex_);
    void wait_for(ForkJob& job, bool& interruptible) noexcept SENNIT_REQUIRES(mutex_);
    void invite_if_wanted() noexcept SENNIT_EXCLUDES(mutex_);
    [[nodiscard]] bool has_core_to_spare() const noexcept SENNIT_REQUIRES(mutex_) { return active_ < cpus_; }

    ForkHost& host_;
    const std::size_t limit_;
    const std::size_t cpus_;
    os::Mutex mutex_;
    base::IntrusiveList scopes_ SENNIT_GUARDED_BY(mutex_);
    base::IntrusiveList offers_ SENNIT_GUARDED_BY(mutex_);    // oldest first
    atomic<std::uint32_t> offered_{0};                        // counts them: for who looks without the lock
    plain<std::size_t> active_ SENNIT_GUARDED_BY(mutex_) = 0; // threads in a call or a job that do not sleep in a join
    plain<ForkWait*> sleeper_ SENNIT_GUARDED_BY(mutex_) = nullptr; // the idle worker, when it sleeps
    plain<bool> has_idle_ SENNIT_GUARDED_BY(mutex_) = false; // one is here, asleep or looking; the others have left
    plain<bool> asks_ SENNIT_GUARDED_BY(mutex_) = false;     // and it has sent its beat: new scopes are to know
    plain<bool> watched_ SENNIT_GUARDED_BY(mutex_) = false;  // one is here that watches whether it should take part
    plain<bool> invited_ SENNIT_GUARDED_BY(mutex_) = false;
    plain<bool> alone_ SENNIT_GUARDED_BY(mutex_) = false; // nobody will come any more
};

} // namespace sennit::futures::detail

#pragma once

#include "tools/common/timeline.hpp"
#include "tools/map/capture.hpp"
#include "tools/map/inputs.hpp"
#include "tools/map/job.hpp"
#include "tools/map/job_log.hpp"
#include "tools/map/kept_output.hpp"
#include "tools/map/options.hpp"
#include "tools/map/printer.hpp"
#include "tools/map/progress.hpp"
#include "tools/map/results.hpp"
#include "tools/map/summary.hpp"
#include "tools/map/template.hpp"
#include "tools/map/throttle.hpp"

#include <sennit/os/epoll.hpp>
#include <sennit/os/orphan_guard.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/spawn.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sennit::tools {

/// The event loop of `sennit map`: one thread, one epoll; no thread, no helper process a job.
///
/// The life of a job
///
///     next_ ──start──▶ running ──leader ended, both pipes at their end──▶ finished_ ──▶ printed, logged ──▶ spare_
///                         │  ▲                                                │
///                 TERM    │  └──────────────── retry ─────────────────────────┤
///                         ▼                                                   │
///                      ending ──grace over: KILL──▶ killed ──leader ended─────┘
///
/// 1. A slot that gets free is filled before anything else is done: the books about finished jobs are kept while others run.
///    Only --halt must know first how a job went.
/// 2. A job is over when its process has ended and nobody holds its pipes; for one that was killed, when its process has ended.
///    What is then left of its process group is killed: a job is its process group.
/// 3. Pipes are looked at only once a job is older than `quiet_ns`, or when it has ended: most jobs end before, and cost one
///    wake-up instead of three. A job that writes much meanwhile waits for that long at most, once; after some that wrote
///    much, they are looked at from the start.
/// 4. A line of the log is written after the job's output, so a log never tells of output that was lost. A job that is done
///    before its turn (-k) is kept in a file beside the log until then; one without output is logged at once.
/// 5. Memory is bounded: inputs are read as jobs start; output above a mark goes to disk; no job starts while too much output,
///    or (with -k) too many jobs, wait.
class Scheduler {
  public:
    /// Throws OSError, UsageError.
    explicit Scheduler(MapOptions options);

    /// Runs everything. The exit status.
    int run();

  private:
    enum class Started : std::uint8_t { yes, refused, no_room };
    using Tag = std::uint64_t;

    // Getting jobs.
    Job* take_next();
    Job* new_job();
    void free(Job& job);
    void prepare(Job& job);
    const std::string& shown(Job& job);
    bool read_inputs();
    void watch_inputs();

    // Starting them.
    void start_jobs();
    bool room_for_output() const;
    bool can_start_now() const;
    Started start(Job& job);
    Started refuse(Job& job, int exit_code, const std::string& why);
    void no_room(int error);
    std::string why_not_startable(Job& job) const;

    // Following them.
    void wait();
    void dispatch(Tag tag, std::uint32_t events);
    void leader_ended(Job& job);
    void read_pipe(Job& job, Job::Pipe& pipe, bool hung_up);
    void take_output(Job& job, Job::Pipe& pipe, std::string_view bytes);
    void close_pipe(Job::Pipe& pipe);
    void watch_pipe(Job& job, Job::Pipe& pipe);
    void watch_pipes(Job& job);
    void pause_or_resume_reading();
    void complete(Job& job);
    void check_timers();
    void set_timer(Job& job, std::int64_t when);

    // Ending them.
    void end_job(Job& job);
    void kill_job(Job& job);
    void end_all();
    void take_signals();
    void find_strays(Job& job, const std::vector<os::ProcessInfo>& all);
    void report_strays(Job& job);

    // The books.
    void settle();
    void settle(Job& job);
    void emit(Job& job);
    void emit_in_order();
    void keep_out_of_turn();
    bool print_kept(Job& job);
    void print_json(Job& job);
    void fill_record(Job& job);
    void note(const std::string& text);
    void fail(const std::string& text, int exit_code);
    void flush();
    void update_progress();
    bool is_over();
    int finish();

    MapOptions options_;
    Template template_;
    std::string program_; // where the fixed program lies
    Inputs inputs_;
    Spool spool_;
    Printer printer_;
    Throttle throttle_;
    Summary summary_;
    std::optional<JobLog> log_;
    std::optional<Resume> resume_;
    std::optional<KeptOutput> kept_; // -k: beside the log, or left by an earlier run
    std::optional<Results> results_;
    std::optional<Timeline> timeline_;
    std::optional<Progress> progress_;

    os::Epoll epoll_;
    std::optional<os::SignalFd> signals_;
    std::optional<os::OrphanGuard> guard_;
    os::Fd null_;
    os::SpawnRequest request_;
    os::FdMapping mapping_[3];
    std::size_t argument_room_ = 0;

    std::deque<Job> jobs_; // owns; addresses stay
    std::vector<Job*> spare_, running_, finished_;
    std::vector<Job*> out_of_turn_; // -k: settled just now
    std::deque<Job*> window_;       // -k: in the order of the inputs, not yet printed
    std::deque<Job*> retries_;      // start before anything new
    std::deque<std::pair<Job*, std::uint64_t>>
        quiet_; // running and not yet looked at, oldest first, with the job's turn
    std::set<std::pair<std::int64_t, Job*>> timers_;
    std::priority_queue<unsigned, std::vector<unsigned>, std::greater<>> free_slots_;
    unsigned highest_slot_ = 0;
    Job* next_ = nullptr; // ready to start
    std::uint64_t sequence_ = 0, turns_ = 0;

    std::int64_t start_ns_ = 0, start_wall_ms_ = 0, now_ = 0;
    bool inputs_ended_ = false, inputs_direct_ = false, skipped_some_ = false;
    int watched_input_ = -1, watched_output_ = -1;
    std::int64_t throttled_until_ = 0;
    std::size_t limit_ = 0;    // jobs at once, less than the slots while the system has no room
    std::int64_t grow_at_ = 0; // when to try more again
    std::int64_t back_off_until_ = 0, back_off_ns_ = 0;
    bool told_no_room_ = false, reading_paused_ = false;
    std::size_t unwatched_pids_ = 0;
    std::int64_t recent_output_ = 0; // bytes a job, a moving average
    std::int64_t flush_gate_ = 0;
    bool terminal_output_ = false;

    bool stopping_ = false;        // start nothing any more
    int interrupt_ = 0;            // the signal
    std::uint64_t ended_jobs_ = 0; // by us: interrupt, halt, failure
    std::int64_t give_up_output_ = INT64_MAX;
    std::string ended_why_;
    int fatal_exit_ = 0;
    std::string scratch_;
};

} // namespace sennit::tools

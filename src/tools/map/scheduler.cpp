#include "tools/map/scheduler.hpp"

#include "tools/common/bar.hpp"
#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/system_state.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace sennit::tools {
namespace {

constexpr std::int64_t ms = 1'000'000;

// How long a job runs before its pipes are looked at, and from how much output a job on they are at once.
constexpr std::int64_t quiet_ns = 2 * ms;
constexpr std::int64_t much_output = 16 * 1024;

// After KILL, how long a process may still hold out (in an uninterruptible system call) before its job is given up.
constexpr std::int64_t after_kill_ns = 2'000 * ms;
// While a terminal shows the progress line, output goes there in pieces, so that the line does not flicker.
constexpr std::int64_t terminal_gate_ns = 50 * ms;
constexpr std::int64_t grow_again_ns = 1'000 * ms;
constexpr std::int64_t longest_back_off_ns = 1'000 * ms;
constexpr std::int64_t poll_pids_ns = 20 * ms;

// High-water marks: no job starts above them.
constexpr std::size_t most_waiting_items = 10'000;
constexpr std::int64_t most_waiting_bytes = 256LL * 1024 * 1024; // most of them on disk
constexpr std::size_t look_ahead = 10'000;                       // -k: jobs that are done before their turn
constexpr std::int64_t pause_reading_bytes = 4 * 1024 * 1024;    // --line-buffer

constexpr std::size_t longest_argument = 128 * 1024 - 1; // MAX_ARG_STRLEN, its NUL not counted
constexpr std::size_t pipe_bytes = 64 * 1024;

// Tags of epoll: small numbers, or which start of which job, and which of its descriptors. The start is in it because an event of
// one batch may close what a later one is about.
enum : std::uint64_t { tag_signals = 1, tag_input = 2, tag_output = 3 };
enum : std::uint64_t { of_pid = 0, of_out = 1, of_err = 2, of_mask = 3 };
constexpr unsigned index_bits = 20, of_bits = 2;

std::uint64_t tag_of(const Job& job, std::uint64_t which) {
    return job.turn << (index_bits + of_bits) | static_cast<std::uint64_t>(job.index) << of_bits | which;
}

std::string message(int error) { return std::system_category().message(error); }

// Where a program lies that is named without a folder, as the shell looks for it.
std::string find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) return name;
    const char* const path = std::getenv("PATH");
    std::string_view rest = path != nullptr ? path : "/bin:/usr/bin";
    for (;;) {
        const std::size_t colon = rest.find(':');
        std::string candidate(rest.substr(0, colon));
        candidate += candidate.empty() ? "./" : "/";
        candidate += name;
        if (os::is_program(candidate.c_str())) return candidate;
        if (colon == std::string_view::npos) break;
        rest.remove_prefix(colon + 1);
    }
    throw UsageError("there is no program " + shell_word(name) + " in PATH" +
                     (path != nullptr ? " (" + for_terminal(path) + ")" : ""));
}

std::size_t room_for_arguments() {
    constexpr long most = 6 * 1024 * 1024; // of the kernel, whatever the stack's limit
    std::size_t room = static_cast<std::size_t>(std::min(::sysconf(_SC_ARG_MAX), most));
    std::size_t used = 4096;
    for (const char* const* entry = environ; *entry != nullptr; ++entry)
        used += std::strlen(*entry) + 1 + sizeof(char*);
    return room > used ? room - used : 0;
}

std::string title_of(const MapOptions& o) {
    if (o.use_shell) return o.shell_text;
    std::string title;
    for (const std::string& word : o.words) {
        if (!title.empty()) title += ' ';
        // Placeholders are more readable than right here.
        if (word.find_first_of(" \t\n'\"\\$`") == std::string::npos && is_utf8(word))
            title += word;
        else
            append_shell_word(title, word);
    }
    return title;
}

} // namespace

Scheduler::Scheduler(MapOptions options)
    : options_(std::move(options)),
      template_(options_.use_shell ? Template::shell(options_.shell_text, options_.replace)
                                   : Template::command(options_.words, options_.replace)),
      inputs_(options_.sources, options_.separator, 0),
      spool_(temporary_directory()) {
    template_.bind(inputs_.per_job(), options_.insert);
    if (!options_.dry_run && !template_.fixed_program().empty())
        program_ = find_program(std::string(template_.fixed_program()));
    throttle_.delay_ns = options_.delay_ns;
    throttle_.load = options_.load;
    throttle_.memory_bytes = options_.memory_bytes;
    argument_room_ = room_for_arguments();
    limit_ = options_.slots;
    scratch_.resize(pipe_bytes);

    if (!options_.job_log.empty() && !options_.dry_run) {
        log_.emplace(options_.job_log, options_.resume);
        if (options_.resume) {
            resume_.emplace(options_.resume_failed);
            log_->read([this](const JobLog::Line& line) { resume_->add(line); });
            resume_->sort();
        }
        if (log_->is_file()) kept_.emplace(options_.job_log + ".kept", options_.resume);
    }
    if (!options_.results.empty() && !options_.dry_run) results_.emplace(options_.results);
    if (!options_.timeline.empty() && !options_.dry_run)
        timeline_.emplace(options_.timeline, timeline_words, title_of(options_));

    const bool terminal = os::is_terminal(2);
    const bool wanted = options_.progress == MapOptions::Show::always ||
                        (options_.progress == MapOptions::Show::automatic && terminal && !options_.dry_run);
    if (wanted && !(options_.ungroup && os::is_terminal(1))) progress_.emplace(2, environment_is_utf8());
    terminal_output_ = terminal || os::is_terminal(1);
    if (progress_) printer_.before_terminal = [this] { progress_->erase(); };

    int error = 0;
    null_ = os::open_file("/dev/null", O_RDONLY, error);
    if (!null_) throw OSError(error, "cannot open /dev/null, which is the standard input of every job");
    request_.process_group = 0;
    request_.parent_death_signal = SIGKILL;
    mapping_[0] = {null_.get(), 0};
}

// ---- getting jobs

Job* Scheduler::new_job() {
    if (!spare_.empty()) {
        Job* const job = spare_.back();
        spare_.pop_back();
        return job;
    }
    Job& job = jobs_.emplace_back(spool_);
    job.index = jobs_.size() - 1;
    return &job;
}

void Scheduler::free(Job& job) {
    job.state = Job::State::spare;
    job.out.capture.clear();
    job.err.capture.clear();
    job.strays.clear();
    spare_.push_back(&job);
}

void Scheduler::prepare(Job& job) {
    job.state = Job::State::ready;
    job.slot = 0;
    job.attempt = 0;
    job.rendered = job.has_shown = job.settled = job.logged = false;
}

// The command as people read it; made when somebody wants it.
const std::string& Scheduler::shown(Job& job) {
    if (!job.has_shown) {
        template_.show({job.inputs, job.sequence, job.slot}, job.shown);
        job.has_shown = true;
    }
    return job.shown;
}

// Reads inputs that need no waiting. False when there is nothing to wait for either: the descriptor has to be watched.
bool Scheduler::read_inputs() {
    if (inputs_direct_) {
        inputs_.read();
        return true;
    }
    watch_inputs();
    return inputs_direct_;
}

void Scheduler::watch_inputs() {
    const int fd = inputs_.wait_fd();
    if (fd < 0 || watched_input_ == fd) return;
    if (watched_input_ >= 0) epoll_.remove(watched_input_);
    watched_input_ = -1;
    const int error = epoll_.add(fd, EPOLLIN, tag_input);
    if (error == 0)
        watched_input_ = fd;
    else if (error == EPERM)
        inputs_direct_ = true; // a regular file: always ready
    else
        throw OSError(error, "epoll_ctl: cannot wait for the inputs");
}

// The next job that has to run, or nullptr: inputs have not come yet, or there are no more.
Job* Scheduler::take_next() {
    if (next_ != nullptr || inputs_ended_) return next_;
    constexpr int skipped_at_once = 10'000;
    Job* job = new_job();
    for (int skipped = 0; skipped < skipped_at_once;) {
        if (resume_ && !room_for_output()) { // for what is kept
            spare_.push_back(job);
            return nullptr;
        }
        switch (inputs_.next(job->inputs, job->cut)) {
        case Inputs::State::need_data:
            if (read_inputs()) continue;
            spare_.push_back(job);
            return nullptr;
        case Inputs::State::end:
            inputs_ended_ = true;
            if (watched_input_ >= 0) epoll_.remove(watched_input_);
            watched_input_ = -1;
            spare_.push_back(job);
            return nullptr;
        case Inputs::State::ready:
            break;
        }
        job->sequence = ++sequence_;
        prepare(*job);
        if (resume_) {
            const bool comparable = !template_.uses_slot();
            if (resume_->is_done(job->sequence, comparable ? &shown(*job) : nullptr)) {
                summary_.skipped();
                if (kept_) kept_->drop(job->sequence);
                ++skipped;
                continue;
            }
            if (print_kept(*job)) {
                summary_.skipped();
                ++skipped;
                job = new_job();
                continue;
            }
        }
        if (options_.keep_order) window_.push_back(job);
        return next_ = job;
    }
    spare_.push_back(job);
    skipped_some_ = true; // go on at once, but look at the rest of the world first
    return nullptr;
}

// A job that an earlier run finished and did not come to print: its turn is now, or comes. False: it has to run.
bool Scheduler::print_kept(Job& job) {
    if (!kept_) return false;
    const KeptOutput::Entry* const entry = kept_->find(job.sequence, template_.uses_slot() ? nullptr : &shown(job));
    if (entry == nullptr || (options_.resume_failed && entry->record.failed())) {
        kept_->drop(job.sequence);
        return false;
    }
    kept_->load(*entry, job.out.capture, job.err.capture);
    job.slot = entry->record.slot;
    template_.render({job.inputs, job.sequence, job.slot}, job.arguments);
    job.has_shown = false;
    job.record = entry->record;
    job.record.inputs = job.inputs;
    job.record.command = shown(job);
    job.ended_by_us = false;
    job.settled = true;
    job.state = Job::State::finished;
    // Behind an empty window its turn is now, and else comes with the jobs before it: the first of them runs.
    if (options_.keep_order && !window_.empty())
        window_.push_back(&job);
    else
        emit(job);
    skipped_some_ = true;
    return true;
}

// ---- starting them

bool Scheduler::room_for_output() const {
    if (options_.dry_run && printer_.backlog_bytes() > pause_reading_bytes) return false;
    return printer_.backlog_items() < most_waiting_items && printer_.backlog_bytes() < most_waiting_bytes &&
           window_.size() < look_ahead + options_.slots;
}

// True when start_jobs() would start one: then nobody may wait, for nothing need happen that would end the wait.
bool Scheduler::can_start_now() const {
    return !stopping_ && running_.size() < limit_ && back_off_until_ <= now_ && throttled_until_ <= now_ &&
           (!retries_.empty() || (next_ != nullptr && room_for_output()));
}

void Scheduler::start_jobs() {
    while (!stopping_ && running_.size() < limit_ && back_off_until_ <= now_) {
        const bool again = !retries_.empty();
        Job* const job = again ? retries_.front() : take_next();
        if (job == nullptr || (!again && !room_for_output())) return;
        if (options_.dry_run) {
            next_ = nullptr;
            job->slot = 1;
            printer_.print(Printer::Stream::out, shown(*job) + '\n');
            if (options_.keep_order) window_.pop_back();
            free(*job);
            if (printer_.backlog_bytes() > pause_reading_bytes && !printer_.flush()) return;
            continue;
        }
        throttled_until_ = throttle_.ask(now_);
        if (throttled_until_ != 0) return;
        const Started started = start(*job);
        if (started == Started::no_room) return;
        if (again)
            retries_.pop_front();
        else
            next_ = nullptr;
        throttle_.started(now_);
    }
}

// Why the arguments can't be given to any program; empty if they can.
std::string Scheduler::why_not_startable(Job& job) const {
    if (job.cut)
        return "an input is longer than " + with_commas(RecordReader::longest_record) +
               " bytes, far more than an argument may have (is it NUL that separates the inputs? then use -0)";
    std::size_t total = job.arguments.bytes() + (job.arguments.size() + 1) * sizeof(char*);
    for (std::size_t i = 0; i < job.arguments.size(); ++i) {
        const std::string_view argument = job.arguments[i];
        if (argument.size() > longest_argument)
            return "argument " + std::to_string(i) + " has " + with_commas(argument.size()) +
                   " bytes; Linux takes at most " + with_commas(longest_argument) + " in one";
        if (argument.find('\0') != std::string_view::npos)
            return "argument " + std::to_string(i) +
                   " contains a NUL byte, which no argument can hold (is it NUL that separates the inputs? then use "
                   "-0)";
    }
    if (total > argument_room_)
        return "the arguments have " + with_commas(total) +
               " bytes in all; with this environment Linux takes at most " + with_commas(argument_room_);
    return {};
}

Scheduler::Started Scheduler::start(Job& job) {
    if (free_slots_.empty()) free_slots_.push(++highest_slot_);
    const unsigned slot = free_slots_.top();
    if (!job.rendered || (template_.uses_slot() && job.slot != slot)) {
        job.slot = slot;
        template_.render({job.inputs, job.sequence, slot}, job.arguments);
        job.rendered = true;
        if (template_.uses_slot()) job.has_shown = false;
    }
    job.slot = slot;
    job.start_ns = now_;
    job.leader_ended = job.timed_out = job.ended_by_us = job.not_started = false;
    job.out.bytes = job.err.bytes = 0;
    job.status = {};
    if (const std::string why = why_not_startable(job); !why.empty()) return refuse(job, 126, why);

    os::Pipe out, err;
    if (!options_.ungroup) {
        try {
            out = os::make_pipe();
            err = os::make_pipe();
        } catch (const OSError& error) {
            no_room(error.code());
            return Started::no_room;
        }
        mapping_[1] = {out.write_end.get(), 1};
        mapping_[2] = {err.write_end.get(), 2};
    }
    request_.fds = std::span<const os::FdMapping>(mapping_, options_.ungroup ? 1 : 3);
    request_.argv = job.arguments.pointers();
    request_.file = program_.empty() ? request_.argv[0] : program_.c_str();
    request_.note = guard_->place(slot - 1);
    const os::SpawnFailure failure = os::spawn(request_, job.child);
    if (failure.step != os::SpawnStep::none) {
        const bool no_place =
            failure.error == EAGAIN || failure.error == ENOMEM || failure.error == EMFILE || failure.error == ENFILE;
        if (no_place) {
            no_room(failure.error);
            return Started::no_room;
        }
        const bool missing = failure.error == ENOENT || failure.error == ENOTDIR;
        return refuse(job, missing ? 127 : 126, os::describe(failure, request_) + ": " + message(failure.error));
    }
    free_slots_.pop();
    ++job.attempt;
    job.turn = ++turns_;
    job.state = Job::State::running;
    job.running_index = running_.size();
    running_.push_back(&job);
    job.out.fd = std::move(out.read_end);
    job.err.fd = std::move(err.read_end);
    job.pid_watched = epoll_.add(job.child.pidfd(), EPOLLIN, tag_of(job, of_pid)) == 0;
    if (!job.pid_watched) ++unwatched_pids_; // no room for it in the kernel: looked at now and then
    if (!options_.ungroup) {
        if (options_.line_buffer || recent_output_ > much_output)
            watch_pipes(job);
        else
            quiet_.emplace_back(&job, job.turn);
    }
    if (options_.timeout_ns > 0)
        set_timer(job, job.start_ns > INT64_MAX - options_.timeout_ns ? INT64_MAX : job.start_ns + options_.timeout_ns);
    back_off_ns_ = 0;
    return Started::yes;
}

// A job that can't be started is over, with a sentence as its standard error.
Scheduler::Started Scheduler::refuse(Job& job, int exit_code, const std::string& why) {
    ++job.attempt;
    job.end_ns = job.start_ns;
    job.not_started = true;
    job.refused_code = exit_code;
    job.err.capture.append("sennit map: job " + std::to_string(job.sequence) +
                           " was not started: " + for_terminal(why) + "\n");
    job.state = Job::State::finished;
    finished_.push_back(&job);
    return Started::refused;
}

// The system refuses a pipe or a process. With jobs running, their ends make room; without, only time can.
void Scheduler::no_room(int error) {
    if (!running_.empty()) {
        limit_ = running_.size();
        grow_at_ = now_ + grow_again_ns;
        if (!std::exchange(told_no_room_, true))
            note("only " + with_commas(limit_) + (limit_ == 1 ? " job" : " jobs") + " at once for now, of " +
                 with_commas(options_.slots) + ": " + message(error) +
                 (error == EMFILE ? " (the limit of this shell: ulimit -n)" : ""));
        return;
    }
    if (error == EMFILE)
        return fail("cannot start any job: " + message(error) +
                        " (a job takes 6 descriptors; raise the limit: ulimit -n)",
                    255);
    back_off_ns_ = std::min(longest_back_off_ns, std::max(50 * ms, back_off_ns_ * 2));
    back_off_until_ = now_ + back_off_ns_;
    if (!std::exchange(told_no_room_, true))
        note("no job can be started for now: " + message(error) + "; trying again");
}

// ---- following them

void Scheduler::set_timer(Job& job, std::int64_t when) {
    if (job.timer_ns != 0) timers_.erase({job.timer_ns, &job});
    job.timer_ns = when;
    if (when != 0) timers_.emplace(when, &job);
}

void Scheduler::watch_pipe(Job& job, Job::Pipe& pipe) {
    if (!pipe.fd || pipe.watched) return;
    const int error = epoll_.add(pipe.fd.get(), EPOLLIN, tag_of(job, pipe.is_err ? of_err : of_out));
    if (error != 0) throw OSError(error, "epoll_ctl: cannot wait for the output of a job");
    pipe.watched = true;
}

void Scheduler::watch_pipes(Job& job) {
    if (reading_paused_) return;
    watch_pipe(job, job.out);
    watch_pipe(job, job.err);
}

void Scheduler::pause_or_resume_reading() {
    if (!options_.line_buffer) return;
    const std::int64_t waiting = printer_.backlog_bytes();
    if (!reading_paused_ && waiting > pause_reading_bytes) {
        reading_paused_ = true; // pipes leave epoll one by one, when they have something
    } else if (reading_paused_ && waiting < pause_reading_bytes / 4) {
        reading_paused_ = false;
        for (Job* job : running_) watch_pipes(*job);
    }
}

void Scheduler::wait() {
    std::int64_t until = INT64_MAX;
    const auto wake_at = [&until](std::int64_t when) { until = std::min(until, when); };
    if (!timers_.empty()) wake_at(timers_.begin()->first);
    while (!quiet_.empty() &&
           (quiet_.front().first->turn != quiet_.front().second || !quiet_.front().first->is_running()))
        quiet_.pop_front(); // over meanwhile
    if (!quiet_.empty()) wake_at(quiet_.front().first->start_ns + quiet_ns);
    const bool could_start = !stopping_ && (next_ != nullptr || !retries_.empty());
    if (could_start && throttled_until_ > now_) wake_at(throttled_until_);
    if (could_start && back_off_until_ > now_) wake_at(back_off_until_);
    if (could_start && limit_ < options_.slots) wake_at(std::max(grow_at_, now_));
    if (progress_) wake_at(progress_->next_ns());
    if (unwatched_pids_ > 0) wake_at(now_ + poll_pids_ns);
    if (flush_gate_ > now_ && !printer_.empty()) wake_at(flush_gate_);
    if (stopping_ && !printer_.empty()) wake_at(give_up_output_);
    if (skipped_some_) until = 0;
    skipped_some_ = false;
    if (progress_ && inputs_.may_read_ahead()) {
        if (inputs_direct_) {
            inputs_.read(); // to know how many jobs there are in all
            until = 0;
        } else {
            watch_inputs();
        }
    }

    epoll_event events[64];
    const Deadline deadline = until == INT64_MAX ? forever : Deadline::at_monotonic_ns(until);
    const int n = epoll_.wait(events, deadline);
    if (n < 0) throw OSError(-n, "epoll_wait: cannot wait for the jobs");
    now_ = base::monotonic_ns();
    for (int i = 0; i < n; ++i) dispatch(events[i].data.u64, events[i].events);
    if (unwatched_pids_ > 0)
        for (std::size_t i = running_.size(); i-- > 0;)
            if (!running_[i]->pid_watched && !running_[i]->leader_ended && os::has_ended(running_[i]->child.pidfd()))
                leader_ended(*running_[i]);
    while (!quiet_.empty() && quiet_.front().first->start_ns + quiet_ns <= now_) {
        const auto [job, turn] = quiet_.front();
        quiet_.pop_front();
        if (job->turn == turn && job->is_running()) watch_pipes(*job);
    }
    check_timers();
}

void Scheduler::dispatch(Tag tag, std::uint32_t events) {
    if (tag == tag_signals) return take_signals();
    if (tag == tag_input) {
        inputs_.read();
        // A hung-up or full-up input would wake us for ever.
        if (!inputs_.may_read_ahead() || !progress_) {
            epoll_.remove(watched_input_);
            watched_input_ = -1;
        }
        return;
    }
    if (tag == tag_output) return; // flush() comes anyway
    Job& job = jobs_[tag >> of_bits & ((1U << index_bits) - 1)];
    if (job.turn != tag >> (index_bits + of_bits) || !job.is_running()) return; // of a descriptor that was closed
    const std::uint64_t which = tag & of_mask;
    if (which == of_pid) {
        if (!job.leader_ended) leader_ended(job);
        return;
    }
    Job::Pipe& pipe = which == of_out ? job.out : job.err;
    if (!pipe.fd) return;
    if (reading_paused_) {
        epoll_.remove(pipe.fd.get());
        pipe.watched = false;
        return;
    }
    read_pipe(job, pipe, (events & EPOLLHUP) != 0 && (events & EPOLLIN) == 0);
    if (job.leader_ended && !job.out.fd && !job.err.fd) complete(job);
}

void Scheduler::leader_ended(Job& job) {
    job.leader_ended = true;
    job.end_ns = now_;
    // All that the process itself wrote is in the pipes by now.
    pollfd ends[2] = {{job.out.fd.get(), POLLIN, 0}, {job.err.fd.get(), POLLIN, 0}};
    if (job.out.fd || job.err.fd) os::poll_fds(ends, Deadline::poll());
    for (Job::Pipe* pipe : {&job.out, &job.err}) {
        short& ready = ends[pipe->is_err ? 1 : 0].revents;
        while (pipe->fd && ready != 0) {
            read_pipe(job, *pipe, (ready & POLLIN) == 0);
            if (!pipe->fd) break;
            pollfd more{pipe->fd.get(), POLLIN, 0};
            os::poll_fds({&more, 1}, Deadline::poll());
            ready = more.revents;
        }
    }
    if ((!job.out.fd && !job.err.fd) || job.state == Job::State::killed) return complete(job);
    // Somebody whom the process left behind holds a pipe: its output belongs to the job as well.
    if (job.pid_watched) epoll_.remove(job.child.pidfd()); // it would be ready for ever
    watch_pipes(job);
}

// Reads once; closes at the end. `hung_up`: nothing is in it and nobody can write any more.
// A short read of one that is hung up need not be all: `dd oflag=direct` makes packets of its output.
void Scheduler::read_pipe(Job& job, Job::Pipe& pipe, bool hung_up) {
    const ssize_t n = hung_up ? 0 : os::read_some(pipe.fd.get(), scratch_.data(), scratch_.size());
    if (n > 0) {
        pipe.bytes += n;
        take_output(job, pipe, {scratch_.data(), static_cast<std::size_t>(n)});
        return;
    }
    if (n == -EAGAIN) return;
    close_pipe(pipe);
}

// Out of epoll first: another child, between its clone and the end of its exec, has a copy of every descriptor, and as long as
// it does, epoll would go on telling of what lies behind.
void Scheduler::close_pipe(Job::Pipe& pipe) {
    if (pipe.watched) epoll_.remove(pipe.fd.get());
    pipe.watched = false;
    pipe.fd.reset();
}

void Scheduler::take_output(Job& job, Job::Pipe& pipe, std::string_view bytes) {
    if (!options_.line_buffer) return pipe.capture.append(bytes);
    const Printer::Stream stream = pipe.is_err ? Printer::Stream::err : Printer::Stream::out;
    if (options_.keep_order) {
        // Only the job whose turn it is speaks; and while it does, nobody else can break its lines.
        if (window_.front() == &job)
            printer_.print(stream, bytes);
        else
            pipe.capture.append(bytes);
        return;
    }
    const std::size_t newline = bytes.rfind('\n');
    if (newline == std::string_view::npos) return pipe.capture.append(bytes);
    printer_.print(stream, std::move(pipe.capture)); // the beginning of the first line
    pipe.capture.clear();
    printer_.print(stream, bytes.substr(0, newline + 1));
    pipe.capture.append(bytes.substr(newline + 1));
}

// The job is over, whatever is left of it. It is taken out of everything here, and the books are kept later.
void Scheduler::complete(Job& job) {
    if (job.timer_ns != 0) set_timer(job, 0);
    close_pipe(job.out);
    close_pipe(job.err);
    if (job.pid_watched)
        epoll_.remove(job.child.pidfd()); // as in close_pipe()
    else
        --unwatched_pids_;
    if (job.leader_ended) {
        job.child.send_signal_to_group(
            SIGKILL); // what it left in its group; its own process is a zombie, and keeps the number
        if (const auto status = job.child.try_wait())
            job.status = *status;
        else
            job.status.unknown = true;
    } else { // killed, and still in some system call that can't be interrupted
        job.end_ns = now_;
        job.status.code = -SIGKILL;
        note("the process of job " + std::to_string(job.sequence) + " (pid " + std::to_string(job.child.pid()) +
             ") does not end although it was killed; it is left to itself");
    }
    if (!job.strays.empty()) report_strays(job);
    guard_->forget(job.slot - 1);
    if (job.leader_ended)
        job.child = os::ChildProcess();
    else
        os::release_to_reaper(std::move(job.child));
    free_slots_.push(job.slot);
    running_[job.running_index] = running_.back();
    running_[job.running_index]->running_index = job.running_index;
    running_.pop_back();
    recent_output_ = (recent_output_ * 7 + job.out.bytes + job.err.bytes) / 8;
    job.state = Job::State::finished;
    finished_.push_back(&job);
}

// ---- ending them

void Scheduler::check_timers() {
    while (!timers_.empty() && timers_.begin()->first <= now_) {
        Job& job = *timers_.begin()->second;
        set_timer(job, 0);
        if (job.state == Job::State::running) {
            job.timed_out = true;
            find_strays(job, os::list_processes());
            end_job(job);
        } else if (job.state == Job::State::ending) {
            kill_job(job);
        } else {
            complete(job);
        }
    }
    if (limit_ < options_.slots && now_ >= grow_at_) limit_ = options_.slots;
}

void Scheduler::end_job(Job& job) {
    job.state = Job::State::ending;
    job.child.send_signal_to_group(SIGTERM);
    job.child.send_signal_to_group(SIGCONT); // one that is stopped could not end
    set_timer(job, now_ + options_.grace_ns);
}

void Scheduler::kill_job(Job& job) {
    job.state = Job::State::killed;
    job.child.send_signal_to_group(SIGKILL);
    if (!job.leader_ended) return set_timer(job, now_ + after_kill_ns);
    // Its process has ended before; only somebody in its group, or beyond, holds the pipes.
    complete(job);
}

void Scheduler::end_all() {
    stopping_ = true;
    give_up_output_ = now_ + options_.grace_ns + after_kill_ns;
    if (running_.empty()) return;
    const std::vector<os::ProcessInfo> all = os::list_processes();
    for (Job* job : running_) {
        if (job->state != Job::State::running) continue;
        job->ended_by_us = true;
        find_strays(*job, all);
        end_job(*job);
    }
}

void Scheduler::take_signals() {
    while (const int signal = signals_->take()) {
        if (interrupt_ == 0) {
            interrupt_ = signal;
            const char* const name = ::sigabbrev_np(signal);
            ended_why_ = std::string("interrupted by SIG") + (name != nullptr ? name : "?");
            end_all();
        } else { // the second time: at once
            give_up_output_ = now_;
            const std::vector<Job*> running = running_; // complete() changes it
            for (Job* job : running)
                if (job->state == Job::State::running || job->state == Job::State::ending) kill_job(*job);
        }
    }
}

// Processes that descend from the job and are not in its group get no signal; they are told of by number.
void Scheduler::find_strays(Job& job, const std::vector<os::ProcessInfo>& all) {
    constexpr std::size_t most = 16;
    job.strays.clear();
    for (os::ProcessInfo& process : os::outside_group(all, job.child.pid())) {
        if (job.strays.size() == most) break;
        os::Fd pidfd = os::open_process(process.pid);
        if (pidfd) job.strays.push_back({std::move(process), std::move(pidfd)});
    }
}

void Scheduler::report_strays(Job& job) {
    for (const Job::Stray& stray : job.strays) {
        if (os::has_ended(stray.pidfd.get())) continue;
        note("process " + std::to_string(stray.process.pid) + " (" + for_terminal(stray.process.name) + ") of job " +
             std::to_string(job.sequence) + " has left the job's process group and still runs; it is not ended");
    }
    job.strays.clear();
}

// ---- the books

void Scheduler::note(const std::string& text) { printer_.print(Printer::Stream::err, "sennit map: " + text + "\n"); }

void Scheduler::fail(const std::string& text, int exit_code) {
    if (fatal_exit_ != 0) return;
    fatal_exit_ = exit_code;
    if (!text.empty()) note(text);
    ended_why_ = text.empty() ? "nobody reads the output any more" : text;
    end_all();
}

void Scheduler::fill_record(Job& job) {
    JobRecord& r = job.record;
    r = JobRecord{};
    r.sequence = job.sequence;
    r.slot = job.slot;
    r.attempt = job.attempt;
    r.start_ns = job.start_ns - start_ns_;
    r.start_wall_ms = start_wall_ms_ + r.start_ns / ms;
    r.runtime_ns = job.end_ns - job.start_ns;
    r.timed_out = job.timed_out;
    r.not_started = job.not_started;
    r.out_bytes = job.out.bytes;
    r.err_bytes = job.err.bytes;
    r.inputs = job.inputs;
    r.user_ns = job.status.user_ns;
    r.system_ns = job.status.system_ns;
    r.max_rss_bytes = job.status.max_rss_bytes;
    if (job.not_started) {
        r.exit_code = job.refused_code;
    } else if (job.timed_out) { // as GNU parallel logs it
        r.exit_code = -1;
        r.signal = job.status.code < 0 ? -job.status.code : SIGTERM;
    } else if (job.status.unknown) {
        r.exit_code = 255;
        job.err.capture.append("sennit map: the exit status of job " + std::to_string(job.sequence) +
                               " is unknown: another part of the system took it\n");
    } else {
        r.exit_code = std::max(0, job.status.code);
        r.signal = job.status.code < 0 ? -job.status.code : 0;
    }
}

void Scheduler::settle() {
    // By index: settling may end other jobs (--halt now), which then come behind.
    for (std::size_t i = 0; i < finished_.size(); ++i) settle(*finished_[i]);
    finished_.clear();
    if (options_.keep_order) emit_in_order();
    keep_out_of_turn();
}

void Scheduler::settle(Job& job) {
    if (job.ended_by_us) {
        ++ended_jobs_;
        job.settled = true;
        job.out.capture.clear();
        job.err.capture.clear();
        if (!options_.keep_order) free(job);
        return;
    }
    fill_record(job);
    JobRecord& r = job.record;
    r.last_attempt = !r.failed() || job.attempt > options_.retries || stopping_;
    if (timeline_ || log_ || summary_.wants_command(r)) r.command = shown(job);
    summary_.add(r);
    if (timeline_) timeline_->add(timeline_row(r));
    if (!r.last_attempt) {
        job.out.capture.clear();
        job.err.capture.clear();
        job.state = Job::State::ready;
        retries_.push_back(&job);
        return;
    }
    if (results_) results_->store(r, job.out.capture, job.err.capture);
    job.settled = true;
    const HaltRule::When halt = options_.halt.job_ended(r.failed());
    if (halt != HaltRule::When::never && !stopping_) {
        ended_why_ = "by --halt, after job " + std::to_string(r.sequence) + " (" + show_outcome(r) + ")";
        if (halt == HaltRule::When::now) end_all();
        stopping_ = true;
    }
    if (!options_.keep_order)
        emit(job);
    else if (kept_)
        out_of_turn_.push_back(&job);
}

// Those of the jobs settled just now whose turn has not come. (Those whose turn had come are free, or somebody else already.)
void Scheduler::keep_out_of_turn() {
    for (Job* const job : out_of_turn_) {
        if (!job->settled || job->state != Job::State::finished) continue;
        if (!options_.json && job->out.capture.empty() && job->err.capture.empty()) {
            log_->write(JobLog::format(job->record));
            job->logged = true;
        } else {
            kept_->add(job->record, job->out.capture, job->err.capture);
        }
    }
    out_of_turn_.clear();
}

void Scheduler::emit_in_order() {
    while (!window_.empty() && window_.front()->settled) {
        // After a job that was ended, those behind it are as if they had not run: --resume runs them in order.
        Job& job = *window_.front();
        if (job.ended_by_us) break;
        window_.pop_front();
        emit(job);
    }
    if (options_.line_buffer && !window_.empty()) { // its turn begins: what it has said so far
        printer_.print(Printer::Stream::out, std::move(window_.front()->out.capture));
        printer_.print(Printer::Stream::err, std::move(window_.front()->err.capture));
    }
}

void Scheduler::emit(Job& job) {
    if (options_.json) {
        print_json(job);
    } else {
        printer_.print(Printer::Stream::out, std::move(job.out.capture));
        printer_.print(Printer::Stream::err, std::move(job.err.capture));
    }
    if (log_ && !job.logged) {
        const auto note_down = [this, sequence = job.record.sequence](const std::string& line) {
            log_->write(line);
            if (kept_) kept_->drop(sequence);
        };
        if (printer_.empty())
            note_down(JobLog::format(job.record));
        else
            printer_.after([note_down, line = JobLog::format(job.record)] { note_down(line); });
    }
    free(job);
}

void Scheduler::print_json(Job& job) {
    const JobRecord& r = job.record;
    std::string text =
        "{\"seq\": " + std::to_string(r.sequence) + ", \"slot\": " + std::to_string(r.slot) + ", \"inputs\": [";
    for (std::size_t i = 0; i < r.inputs.size(); ++i) {
        if (i > 0) text += ", ";
        append_json_bytes(text, r.inputs[i]);
    }
    text += "], \"command\": [";
    for (std::size_t i = 0; i < job.arguments.size(); ++i) {
        if (i > 0) text += ", ";
        append_json_bytes(text, job.arguments[i]);
    }
    char numbers[320];
    std::snprintf(numbers, sizeof numbers,
                  "], \"start\": %lld.%03d, \"runtime\": %.6f, \"exit\": %d, \"signal\": %d, \"timed_out\": %s, "
                  "\"attempts\": %u, \"cpu\": %.6f, \"max_rss\": %lld",
                  static_cast<long long>(r.start_wall_ms / 1000), static_cast<int>(r.start_wall_ms % 1000),
                  static_cast<double>(r.runtime_ns) / 1e9, r.exit_code, r.signal, r.timed_out ? "true" : "false",
                  r.attempt, static_cast<double>(r.user_ns + r.system_ns) / 1e9,
                  static_cast<long long>(r.max_rss_bytes));
    text += numbers;
    for (Job::Pipe* pipe : {&job.out, &job.err}) {
        text += pipe->is_err ? ", \"stderr\": " : ", \"stdout\": ";
        if (pipe->capture.in_memory()) {
            append_json_bytes(text, pipe->capture.memory());
            continue;
        }
        const bool utf8 = is_utf8(pipe->capture);
        printer_.print(Printer::Stream::out, text + (utf8 ? "\"" : "{\"base64\": \""));
        printer_.print(Printer::Stream::out, std::move(pipe->capture),
                       utf8 ? Printer::Form::json_text : Printer::Form::base64);
        text = utf8 ? "\"" : "\"}";
    }
    printer_.print(Printer::Stream::out, text + "}\n");
}

void Scheduler::flush() {
    if (printer_.empty()) return;
    if (progress_ && terminal_output_ && !stopping_) {
        if (now_ < flush_gate_) return;
        flush_gate_ = now_ + terminal_gate_ns;
    }
    const bool all = printer_.flush();
    const int fd = all ? -1 : printer_.wait_fd();
    if (fd != watched_output_) {
        if (watched_output_ >= 0) epoll_.remove(watched_output_);
        watched_output_ = fd >= 0 && epoll_.add(fd, EPOLLOUT, tag_output) == 0 ? fd : -1;
    }
    if (!all && watched_output_ < 0) flush_gate_ = now_ + poll_pids_ns; // can't be waited for: try again soon
}

void Scheduler::update_progress() {
    if (!progress_ || now_ < progress_->next_ns() || !printer_.at_line_start()) return;
    Progress::State state;
    state.now = now_;
    state.start = start_ns_;
    state.done = summary_.jobs() + ended_jobs_;
    state.failed = summary_.failed();
    state.skipped = summary_.skipped_jobs();
    state.running = running_.size();
    state.total = inputs_.total();
    state.waits_for = running_.size() < limit_ && throttled_until_ > now_ ? throttle_.reason() : nullptr;
    progress_->update(state);
}

bool Scheduler::is_over() {
    if (!running_.empty() || !finished_.empty()) return false;
    if (!stopping_ && (!inputs_ended_ || next_ != nullptr || !retries_.empty())) return false;
    return printer_.empty() || (stopping_ && now_ >= give_up_output_);
}

int Scheduler::run() {
    os::set_default(SIGCHLD); // an inherited "ignore" would lose every exit status
    const os::IgnoredSignal no_sigpipe(SIGPIPE);
    signals_.emplace(std::initializer_list<int>{SIGINT, SIGTERM, SIGHUP});
    if (const int error = epoll_.add(signals_->fd(), EPOLLIN, tag_signals); error != 0)
        throw OSError(error, "epoll_ctl: cannot wait for signals");
    if (!options_.dry_run) guard_.emplace(options_.slots);
    now_ = start_ns_ = base::monotonic_ns();
    start_wall_ms_ =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();

    for (;;) {
        try {
            if (options_.halt.may_stop()) settle();
            start_jobs();
            settle();
            flush();
            pause_or_resume_reading();
            if (is_over()) break;
            if (!stopping_) take_next(); // so that it is at hand when a slot gets free
            update_progress();
            if (finished_.empty() && !can_start_now() && !is_over()) wait();
        } catch (const OutputError& error) {
            printer_.drop();
            watched_output_ = -1;
            if (fatal_exit_ != 0) give_up_output_ = now_;
            fail(error.code() == EPIPE ? "" : error.what(), error.code() == EPIPE ? 141 : 255);
        } catch (const Error& error) {
            fail(error.what(), 255);
        } catch (const UsageError& error) {
            fail(error.what(), 255);
        }
    }
    return finish();
}

int Scheduler::finish() {
    guard_.reset();
    if (progress_) progress_->erase();
    const std::int64_t wall = base::monotonic_ns() - start_ns_;
    const unsigned slots = std::max(1U, highest_slot_);
    std::string timeline;
    if (timeline_) {
        try {
            timeline_->finish({wall, start_wall_ms_, slots, options_.cores, os::own_cpu_ns(), ended_why_});
            timeline = timeline_->path();
        } catch (const Error& error) {
            note(error.what());
            if (fatal_exit_ == 0) fatal_exit_ = 255;
        }
    }
    if (options_.summary) {
        const Summary::Frame frame{wall, os::own_cpu_ns(), options_.cores, slots, timeline, ended_why_};
        if (options_.json)
            printer_.print(Printer::Stream::out, summary_.json(frame));
        else
            printer_.print(Printer::Stream::err, summary_.show(frame, os::is_terminal(2)));
    } else if (interrupt_ != 0) {
        note(ended_why_ + " after " + with_commas(summary_.jobs()) + (summary_.jobs() == 1 ? " job" : " jobs") +
             (log_ ? "; --resume goes on from here" : ""));
    }
    try {
        const Deadline patience = std::chrono::seconds(fatal_exit_ != 0 || interrupt_ != 0 ? 1 : 3600);
        while (!printer_.flush()) {
            pollfd ready{printer_.wait_fd(), POLLOUT, 0};
            if (os::poll_fds({&ready, 1}, patience) <= 0) break;
        }
    } catch (const OutputError& error) {
        if (fatal_exit_ == 0) fatal_exit_ = error.code() == EPIPE ? 141 : 255;
    } catch (const Error&) {
        if (fatal_exit_ == 0) fatal_exit_ = 255;
    }
    if (interrupt_ != 0) return 128 + interrupt_;
    if (fatal_exit_ != 0) return fatal_exit_;
    return static_cast<int>(std::min<std::uint64_t>(summary_.failed(), 101));
}

} // namespace sennit::tools

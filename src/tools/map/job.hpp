#pragma once

#include "tools/map/arguments.hpp"
#include "tools/map/capture.hpp"
#include "tools/map/job_record.hpp"

#include <sennit/os/fd.hpp>
#include <sennit/os/spawn.hpp>
#include <sennit/os/system_state.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sennit::tools {

/// One job while the scheduler has to do with it. Used again for the next when it is done: its memory stays.
struct Job {
    enum class State : std::uint8_t {
        spare,
        ready,    // to be started, or to be started again
        running,  // its process was started
        ending,   // TERM was sent
        killed,   // KILL was sent
        finished, // over; waits for the books, or with -k for its turn to be printed
    };
    struct Pipe {
        os::Fd fd;
        Capture capture;
        bool is_err = false;
        bool watched = false;
        std::int64_t bytes = 0;
        Pipe(Spool& spool, bool err) : capture(spool), is_err(err) {}
    };
    /// A process that left the job's group; its pidfd tells whether it still lives.
    struct Stray {
        os::ProcessInfo process;
        os::Fd pidfd;
    };

    explicit Job(Spool& spool) : out(spool, false), err(spool, true) {}

    [[nodiscard]] bool is_running() const noexcept {
        return state == State::running || state == State::ending || state == State::killed;
    }

    State state = State::spare;
    std::size_t index = 0; // among all Jobs
    std::uint64_t sequence = 0;
    unsigned slot = 0; // 0: none
    unsigned attempt = 0;
    std::uint64_t turn = 0; // which start this was, of all
    std::vector<std::string> inputs;
    bool cut = false; // an input is far too long
    bool rendered = false, has_shown = false;
    Arguments arguments;
    std::string shown;

    os::ChildProcess child;
    Pipe out, err;
    std::int64_t start_ns = 0, end_ns = 0; // monotonic
    std::int64_t timer_ns = 0;             // 0: none
    std::size_t running_index = 0;
    bool leader_ended = false, pid_watched = false;
    bool timed_out = false;
    bool ended_by_us = false; // neither success nor failure: as if it had not run
    bool not_started = false;
    bool settled = false; // the books are kept
    bool logged = false;  // before its turn to be printed: it has nothing to print
    int refused_code = 0;
    os::ExitStatus status;
    JobRecord record;
    std::vector<Stray> strays;
};

} // namespace sennit::tools

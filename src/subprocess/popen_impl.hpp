// The inside of Popen, which run() and its kin reach into.
#pragma once

#include <sennit/base/thread_safety.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/spawn.hpp>
#include <sennit/subprocess/popen.hpp>

#include <array>
#include <string>
#include <string_view>

namespace sennit::subprocess {

struct Popen::Impl {
    explicit Impl(Args cmd) : args(std::move(cmd)) {}
    ~Impl();

    // True once the child has been reaped; throws when somebody else has done that. Never waits.
    bool look();
    // Waits for the end; false at the deadline.
    bool wait_for_end(Deadline deadline);
    int code() const;
    void signal(int number);
    // Throws unless input can be given now.
    void may_take_input() const;
    Output communicate(Deadline deadline);
    asyncio::Coro<Output> async_communicate(Deadline deadline);
    asyncio::Coro<int> async_wait(Deadline deadline);
    void take_input(std::string text);
    // What both outputs have given.
    Output take_output();
    // Standard input, output and error as far as communicate() still has to do with them; else -1.
    std::array<int, 3> open_pipes() const noexcept;
    // Moves input and output; true once all is done, false at the deadline.
    bool exchange(Deadline deadline);
    // After a time-out: ends the child, takes what is still in the pipes, reaps it if it ends in time.
    void kill_and_drain();
    [[noreturn]] void throw_timeout(double seconds);

    Args args;
    os::ChildProcess child;
    bool whole_group = false; // signals go to the group

    mutable os::Mutex mutex;
    enum class State : std::uint8_t { running, ended, unknown };
    State state SENNIT_GUARDED_BY(mutex) = State::running;
    int returncode SENNIT_GUARDED_BY(mutex) = 0;

    bool has_in = false, has_out = false, has_err = false; // made as pipes
    PipeWriter in;
    PipeReader out, err;
    bool communicating = false;
    std::string_view input; // what is still to be written
    std::string input_storage;
};

// Seconds from now to the deadline, for the text of TimeoutExpired.
double seconds_until(Deadline deadline) noexcept;

} // namespace sennit::subprocess

// What a coroutine can tell about itself beside what it waits for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

namespace sennit::wait {

class Agent;

/// Copied out for the list of agents.
struct AgentDetails {
    static constexpr std::size_t most_frames = 16, most_awaiting = 4;
    /// Where it waits: from the innermost coroutine to the outermost.
    std::source_location frames[most_frames] = {};
    std::size_t frame_count = 0;                  // may be more than there is room for
    std::uint64_t awaited_by[most_awaiting] = {}; // the ids of agents that wait for its end
    std::size_t awaited_by_count = 0;             // likewise
};

/// Fills in the details of an agent of kind coroutine. The agent exists, and if `stands_still` it is in a wait, which it does not
/// leave meanwhile. Called on any thread, under the list's lock.
using TellDetails = void (*)(const Agent& agent, bool stands_still, AgentDetails& details) noexcept;

/// "f(int) at file.cpp:12".
std::string describe_line(const std::source_location& where);

/// By who implements coroutines, once.
void set_coroutine_details(TellDetails tell) noexcept;

} // namespace sennit::wait

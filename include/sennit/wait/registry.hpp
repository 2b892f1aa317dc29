// All agents of this process: who waits for what, since when, and who holds it.
#pragma once

#include <sennit/wait/agent.hpp>

#include <string>
#include <vector>

namespace sennit::wait {

/// The list of all agents.
///
/// Agents    Every member, at the same time, from anywhere but a signal handler.
/// Blocks    Never for long: a lock around the list.
class Registry {
  public:
    static void add(Agent& agent) noexcept;
    static void remove(Agent& agent) noexcept;

    /// What every agent does at this moment (each one consistent in itself, not all at one instant).
    static std::vector<Agent::Snapshot> snapshot();
    /// Whether `holds` is true of every agent. It runs under the list's lock.
    static bool every(bool (*holds)(const Agent&) noexcept) noexcept;
    /// How many agents really sleep in a wait. A hint that is exact once nothing runs.
    static std::size_t parked_count() noexcept;

    /// The list as a text: a line an agent, with what it waits for, who holds that, and since when; then the proven
    /// deadlocks. Python: faulthandler.dump_traceback, asyncio.all_tasks
    static std::string describe();

    /// The agents of one cycle in the wait graph (each waits for what the next one holds), empty when there is none.
    /// Only a cycle that is still there when looked at a second time, with each wait begun before the first look, is
    /// told: so a deadlock that is announced is one.
    static std::vector<Agent::Snapshot> find_deadlock();

    /// In the child after fork(): forgets all agents but the one that called it.
    static void reset_after_fork() noexcept;
};

/// Prints Registry::describe() to stderr. The one call for "why does it hang?".
void dump_agents() noexcept;

} // namespace sennit::wait

// All agents of this process: who waits for what, since when, and who holds it.
#pragma once

#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/brief_mutex.hpp>
#include <sennit/wait/agent.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace sennit::wait {

/// Agents that come and go together, as the tasks of one event loop do: a part of the list of all agents, with a lock of its own.
///
/// Agents    Every member, at the same time, from anywhere but a signal handler.
/// Lifetime  Dies empty.
class AgentList : public base::ListNode {
  public:
    AgentList() noexcept;
    ~AgentList();
    AgentList(const AgentList&) = delete;
    AgentList& operator=(const AgentList&) = delete;
    void add(Agent& agent) noexcept {
        os::BriefGuard guard(mutex_);
        list_.push_back(agent);
        ++count_;
    }
    void remove(Agent& agent) noexcept {
        os::BriefGuard guard(mutex_);
        if (!agent.linked()) return; // the child of a fork forgot it
        base::IntrusiveList::remove(agent);
        --count_;
    }
    [[nodiscard]] std::size_t size() const noexcept {
        os::BriefGuard guard(mutex_);
        return count_;
    }
    /// Calls f(Agent&) for each, oldest first, under the lock: f adds and removes none.
    template <class F>
    void for_each(F f) {
        os::BriefGuard guard(mutex_);
        for (base::ListNode* n = list_.front(); n; n = list_.after(*n)) f(*static_cast<Agent*>(n));
    }

  private:
    friend class Registry;
    friend struct Agents;
    mutable os::BriefMutex mutex_;
    base::IntrusiveList list_ SENNIT_GUARDED_BY(mutex_);
    std::size_t count_ SENNIT_GUARDED_BY(mutex_) = 0;
};

struct AgentDetails;

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

    /// The list as a text: a line an agent, with what it waits for, who holds that, and since when; below a coroutine where it waits,
    /// from the innermost call to the outermost, and who awaits it; then the proven deadlocks.
    /// Python: faulthandler.dump_traceback, asyncio.print_call_graph
    static std::string describe();

    /// The agents of one cycle in the wait graph (each waits for what the next one holds), empty when there is none.
    /// Only a cycle that is still there when looked at a second time, with each wait begun before the first look, is
    /// told: so a deadlock that is announced is one.
    static std::vector<Agent::Snapshot> find_deadlock();

    /// In the child after fork(): forgets all agents but the one that called it.
    static void reset_after_fork() noexcept;

  private:
    static std::vector<Agent::Snapshot> snapshot_with(std::vector<AgentDetails>* all_details);
    static AgentDetails details(const Agent& agent) noexcept;
};

/// Prints Registry::describe() to stderr. The one call for "why does it hang?".
void dump_agents() noexcept;

} // namespace sennit::wait

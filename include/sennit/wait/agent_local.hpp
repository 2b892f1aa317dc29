// One value per agent for a key: what threading::local is made of.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/intrusive_list.hpp>

#include <cstdint>

namespace sennit::wait {

class Agent;
class AgentLocalKey;

/// A value of one agent under one key; what holds the object derives from it.
class AgentLocal {
  public:
    AgentLocal(const AgentLocal&) = delete;
    AgentLocal& operator=(const AgentLocal&) = delete;

  protected:
    /// `destroy` ends the object and gives its memory back; it must not throw.
    explicit AgentLocal(void (*destroy)(AgentLocal&) noexcept) noexcept : destroy_(destroy) {}
    ~AgentLocal() = default;

  private:
    friend class AgentLocalKey;
    friend class Agent;
    struct OfKey : base::ListNode {
        AgentLocal* value = nullptr;
    };
    struct OfAgent : base::ListNode {
        AgentLocal* value = nullptr;
    };
    void (*destroy_)(AgentLocal&) noexcept;
    std::uint32_t index_ = 0;
    Agent* agent_ = nullptr;
    OfKey of_key_;
    OfAgent of_agent_;
};

/// The values of one agent: by their keys' index, and in the order in which they were made.
struct AgentLocalTable {
    base::IntrusiveList order;
    std::uint32_t size;
    AgentLocal* values[1]; // `size` of them; [0] is never used
};

/// Names one value in each agent.
///
/// Agents    find(), add() and take(): the agent whose value it is, at the same time as others theirs. The destructor: one,
///           after all other calls.
/// Lifetime  A value dies with its agent, or with the key if that goes first. At the end of the process (ProcessEnd) a key
///           takes only the calling agent's value with it: a thread that is not waited for may still use its own.
/// Cost      find(): a call, two loads and a compare; in a coroutine a lock and a look-up besides. The first add() of an agent allocates a table of a pointer a key.
class AgentLocalKey {
  public:
    constexpr AgentLocalKey() noexcept = default;
    ~AgentLocalKey();
    AgentLocalKey(const AgentLocalKey&) = delete;
    AgentLocalKey& operator=(const AgentLocalKey&) = delete;

    /// The value of `agent`, which is the caller; nullptr when it has none.
    [[nodiscard]] inline AgentLocal* find(Agent& agent) const noexcept; // in agent.hpp
    /// Gives `agent`, which is the caller and has none yet, its value. Throws std::bad_alloc, and then nothing has changed.
    void add(Agent& agent, AgentLocal& value);
    /// Destroys the value of `agent`, which is the caller. False when it had none.
    bool drop(Agent& agent) noexcept;

  private:
    friend class Agent;
    std::uint32_t index_of_key();
    static AgentLocalTable* table_beside(Agent& agent) noexcept;
    static AgentLocalTable* table_of(Agent& agent) noexcept;

    // 0: none yet. Taken at the first add(), so that a key can be a constant-initialised global.
    atomic<std::uint32_t> index_{0};
    base::IntrusiveList values_; // of all agents, guarded by the lock of all keys
};

} // namespace sennit::wait

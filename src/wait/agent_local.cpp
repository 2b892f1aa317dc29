// A value stands in three places: in its agent's table, in its agent's list, and in its key's list. All three change under
// one lock, so that the end of an agent and the end of a key may meet: who takes a value out of the lists destroys it, outside
// of the lock. An agent reads its own table without the lock: another party writes to it only in ~AgentLocalKey, the entry of
// a key that nobody uses any more.
#include <sennit/wait/agent_local.hpp>

#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/process_end.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <unordered_map>
#include <vector>

namespace sennit::wait {
namespace {

struct Keys {
    os::Mutex mutex;
    std::uint32_t next SENNIT_GUARDED_BY(mutex) = 1;
    // Indices given back. Behind a pointer: never destroyed, keys may die after every static object.
    std::vector<std::uint32_t>* free SENNIT_GUARDED_BY(mutex) = nullptr;
    bool fork_is_handled SENNIT_GUARDED_BY(mutex) = false;
    // The tables of agents that have no place for them. Behind a pointer as well.
    std::unordered_map<const Agent*, AgentLocalTable*>* beside SENNIT_GUARDED_BY(mutex) = nullptr;
};
constinit Keys keys;

// A fork while another thread changes the lists would leave them torn in the child: take the lock across it.
void before_fork() noexcept SENNIT_NO_TSA { keys.mutex.lock(); }
void after_fork_in_parent() noexcept SENNIT_NO_TSA { keys.mutex.unlock(); }
void after_fork_in_child() noexcept { keys.mutex.reset_after_fork(); }

AgentLocalTable* new_table(std::uint32_t size) {
    void* memory = ::operator new(offsetof(AgentLocalTable, values) + size * sizeof(AgentLocal*));
    auto* table = ::new (memory) AgentLocalTable{{}, size, {nullptr}};
    std::memset(static_cast<void*>(table->values), 0, size * sizeof(AgentLocal*));
    return table;
}

void delete_table(AgentLocalTable* table) noexcept {
    table->~AgentLocalTable();
    ::operator delete(static_cast<void*>(table));
}

} // namespace

std::uint32_t AgentLocalKey::index_of_key() {
    if (const std::uint32_t index = index_.load(memory_order_relaxed)) return index;
    bool handle_fork = false;
    std::uint32_t index = 0;
    {
        os::MutexGuard guard(keys.mutex);
        if (!keys.free) keys.free = new std::vector<std::uint32_t>;
        handle_fork = !keys.fork_is_handled;
        keys.fork_is_handled = true;
        index = index_.load(memory_order_relaxed); // another agent may have been quicker
        if (index == 0) {
            if (keys.free->empty()) {
                keys.free->reserve(keys.next); // so that giving it back can't fail
                index = keys.next++;
            } else {
                index = keys.free->back();
                keys.free->pop_back();
            }
            index_.store(index, memory_order_relaxed);
        }
    }
    if (handle_fork) os::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    return index;
}

// Of one that has values. Under the lock.
AgentLocalTable* AgentLocalKey::table_of(Agent& agent) noexcept SENNIT_NO_TSA {
    AgentLocalTable** const place = agent.locals_place();
    return place ? *place : keys.beside->find(&agent)->second;
}

AgentLocalTable* AgentLocalKey::table_beside(Agent& agent) noexcept {
    os::MutexGuard guard(keys.mutex);
    return keys.beside->find(&agent)->second;
}

void AgentLocalKey::add(Agent& agent, AgentLocal& value) {
    const std::uint32_t index = index_of_key();
    AgentLocalTable** place = agent.locals_place();
    AgentLocalTable* now = !agent.has_locals_ ? nullptr : place ? *place : table_beside(agent);
    struct Delete {
        void operator()(AgentLocalTable* t) const noexcept { delete_table(t); }
    };
    std::unique_ptr<AgentLocalTable, Delete> bigger;
    if (!now || index >= now->size) bigger.reset(new_table((index / 8 + 1) * 8));
    value.index_ = index;
    value.agent_ = &agent;
    value.of_key_.value = value.of_agent_.value = &value;
    {
        os::MutexGuard guard(keys.mutex);
        if (!place) {
            if (!keys.beside) keys.beside = new std::unordered_map<const Agent*, AgentLocalTable*>;
            place = &(*keys.beside)[&agent];
        }
        if (bigger) {
            if (now) {
                bigger->order.splice_back(now->order);
                std::memcpy(static_cast<void*>(bigger->values), static_cast<const void*>(now->values),
                            now->size * sizeof(AgentLocal*));
            }
            *place = bigger.release();
            bigger.reset(now);
            now = *place;
        }
        agent.has_locals_ = true;
        now->values[index] = &value;
        now->order.push_back(value.of_agent_);
        values_.push_back(value.of_key_);
    }
}

bool AgentLocalKey::drop(Agent& agent) noexcept {
    AgentLocal* value = find(agent);
    if (!value) return false;
    {
        os::MutexGuard guard(keys.mutex);
        base::IntrusiveList::remove(value->of_key_);
        base::IntrusiveList::remove(value->of_agent_);
        table_of(agent)->values[value->index_] = nullptr;
    }
    value->destroy_(*value);
    return true;
}

AgentLocalKey::~AgentLocalKey() {
    const std::uint32_t index = index_.load(memory_order_relaxed);
    if (index == 0) return;
    if (ProcessEnd::begun()) {
        drop(current_agent());
        return; // the others' values stay theirs
    }
    for (;;) {
        AgentLocal* value = nullptr;
        {
            os::MutexGuard guard(keys.mutex);
            base::ListNode* node = values_.pop_front();
            if (!node) {
                keys.free->push_back(index); // has room: see index_of_key
                return;
            }
            value = static_cast<AgentLocal::OfKey*>(node)->value;
            base::IntrusiveList::remove(value->of_agent_);
            table_of(*value->agent_)->values[index] = nullptr;
        }
        value->destroy_(*value);
    }
}

void Agent::end_locals_slow() noexcept {
    for (;;) {
        AgentLocal* value = nullptr;
        AgentLocalTable* table = nullptr;
        {
            os::MutexGuard guard(keys.mutex);
            AgentLocalTable** const place = locals_place();
            AgentLocalTable* const now = place ? *place : keys.beside->find(this)->second;
            base::ListNode* node = now->order.back();
            if (node) {
                value = static_cast<AgentLocal::OfAgent*>(node)->value;
                base::IntrusiveList::remove(value->of_key_);
                base::IntrusiveList::remove(value->of_agent_);
                now->values[value->index_] = nullptr;
            } else {
                table = now;
                has_locals_ = false;
                if (place)
                    *place = nullptr;
                else
                    keys.beside->erase(this);
            }
        }
        if (!value) {
            delete_table(table);
            return;
        }
        value->destroy_(*value); // may make new ones
    }
}

} // namespace sennit::wait

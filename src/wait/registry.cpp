#include <sennit/wait/registry.hpp>

#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/agent_details.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::wait {

// All lists. Their own locks are taken inside of `mutex`, which also guards the agents' names.
struct Agents {
    os::Mutex mutex;
    base::IntrusiveList lists SENNIT_GUARDED_BY(mutex);
    std::size_t count() SENNIT_REQUIRES(mutex) {
        std::size_t n = 0;
        for (base::ListNode* l = lists.front(); l; l = lists.after(*l)) n += static_cast<AgentList*>(l)->size();
        return n;
    }
    template <class F>
    void for_each(F f) SENNIT_REQUIRES(mutex) {
        for (base::ListNode* l = lists.front(); l; l = lists.after(*l)) static_cast<AgentList*>(l)->for_each(f);
    }
    // Across a fork all locks are held, so that the child does not get a list that is just being changed.
    void lock_all() SENNIT_NO_TSA {
        mutex.lock();
        for (base::ListNode* l = lists.front(); l; l = lists.after(*l)) static_cast<AgentList*>(l)->mutex_.lock();
    }
    void unlock_all() SENNIT_NO_TSA {
        for (base::ListNode* l = lists.front(); l; l = lists.after(*l)) static_cast<AgentList*>(l)->mutex_.unlock();
        mutex.unlock();
    }
    void forget_all() SENNIT_NO_TSA {
        mutex.reset_after_fork();
        for (base::ListNode* l = lists.front(); l; l = lists.after(*l)) {
            auto& list = *static_cast<AgentList*>(l);
            list.mutex_.reset_after_fork();
            while (list.list_.pop_front()) {}
            list.count_ = 0;
        }
    }
};

namespace {

// Never destroyed: agents come and go until the very end of the process.
Agents& agents() noexcept {
    alignas(Agents) static unsigned char storage[sizeof(Agents)];
    static Agents* const it = [] {
        auto* made = ::new (static_cast<void*>(storage)) Agents;
        os::at_fork([]() noexcept { agents().lock_all(); }, []() noexcept { agents().unlock_all(); },
                    &Registry::reset_after_fork);
        return made;
    }();
    return *it;
}

// The threads, and whoever has no list of its own.
AgentList& threads() noexcept {
    alignas(AgentList) static unsigned char storage[sizeof(AgentList)];
    static auto* const it = ::new (static_cast<void*>(storage)) AgentList;
    return *it;
}
// Made before main: nobody else can see a list that one of several threads has just made.
[[maybe_unused]] AgentList& made_early = threads();

// release: meets the acquire in Registry::details: what it refers to is initialised.
constinit atomic<TellDetails> tell_details{nullptr};

const char* kind_name(AgentKind kind) {
    switch (kind) {
    case AgentKind::thread:
        return "thread";
    case AgentKind::green_thread:
        return "green thread";
    case AgentKind::coroutine:
        return "coroutine";
    }
    return "agent";
}

std::string label(const Agent::Snapshot& a) {
    std::string text = kind_name(a.kind);
    text += ' ';
    text += std::to_string(a.id);
    if (a.name[0]) (text += " \"") += std::string(a.name) + '"';
    if (a.native_id) text += " (tid " + std::to_string(a.native_id) + ')';
    return text;
}

const Agent::Snapshot* find(const std::vector<Agent::Snapshot>& all, std::uint64_t id) {
    for (const auto& a : all)
        if (a.id == id) return &a;
    return nullptr;
}

// The calls of a coroutine, and who waits for its end.
void add_details(std::string& text, const AgentDetails& more, const std::vector<Agent::Snapshot>& all) {
    const std::size_t frames = std::min(more.frame_count, AgentDetails::most_frames);
    for (std::size_t i = 0; i < frames; ++i) text += "    in " + describe_line(more.frames[i]) + '\n';
    if (more.frame_count > frames) text += "    in " + std::to_string(more.frame_count - frames) + " more\n";
    const std::size_t awaiting = std::min(more.awaited_by_count, AgentDetails::most_awaiting);
    for (std::size_t i = 0; i < awaiting; ++i) {
        const auto* by = find(all, more.awaited_by[i]);
        text += "    awaited by " + (by ? label(*by) : "agent " + std::to_string(more.awaited_by[i])) + '\n';
    }
    if (more.awaited_by_count > awaiting)
        text += "    awaited by " + std::to_string(more.awaited_by_count - awaiting) + " more\n";
}

// Who waits without a deadline for something that a known agent holds.
bool has_edge(const Agent::Snapshot& a) { return a.site && a.holder && !a.has_deadline; }

std::vector<Agent::Snapshot> find_cycle(const std::vector<Agent::Snapshot>& all) {
    for (const auto& start : all) {
        std::vector<Agent::Snapshot> path;
        for (const Agent::Snapshot* a = &start; a && has_edge(*a) && path.size() <= all.size();
             a = find(all, a->holder)) {
            path.push_back(*a);
            if (a->holder == start.id) return path;
        }
    }
    return {};
}

} // namespace

// GCC names a coroutine after its frame: void f(f(int)::_Z1fi.Frame*).
std::string describe_line(const std::source_location& where) {
    std::string_view name = where.function_name();
    const auto frame = name.find("::_Z");
    const auto open = name.find('(');
    if (name.ends_with(".Frame*)") && frame != name.npos && open != name.npos && open + 1 < frame)
        name = name.substr(open + 1, frame - open - 1);
    return std::string(name) + " at " + where.file_name() + ':' + std::to_string(where.line());
}

AgentList::AgentList() noexcept {
    Agents& all = agents();
    os::MutexGuard guard(all.mutex);
    all.lists.push_back(*this);
}

AgentList::~AgentList() {
    os::MutexGuard guard(agents().mutex);
    base::IntrusiveList::remove(*this);
}

void Registry::add(Agent& agent) noexcept { threads().add(agent); }

void Registry::remove(Agent& agent) noexcept { threads().remove(agent); }

void set_coroutine_details(TellDetails tell) noexcept { tell_details.store(tell, memory_order_release); }

std::vector<Agent::Snapshot> Registry::snapshot() { return snapshot_with(nullptr); }

AgentDetails Registry::details(const Agent& agent) noexcept {
    AgentDetails all;
    const TellDetails tell = tell_details.load(memory_order_acquire);
    if (!tell || agent.kind() != AgentKind::coroutine) return all;
    Pause* const w = agent.claim_current();
    tell(agent, w != nullptr, all);
    if (w) agent.unclaim(w);
    return all;
}

std::vector<Agent::Snapshot> Registry::snapshot_with(std::vector<AgentDetails>* all_details) {
    Agents& all = agents();
    std::vector<Agent::Snapshot> result;
    for (std::size_t room = 0;;) {
        result.clear();
        result.reserve(room); // outside the lock: allocation may fail or wait
        if (all_details) {
            all_details->clear();
            all_details->reserve(room);
        }
        bool enough = true;
        os::MutexGuard guard(all.mutex);
        all.for_each([&](const Agent& a) {
            if (result.size() == room) {
                enough = false;
                return;
            }
            result.push_back(a.snapshot());
            if (all_details) all_details->push_back(details(a));
        });
        if (enough) return result;
        room = all.count() + 16;
    }
}

bool Registry::every(bool (*holds)(const Agent&) noexcept) noexcept {
    Agents& all = agents();
    os::MutexGuard guard(all.mutex);
    bool each = true;
    all.for_each([&](const Agent& a) { each = each && holds(a); });
    return each;
}

std::size_t Registry::parked_count() noexcept {
    Agents& all = agents();
    os::MutexGuard guard(all.mutex);
    std::size_t n = 0;
    all.for_each([&](const Agent& a) { n += a.parked_.load(memory_order_relaxed) ? 1 : 0; }); // a hint
    return n;
}

std::vector<Agent::Snapshot> Registry::find_deadlock() {
    auto first = find_cycle(snapshot());
    if (first.empty()) return {};
    const auto again = snapshot();
    for (const auto& a : first) {
        const auto* now = find(again, a.id);
        if (!now || now->wait != a.wait || now->holder != a.holder) return {};
    }
    return first;
}

std::string Registry::describe() {
    std::vector<AgentDetails> more;
    const auto all = snapshot_with(&more);
    const std::int64_t now = base::monotonic_ns();
    std::string text = std::to_string(all.size()) + (all.size() == 1 ? " agent\n" : " agents\n");
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto& a = all[i];
        text += "  " + label(a) + ": ";
        if (!a.site) {
            text += "runs\n";
            add_details(text, more[i], all);
            continue;
        }
        char address[32];
        std::snprintf(address, sizeof address, "%p", a.object);
        char seconds[32];
        std::snprintf(seconds, sizeof seconds, "%.3f s", static_cast<double>(now - a.since_ns) / 1e9);
        text += std::string("waits in ") + a.site->object + '.' + a.site->call;
        if (a.object) text += std::string(" of ") + address;
        text += std::string(" for ") + seconds;
        if (a.holder) {
            const auto* holder = find(all, a.holder);
            text += holder ? ", held by " + (holder->id == a.id ? "itself" : label(*holder))
                           : std::string(", held by an agent that has ended");
        }
        if (a.has_deadline) text += ", with a deadline";
        text += '\n';
        add_details(text, more[i], all);
    }
    const auto cycle = find_deadlock();
    if (!cycle.empty()) {
        text += cycle.size() == 1 ? "DEADLOCK: " + label(cycle[0]) + " waits for what it holds itself: "
                                  : "DEADLOCK of " + std::to_string(cycle.size()) + " agents:\n";
        if (cycle.size() == 1) {
            text +=
                std::string(cycle[0].site->object) + '.' + cycle[0].site->call + "; use an RLock to take it twice\n";
        } else {
            for (std::size_t i = 0; i < cycle.size(); ++i)
                text += "  " + label(cycle[i]) + " waits in " + cycle[i].site->object + '.' + cycle[i].site->call +
                        " for " + label(cycle[(i + 1) % cycle.size()]) + '\n';
        }
    }
    return text;
}

// Not analysed: a forked child has one thread, and its copy of the mutex may be held by one that is not there.
void Registry::reset_after_fork() noexcept SENNIT_NO_TSA {
    agents().forget_all();
    detail::thread_after_fork();
    if (detail::current) add(current_thread_agent());
}

Agent::Snapshot Agent::snapshot() const noexcept {
    Snapshot s;
    s.agent = this;
    s.id = id();
    s.kind = kind_;
    copy_name(s.name); // the caller holds the registry's lock, as set_name does
    s.native_id = native_id();
    s.parked = parked_.load(memory_order_relaxed); // a hint
    if (Pause* const w = claim_current()) {
        s.site = &w->site();
        s.object = w->has_steps() ? static_cast<Waiter*>(w)->object() : nullptr;
        s.since_ns = w->since_ns();
        s.has_deadline = !w->deadline().is_forever();
        s.deadline_ns = w->deadline().monotonic_ns();
        s.wait = waits_;
        if (s.site->holder) s.holder = s.site->holder(s.object); // the agent is still inside the call: the object lives
        // A wait that has been settled waits for nobody any more. Looked at last: what was read above was so before.
        s.settled = w->outcome() != Outcome::waiting;
        if (s.settled) s.holder = 0;
        unclaim(w);
    }
    return s;
}

void Agent::set_name(std::string_view name) noexcept {
    Agents& all = agents();
    os::MutexGuard guard(all.mutex);
    keep_name(name);
}

void dump_agents() noexcept {
    try {
        const std::string text = Registry::describe();
        std::fwrite(text.data(), 1, text.size(), stderr);
    } catch (...) {
        std::fputs("sennit: no memory left to list the agents\n", stderr);
    }
}

} // namespace sennit::wait

#pragma once

#include <sennit/wait/agent.hpp>
#include <sennit/wait/agent_local.hpp>
#include <sennit/wait/process_end.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace sennit::threading {

/// One T per agent: each thread, green thread and coroutine sees its own.      Python: threading.local, contextvars
///
///     constinit local<Session> session;                  // made at an agent's first use of it
///     session->user = "Alice";
///
///     local<Connection> db([] { return connect(); });    // made so
///
/// Where only OS threads use it and it is a global, C++'s thread_local is leaner; but two coroutines of one loop share that.
///
/// Agents    All at the same time, each its own T. Give nobody else a reference that outlives the agent.
/// Order     Values of an agent are destroyed when its function has ended, newest first, before the thread's thread_locals; a
///           thread that sennit did not start destroys them after those. The main thread's live as long as the local.
/// Lifetime  The local takes the values of all agents with it; nobody may use it any more then.
/// Cost      A look-up: two loads and a compare more than the current agent. The first use of an agent allocates.
/// Source    Python 3.13
template <class T>
class local {
  public:
    constexpr local() noexcept requires std::default_initializable<T>
    = default;
    /// Makes each T by calling `make()`, in the agent whose it will be. What it throws comes out of the use that called it.
    template <class F>
    requires(std::is_invocable_r_v<T, F&> && !std::same_as<std::remove_cvref_t<F>, local>) explicit local(F make)
        : maker_(new Maker<F>(std::move(make))) {}
    local(const local&) = delete;
    local& operator=(const local&) = delete;
    ~local() {
        if (maker_ && !wait::ProcessEnd::begun()) maker_->destroy(*maker_); // then a daemon may still use it
    }

    /// This agent's T, made now if it has none.
    T& get() {
        wait::Agent& me = wait::current_agent();
        if (wait::AgentLocal* value = key_.find(me)) [[likely]]
            return static_cast<Value*>(value)->object;
        return make(me);
    }
    T& operator*() { return get(); }
    T* operator->() { return std::addressof(get()); }
    /// Whether this agent has a T.
    [[nodiscard]] bool has_value() const noexcept { return key_.find(wait::current_agent()) != nullptr; }
    /// Destroys this agent's T; the next use makes a new one.
    void reset() noexcept { key_.drop(wait::current_agent()); }

  private:
    struct MakerBase {
        T (*call)(MakerBase&);
        void (*destroy)(MakerBase&) noexcept;
    };
    template <class F>
    struct Maker final : MakerBase {
        explicit Maker(F make)
            : MakerBase{[](MakerBase& self) -> T { return static_cast<Maker&>(self).function(); },
                        [](MakerBase& self) noexcept { delete static_cast<Maker*>(&self); }},
              function(std::move(make)) {}
        F function;
    };
    struct Value final : wait::AgentLocal {
        Value() requires std::default_initializable<T> : AgentLocal(&destroy), object() {}
        explicit Value(MakerBase& maker) : AgentLocal(&destroy), object(maker.call(maker)) {}
        static void destroy(wait::AgentLocal& self) noexcept { delete static_cast<Value*>(&self); }
        T object;
    };

    static std::unique_ptr<Value> new_value(MakerBase* maker) {
        if constexpr (std::default_initializable<T>) {
            if (!maker) return std::unique_ptr<Value>(new Value);
        }
        return std::unique_ptr<Value>(new Value(*maker));
    }
    T& make(wait::Agent& me) {
        std::unique_ptr<Value> value = new_value(maker_);
        if (wait::AgentLocal* made = key_.find(me)) return static_cast<Value*>(made)->object; // making it used it
        key_.add(me, *value);
        return value.release()->object;
    }

    wait::AgentLocalKey key_;
    MakerBase* maker_ = nullptr;
};

} // namespace sennit::threading

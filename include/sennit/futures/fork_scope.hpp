#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/intrusive_list.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace sennit::futures {

class ForkScope;
class ThreadPoolExecutor;

/// For fork_join and the parallel_ functions.
struct ForkOptions {
    std::size_t grain = 1;  ///< of loops: at least so many turns stay together. It need not be tuned.
    std::stop_token stop{}; ///< asks the call to end early, with CancelledError
};

namespace detail {

class ForkLoop;
class ForkTeam;
class ForkWait;

/// A piece of work that another thread may take: made only when somebody is idle, owned by who will join it.
class ForkJob : public base::ListNode {
  public:
    ForkJob() noexcept = default;
    ForkJob(const ForkJob&) = delete;
    ForkJob& operator=(const ForkJob&) = delete;
    virtual ~ForkJob() = default;
    virtual void run(ForkScope& scope) = 0;

  private:
    friend class ForkTeam;
    friend class ForkWait;
    friend class futures::ForkScope;
    enum class State : std::uint8_t { offered, taken, done };
    // Changed under the team's lock.
    atomic<State> state_{State::offered};
    plain<bool> cancelled_ = false; // under the lock, as all that follows
    plain<bool> failed_ = false;    // its owner's scope has been told that it threw
    plain<ForkWait*> waiter_ = nullptr;
    ForkScope* parent_ = nullptr; // whose frame gave it away; does not change once it is offered
    std::exception_ptr error_;
};

/// What stands in the list of a scope: something that can be given away when a beat comes. On the stack of its thread.
struct ForkFrame {
    /// Makes a job of it, or of a part. By the scope's own thread. nullptr: nothing now. `more` says whether there may be
    /// something another time.
    ForkJob* (*give)(ForkFrame& self, bool& more) noexcept;
};

struct Nothing {}; // the result of a function that gives none

template <class F>
decltype(auto) fork_call(F& f, ForkScope& scope) {
    if constexpr (std::is_invocable_v<F&, ForkScope&>)
        return f(scope);
    else
        return f();
}
template <class F>
using fork_result_t = decltype(fork_call(std::declval<F&>(), std::declval<ForkScope&>()));
template <class R>
using fork_value_t = std::conditional_t<std::is_void_v<R>, Nothing, R>;
template <class F>
fork_value_t<fork_result_t<F>> fork_value(F& f, ForkScope& scope) {
    if constexpr (std::is_void_v<fork_result_t<F>>) {
        fork_call(f, scope);
        return {};
    } else {
        return fork_call(f, scope);
    }
}

/// Room for a result that another thread may bring.
template <class R>
class ForkRoom {
  public:
    template <class Make>
    void fill(Make make) {
        ::new (static_cast<void*>(bytes_)) R(make());
    }
    R take() {
        R* const r = std::launder(reinterpret_cast<R*>(bytes_));
        struct Destroy {
            R* r;
            ~Destroy() { std::destroy_at(r); }
        } destroy{r};
        return std::move(*r);
    }
    void drop() noexcept { std::destroy_at(std::launder(reinterpret_cast<R*>(bytes_))); }

  private:
    alignas(R) unsigned char bytes_[sizeof(R)];
};
template <class R>
class ForkRoom<R&> {
  public:
    template <class Make>
    void fill(Make make) {
        value_ = &make();
    }
    R& take() { return *value_; }
    void drop() noexcept {}

  private:
    R* value_;
};

/// The second function of a fork_join, while the first one runs. `job` is set when it has been given away.
template <class G>
struct ForkCall : ForkFrame {
    using Value = fork_value_t<fork_result_t<G>>;
    struct Job final : ForkJob {
        explicit Job(ForkCall& c) noexcept : call(c) {}
        void run(ForkScope& scope) override {
            call.room.fill([&]() -> Value { return fork_value(*call.g, scope); });
        }
        ForkCall& call;
    };
    explicit ForkCall(G& function) noexcept : ForkFrame{give_call}, g(&function) {}
    static ForkJob* give_call(ForkFrame& self, bool& more) noexcept {
        auto& call = static_cast<ForkCall&>(self);
        call.job = new (std::nothrow) Job(call);
        more = call.job == nullptr; // no memory: it stays here
        return call.job;
    }
    G* g;
    ForkJob* job; // not set before it is given away: a fork that stays costs no store for it
    ForkRoom<Value> room;
};

} // namespace detail

/// Where forks of one thread stand: what fork_join(scope, f, g) is given, and passes on to what it calls.
///
///     long fib(ForkScope& scope, int n) {
///         if (n < 2) return n;
///         auto [a, b] = fork_join(scope, [n](ForkScope& s) { return fib(s, n - 1); },
///                                        [n](ForkScope& s) { return fib(s, n - 2); });
///         return a + b;
///     }
///     long answer = fork_join(pool, [](ForkScope& s) { return fib(s, 32); });
///
/// Made by fork_join(pool, f) and by whoever takes a fork over; not copied, not kept, used by the function that gets it alone.
///
/// Cost      A fork that nobody takes is two calls and some three nanoseconds. Only while a worker of the pool is idle,
///           the oldest fork is given away, a fraction of a microsecond; so nothing needs a cut-off.
/// Source    U. Acar et al., Heartbeat Scheduling, PLDI 2018; here the idle one sends the beat.
class ForkScope : private base::ListNode {
  public:
    ForkScope(const ForkScope&) = delete;
    ForkScope& operator=(const ForkScope&) = delete;

    /// Calls both functions, each with a scope (or without arguments if it takes none), at the same time if a worker is
    /// idle; waits for both and gives the results as a pair, or nothing if both give none. When one throws, the other is
    /// cancelled as far as it forks, and what was thrown first comes out when both have ended.
    template <class F, class G>
    auto fork_join(F&& f, G&& g) {
        using Second = detail::ForkCall<std::remove_reference_t<G>>;
        using FirstResult = detail::fork_result_t<F>;
        using First = detail::fork_value_t<FirstResult>;
        Second second(g);
        const std::size_t at = tail_;
        push(second);
        First first = [&]() -> First {
            try {
                return detail::fork_value(f, *this);
            } catch (...) {
                if (at >= head_)
                    tail_ = at; // nobody has it: it does not run
                else if (after_error(at, *second.job))
                    second.room.drop();
                throw;
            }
        }();
        // What stands below head_ was given away.
        if (at >= head_) [[likely]] {
            tail_ = at;
            return both<FirstResult>(static_cast<First&&>(first), second,
                                     [&]() -> typename Second::Value { return detail::fork_value(*second.g, *this); });
        }
        const bool mine = join(at, second.job);
        return both<FirstResult>(static_cast<First&&>(first), second, [&]() -> typename Second::Value {
            return mine ? detail::fork_value(*second.g, *this) : second.room.take();
        });
    }

    /// Whether what runs here is not wanted any more: for long stretches without a fork. A fork, and a turn of a loop, throw
    /// CancelledError then.
    [[nodiscard]] bool cancelled() const noexcept {
        // relaxed: a hint, as the stop it stands for.
        return (signals_.load(memory_order_relaxed) & (scope_cancelled | part_failed)) != 0;
    }

  private:
    friend class detail::ForkTeam;
    friend class detail::ForkWait;
    friend class detail::ForkLoop;
    friend class ForkEntry;

    // signals_: what others tell this scope. Each is set under the team's lock, and read where the scope forks.
    //   wanted           somebody is idle: give something away. May be set in vain: a needless look
    //   scope_cancelled  nothing of it is wanted any more
    //   part_failed      a job that it gave away threw, and is not joined yet: what runs now is not wanted
    static constexpr std::uint32_t wanted = 1, scope_cancelled = 2, part_failed = 4;
    static constexpr std::size_t own_frames = 32;

    ForkScope(detail::ForkTeam& team, detail::ForkJob* job) noexcept : team_(team), job_(job) {}
    ~ForkScope() {
        if (frames_ != first_frames_) delete[] frames_;
    }

    void push(detail::ForkFrame& frame) {
        if (tail_ == capacity_) [[unlikely]]
            grow();
        frames_[tail_++] = &frame;
        // relaxed: the signal carries no data, and comes soon enough.
        if (signals_.load(memory_order_relaxed) != 0) [[unlikely]]
            look_at_signals_in_fork();
    }
    template <class FirstResult, class First, class Second, class Get>
    static auto both(First&& first, Second&, Get get) {
        using SecondResult = detail::fork_result_t<std::remove_pointer_t<decltype(Second::g)>>;
        if constexpr (std::is_void_v<FirstResult> && std::is_void_v<SecondResult>)
            get();
        else
            return std::pair<detail::fork_value_t<FirstResult>, typename Second::Value>(std::forward<First>(first),
                                                                                        get());
    }
    void grow();
    void look_at_signals_in_fork();
    // Gives away the oldest if somebody wants it. True: cancelled.
    bool look_at_signals() noexcept;
    // Ends the job of frame `at`. True: it was not taken, the caller runs it. Throws what it threw.
    bool join(std::size_t at, detail::ForkJob* job);
    // The same when the caller's side has thrown. True: it has brought a result. Throws instead what it threw earlier.
    bool after_error(std::size_t at, detail::ForkJob& job);

    // The owner's alone: frames [head_, tail_) can be given away, those below have been.
    std::size_t tail_ = 0;
    std::size_t head_ = 0;
    std::size_t capacity_ = own_frames;
    detail::ForkFrame** frames_ = first_frames_;
    atomic<std::uint32_t> signals_{0};
    std::uint32_t failed_ = 0; // under the lock: jobs given away that threw, and are not joined yet
    detail::ForkTeam& team_;
    detail::ForkJob* const job_;   // what it runs; nullptr: somebody called from outside
    plain<bool> young_ = false;    // in a call that has just begun: changed under the lock by the owner
    std::int64_t young_since_ = 0; // the first look
    std::int64_t thread_ = 0;      // whose it is (os::current_thread_id): set under the lock
    detail::ForkFrame* first_frames_[own_frames];
};

/// Takes part in a pool for the time of a call: the compiled half of the functions below.
class ForkEntry {
  public:
    ForkEntry(ThreadPoolExecutor& pool, const std::stop_token& stop);
    /// Within `scope`; with a stop of its own it is a call of its own.
    ForkEntry(ForkScope& scope, const std::stop_token& stop);
    ForkEntry(const ForkEntry&) = delete;
    ForkEntry& operator=(const ForkEntry&) = delete;
    ~ForkEntry();
    ForkScope& scope() noexcept { return *scope_; }

    /// For who runs something foreign in the middle of a call: that does not belong to it.
    class Aside {
      public:
        Aside() noexcept;
        ~Aside();
        Aside(const Aside&) = delete;
        Aside& operator=(const Aside&) = delete;

      private:
        ForkScope* const former_;
    };

    /// For tests: a call on a team that no pool stands behind.
    explicit ForkEntry(detail::ForkTeam& team, const std::stop_token& stop = {});

  private:
    struct Stopper {
        ForkScope* scope;
        void operator()() const noexcept;
    };
    void begin(detail::ForkTeam& team, const std::stop_token& stop);
    ForkScope* scope_;
    ForkScope* former_ = nullptr;
    union {
        ForkScope own_;
    };
    bool owns_ = false;
    std::optional<std::stop_callback<Stopper>> stopper_;
};

/// Calls f(scope) on the calling thread, which takes part in the pool's work meanwhile; what it forks is shared with the
/// workers that are idle. At most max_workers threads work at one time, the caller included. Gives what f gives.
///
/// Agents    Any, also a task of the pool, and one that is within another call: then it belongs to that.
/// Blocks    Until all that was forked has ended. A worker of the pool that waits helps with what it waits for, or another
///           one takes its place.
/// Cancel    By the options' stop, or cancel() of the agent: the next fork throws CancelledError, wherever it is.
/// Errors    What comes out of a fork first; see ForkScope. After shutdown() the caller does all by itself.
template <class F>
auto fork_join(ThreadPoolExecutor& pool, F&& f, ForkOptions options = {}) -> detail::fork_result_t<F> {
    static_assert(std::is_invocable_v<F&, ForkScope&> || std::is_invocable_v<F&>,
                  "fork_join(pool, f): f is called with a ForkScope&, or without arguments");
    ForkEntry entry(pool, options.stop);
    return detail::fork_call(f, entry.scope());
}

/// See ForkScope::fork_join.
template <class F, class G>
auto fork_join(ForkScope& scope, F&& f, G&& g) {
    return scope.fork_join(std::forward<F>(f), std::forward<G>(g));
}

} // namespace sennit::futures

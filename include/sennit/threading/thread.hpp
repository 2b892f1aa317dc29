#pragma once

#include <sennit/threading/thread_ref.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sennit::threading {

/// Whether a Thread is a daemon: as given, else as the thread that makes it.
class DaemonOption {
  public:
    constexpr DaemonOption() noexcept = default;
    // NOLINTBEGIN(google-explicit-constructor): it is a bool that knows whether it was given
    constexpr DaemonOption(bool daemon) noexcept : daemon_(daemon), given_(true) {}
    constexpr operator bool() const noexcept { return daemon_; }
    // NOLINTEND(google-explicit-constructor)
    [[nodiscard]] constexpr bool given() const noexcept { return given_; }

  private:
    bool daemon_ = false;
    bool given_ = false;
};

/// Thread t({.name = "w", .daemon = true}, work, 1);
struct ThreadOptions {
    std::string name = {};      // empty: Thread-N
    DaemonOption daemon = {};   // not given: as the creating thread; false in the main one
    std::size_t stack_size = 0; // bytes; 0: stack_size()
};

namespace detail {

/// A ThreadState with its function and arguments, copied as std::thread does: decayed; std::ref passes a reference.
template <class F, class... Args>
class TargetState final : public ThreadState {
  public:
    template <class F2, class... Args2>
    explicit TargetState(F2&& f, Args2&&... args) : ThreadState(Kind::made) {
        ::new (static_cast<void*>(memory_)) Target(std::forward<F2>(f), std::forward<Args2>(args)...);
        there_ = true;
    }
    void call() override {
        if (!there_) return; // has run
        struct Drop {
            TargetState& state;
            ~Drop() { state.drop_target(); }
        } drop{*this};
        std::apply([](F& f, Args&... args) { std::invoke(std::move(f), std::move(args)...); }, target());
    }
    void drop_target() noexcept override {
        if (std::exchange(there_, false)) target().~Target();
    }

  private:
    using Target = std::tuple<F, Args...>;
    ~TargetState() override { drop_target(); }
    Target& target() noexcept { return *std::launder(reinterpret_cast<Target*>(memory_)); }
    alignas(Target) unsigned char memory_[sizeof(Target)];
    bool there_ = false;
};

template <class F, class... Args>
StatePtr make_target(F&& f, Args&&... args) {
    static_assert(
        std::is_constructible_v<std::decay_t<F>, F> && (std::is_constructible_v<std::decay_t<Args>, Args> && ...),
        "Thread: the function and each argument are copied or moved into the thread; one of these can be neither. "
        "Pass std::move(x), or std::ref(x) if x outlives the thread");
    static_assert(
        std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>,
        "Thread: the function can't be called with these arguments. They are copies, passed as rvalues: a parameter "
        "of type T& needs std::ref(x)");
    return StatePtr::adopt(
        new TargetState<std::decay_t<F>, std::decay_t<Args>...>(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F>
concept Target =
    !std::derived_from<std::remove_cvref_t<F>, ThreadRef> && !std::same_as<std::remove_cvref_t<F>, ThreadOptions>;

} // namespace detail

/// A thread of the operating system.            Python: threading.Thread
///
///     Thread t(work, 1, std::ref(result));
///     t.start();
///     t.join();
///
/// For many short jobs use an executor; to wait for many things at once, coroutines or green threads. Unlike std::thread it
/// starts when told, can be joined by anybody, any number of times, with a deadline and from coroutines; it has a name, may be
/// a daemon, and an exception that leaves its function ends it alone: excepthook reports it.
///
/// **A subclass that overrides run() joins in its own destructor** (join_if_started()): when ~Thread comes to wait, the
/// subclass's members are already gone under the running run(), and the call of run() itself may meet the wrong class. This
/// can't be mended from the base class; so ~Thread then reports it on stderr by the class's name, and waits. Best is to make
/// the subclass final. A Thread that was given a function shares nothing with its running thread, and is safe to destroy, and
/// to move, at any time.
///
///     class Worker final : public Thread {
///       public:
///         ~Worker() override { join_if_started(); }
///         void run() override { ... }
///     };
///
/// Agents    start(), and the members of ThreadRef, at the same time from anywhere. Moving and destroying: one.
/// Blocks    join(), and the destructor of one that was started and is no daemon. After 5 s the destructor says for whom.
/// Order     What was done before start() is visible to the thread.
/// Lifetime  The process's end waits for threads that are no daemons, whoever started them, before the first static object is
///           destroyed; not after quick_exit() or _exit(). Daemons are held at their next wait then (wait::ProcessEnd).
///           In the child of a fork() only the thread that forked lives; the others have ended.
/// Cost      One allocation; start and join as std::thread.
/// Source    Python 3.13
class Thread : public ThreadRef {
  public:
    /// For a subclass that overrides run().
    Thread();
    explicit Thread(ThreadOptions options);
    /// Calls f(args...) in the thread, with copies of both. Throws what copying throws.
    template <detail::Target F, class... Args>
    explicit Thread(F&& f, Args&&... args)
        : Thread(detail::make_target(std::forward<F>(f), std::forward<Args>(args)...), ThreadOptions{}) {}
    template <class F, class... Args>
    Thread(ThreadOptions options, F&& f, Args&&... args)
        : Thread(detail::make_target(std::forward<F>(f), std::forward<Args>(args)...), std::move(options)) {}

    /// The thread moves; `other` is good for nothing but destruction and assignment. Throws UsageError for a subclass that
    /// runs: its run() uses the object.
    Thread(Thread&& other); // NOLINT(performance-noexcept-move-constructor)
    /// What it had before is joined first, as the destructor does.
    Thread& operator=(Thread&& other); // NOLINT(performance-noexcept-move-constructor)
    virtual ~Thread();

    /// Starts the thread. Throws UsageError the second time; OSError when the system refuses, and then it may be tried again.
    void start();
    /// What the thread does: calls the function, once. Called by start() in the new thread; calling it by hand calls the
    /// function here.
    virtual void run();

  protected:
    /// For the destructor of a subclass: waits for the end, if it was started. The thread itself does not wait for itself.
    void join_if_started() noexcept;
    /// For classes whose thread uses the state alone.
    Thread(detail::StatePtr state, ThreadOptions options);

  private:
    void leave() noexcept;
};

/// The stack of threads that don't say otherwise, in bytes; 0: the system's default. Python: threading.stack_size
std::size_t stack_size() noexcept;
/// Changes it for threads made from now on and gives the former value. At least 32 KiB, or 0; else UsageError.
std::size_t stack_size(std::size_t bytes);

} // namespace sennit::threading

#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/loop/io_wait.hpp>
#include <sennit/multiprocessing/child.hpp>
#include <sennit/multiprocessing/entry.hpp>
#include <sennit/multiprocessing/start_method.hpp>
#include <sennit/sync/awaitable.hpp>

#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::multiprocessing {

class Process;
class ProcessRef;

/// A start method to go with a process or a pool: get_context("spawn"), or just "spawn".
class Context {
  public:
    /// What set_start_method() has said by the time something is started.
    Context() noexcept = default;
    // NOLINTBEGIN(google-explicit-constructor): {.context = "spawn"}
    Context(const char* name) : method_(start_method_of(name)) {}
    Context(const std::string& name) : method_(start_method_of(name)) {}
    Context(StartMethod method) noexcept : method_(method) {}
    // NOLINTEND(google-explicit-constructor)
    [[nodiscard]] StartMethod method() const noexcept { return method_.value_or(detail::default_start_method()); }
    [[nodiscard]] std::string get_start_method() const { return std::string(to_string(method())); }
    /// As Process(...), with this method.
    template <class F, class... Args>
    [[nodiscard]] multiprocessing::Process process(F&& f, Args&&... args) const;

  private:
    std::optional<StartMethod> method_;
};

/// Throws UsageError for a name that is no start method. Empty: the default one.      Python: multiprocessing.get_context
Context get_context(const std::string& name = {});

/// Process p({.name = "w", .daemon = true, .context = "spawn"}, work, 1);
struct ProcessOptions {
    std::string name = {}; // empty: Process-N
    bool daemon = false;
    Context context = {};
};

namespace detail {

// A function with its arguments, as they are here.
class ProcessTarget {
  public:
    virtual ~ProcessTarget() = default;
    virtual void pack(CargoWriter& to) const = 0;
    [[nodiscard]] virtual Entry entry() const noexcept = 0;
    virtual void call() = 0;
};

template <class F, class... Args>
class ProcessTargetOf final : public ProcessTarget {
  public:
    template <class F2, class... Args2>
    explicit ProcessTargetOf(F2&& f, Args2&&... args)
        : function_(std::forward<F2>(f)), args_(std::forward<Args2>(args)...) {
        check_call<F, Args...>();
    }
    void pack(CargoWriter& to) const override {
        pack_function(to, function_);
        std::apply(
            [&to](const Args&... arg) {
                static_cast<void>(to); // without arguments
                (pack_argument<Args>(to, arg), ...);
            },
            args_);
    }
    [[nodiscard]] Entry entry() const noexcept override { return &CallAndForget<F, Args...>::run; }
    void call() override {
        std::apply([this](Args&... arg) { static_cast<void>(std::invoke(function_, copy_or_move(arg)...)); }, args_);
    }

  private:
    // run() may be called by hand, more than once; what can't be copied is gone after the first time.
    template <class T>
    static T copy_or_move(T& arg) {
        if constexpr (std::is_copy_constructible_v<T>)
            return arg;
        else
            return std::move(arg);
    }

    F function_;
    std::tuple<Args...> args_;
};

template <class F, class... Args>
std::unique_ptr<ProcessTarget> make_process_target(F&& f, Args&&... args) {
    check_call<std::decay_t<F>, Shipped<Args>...>();
    constexpr bool can_be_kept = (std::is_constructible_v<Shipped<Args>, Args> && ...);
    static_assert(can_be_kept, "one of the arguments can't be copied: give it away with std::move (a Connection, say); "
                               "this process's handle of it is closed by start()");
    if constexpr (ShippableFunction<std::decay_t<F>> && (ShippableArgument<Shipped<Args>> && ...) && can_be_kept &&
                  std::is_invocable_v<std::decay_t<F>, Shipped<Args>...>)
        return std::make_unique<ProcessTargetOf<std::decay_t<F>, Shipped<Args>...>>(
            std::forward<F>(f), static_cast<Shipped<Args>>(std::forward<Args>(args))...);
    else
        return nullptr; // the sentence above is all that is to be said
}

template <class F>
concept TargetOfProcess =
    !std::derived_from<std::remove_cvref_t<F>, ProcessRef> && !std::same_as<std::remove_cvref_t<F>, ProcessOptions>;

class ProcessState;

class JoinWait final : public loop::IoWait {
  public:
    explicit JoinWait(std::shared_ptr<ProcessState> process);
    JoinWait(JoinWait&& unbegun) noexcept : IoWait(std::move(unbegun)), process_(std::move(unbegun.process_)) {}
    bool try_now(Deadline deadline);
    bool finish(wait::Agent& me);

  private:
    std::shared_ptr<ProcessState> process_;
    bool known_ = false; // without the kernel
    bool ended_ = false;
};

} // namespace detail

/// A handle of a process: of one that this one has started, of this one, or of its parent. Copies are handles of the same.
///
/// Agents    Every member, at the same time, from anywhere.
/// Blocks    join() blocks the OS thread; async_join() suspends the coroutine.
/// Errors    UsageError for what can't be right: start twice, join before start, by somebody else than the parent, by the process
///           itself; anything after close(). OSError (ECHILD) for an exit status that somebody else has taken.
class ProcessRef {
  public:
    [[nodiscard]] std::string name() const;
    void set_name(const std::string& name) const;
    /// Empty before start().
    [[nodiscard]] std::optional<pid_t> pid() const;
    [[nodiscard]] std::optional<pid_t> ident() const { return pid(); }
    [[nodiscard]] bool daemon() const;
    /// Before start() only.
    void set_daemon(bool daemon) const;
    /// 32 random bytes of the main process, which its children have as well, unless it was set.
    [[nodiscard]] std::string authkey() const;
    void set_authkey(const std::string& key) const;

    /// 0-255 as it gave to exit() (300 is 44); 1 after an exception; -N when signal N ended it; empty before the start and while it runs.
    [[nodiscard]] std::optional<int> exitcode() const;
    [[nodiscard]] bool is_alive() const;
    /// A pidfd: readable in poll() once the process has ended. Ours: it is closed with the last handle, or by close().
    [[nodiscard]] int sentinel() const;

    /// Waits for the end; false at the deadline.
    bool join(Deadline deadline = forever) const; // NOLINT(modernize-use-nodiscard): as Python's
    /// bool ended = co_await process.async_join(1s);
    [[nodiscard]] sync::Awaitable<detail::JoinWait> async_join(Deadline deadline = forever) const;

    /// SIGTERM; nothing happens to one that has ended.
    void terminate() const;
    /// SIGINT.
    void interrupt() const;
    /// SIGKILL.
    void kill() const;
    /// Gives back its descriptor. UsageError while it runs. A second time: nothing.
    void close() const;

    friend bool operator==(const ProcessRef&, const ProcessRef&) = default;

  protected:
    explicit ProcessRef(std::shared_ptr<detail::ProcessState> state) noexcept : state_(std::move(state)) {}
    ProcessRef(const ProcessRef&) = default;
    ProcessRef(ProcessRef&&) = default;
    ProcessRef& operator=(const ProcessRef&) = default;
    ProcessRef& operator=(ProcessRef&&) = default;
    ~ProcessRef() = default;
    [[nodiscard]] detail::ProcessState& state() const;
    std::shared_ptr<detail::ProcessState> state_;
    friend class detail::ProcessState;
};

/// What active_children(), current_process() and parent_process() give.
class ProcessHandle final : public ProcessRef {
  public:
    explicit ProcessHandle(std::shared_ptr<detail::ProcessState> state) noexcept : ProcessRef(std::move(state)) {}
    explicit ProcessHandle(const ProcessRef& process) : ProcessRef(process) {}
};

/// A function that runs in a process of its own.            Python: multiprocessing.Process
///
///     Process p(work, 1, "text");
///     p.start();
///     p.join();
///
/// The function and its arguments are copied or moved into this object, travel as bytes (cargo.hpp, entry.hpp says what can), and are
/// gone here after start(), which so closes the end of a Pipe that was given away. The process has none of this one's variables, only its static objects as they are before main(). What both are to change is a Value, an Array, a Queue. For many jobs take
/// a pool. What it throws is printed, and its exit code is 1. It ends as a program does: threads are joined, atexit functions called,
/// static objects destroyed, output written; one whose output can't be written has exit code 120 at least.
///
/// **A subclass that overrides run()** exists in this process alone: it can be started by the method "fork"; by the others if it
/// derives from ProcessOf.
///
/// Lifetime  The destructor neither waits nor kills. At the end of this process, after its atexit functions, the children that are daemons
///           are terminated and the others joined, as in Python; however it ends, none outlives it, nor, when it is killed, what they
///           left in their process groups. A daemon may have no children of its own.
/// Cost      See StartMethod and Child.
/// Source    Python 3.13
class Process : public ProcessRef {
  public:
    /// For a subclass that overrides run().
    Process() : Process(ProcessOptions{}) {}
    explicit Process(const ProcessOptions& options) : Process(options, std::unique_ptr<detail::ProcessTarget>()) {}
    template <detail::TargetOfProcess F, class... Args>
    explicit Process(F&& f, Args&&... args)
        : Process(ProcessOptions{}, detail::make_process_target(std::forward<F>(f), std::forward<Args>(args)...)) {}
    template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, std::unique_ptr<detail::ProcessTarget>>)
        Process(const ProcessOptions& options, F&& f, Args&&... args)
        : Process(options, detail::make_process_target(std::forward<F>(f), std::forward<Args>(args)...)) {}

    Process(Process&&) noexcept = default;
    Process& operator=(Process&&) noexcept = default;
    virtual ~Process() = default;

    /// Throws UsageError the second time, and in a daemon; OSError when the system refuses, and then it may be tried again.
    void start();
    /// What the process does: calls the function. Called in the new process; by hand, before start(), it calls the function here.
    virtual void run();

  protected:
    /// For ProcessOf: writes the object down, and says who calls its run().
    virtual Entry pack_self(CargoWriter& to) const;

  private:
    Process(const ProcessOptions& options, std::unique_ptr<detail::ProcessTarget> target);
};

/// The base of a subclass of Process that travels: one that has `void pack(CargoWriter&) const` and `static Derived unpack(CargoReader&)`.
template <class Derived>
class ProcessOf : public Process {
  public:
    using Process::Process;

  protected:
    Entry pack_self(CargoWriter& to) const final {
        static_assert(Shippable<Derived>,
                      "give the class void pack(CargoWriter&) const and static Derived unpack(CargoReader&)");
        static_cast<const Derived&>(*this).pack(to);
        return [](CargoReader& in, CargoWriter&) {
            Derived there = Derived::unpack(in);
            there.run();
        };
    }
};

template <class F, class... Args>
Process Context::process(F&& f, Args&&... args) const {
    ProcessOptions options;
    options.context = *this;
    return Process(options, std::forward<F>(f), std::forward<Args>(args)...);
}

/// Those of Process that run, as far as this process has started them. Reaps the others.
std::vector<ProcessHandle> active_children();
ProcessHandle current_process();
/// Empty in the main process.
std::optional<ProcessHandle> parent_process();

/// How many processors the machine has that are switched on; at least 1.      Python: multiprocessing.cpu_count, os.cpu_count
int cpu_count() noexcept;
/// How many of them the calling thread may run on. A pool's default is that of the process, less what its control group withholds.
/// Python: os.process_cpu_count
int process_cpu_count() noexcept;

} // namespace sennit::multiprocessing

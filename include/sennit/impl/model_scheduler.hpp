// The scheduler of the `model` preset: controlled threads, virtual time, futexes, and the search that drives them.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/impl/model_atomic.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <pthread.h>
#include <span>
#include <string>

namespace sennit::model {

namespace detail { // not in model itself, where argument-dependent lookup would find them beside those of os/
/// As os::futex_wait, in virtual time: it may also end without a cause, as the kernel's may.
bool futex_wait(atomic<std::uint32_t>& word, std::uint32_t expected, Deadline deadline,
                const Where& at = Where::current()) noexcept;
/// As os::futex_wake: the word may be gone.
void futex_wake(atomic<std::uint32_t>& word, int n, const Where& at = Where::current()) noexcept;
} // namespace detail

/// The virtual clock. It stands still but for pass_time(), for time-outs that fire, and for jumps that the search makes
/// (a thread may lose its core for any time).
std::int64_t now_ns() noexcept;
void pass_time(std::int64_t ns) noexcept;

/// As os::start_thread and os::join_thread, for controlled threads.
int start_thread(pthread_t& handle, void* (*entry)(void*), void* argument) noexcept;
void join_thread(pthread_t handle) noexcept;
/// What os/thread.cpp runs when a thread ends: told once, called by every controlled thread at its end.
void set_exit_hook(void (*run)()) noexcept;

/// A controlled thread of a scenario. Joins at its end.
class thread {
  public:
    explicit thread(std::function<void()> body);
    thread(const thread&) = delete;
    thread& operator=(const thread&) = delete;
    ~thread() { join(); }
    void join() noexcept;

  private:
    int id_;
};

/// Waits until no other thread can go on by itself (time-outs have not fired): so everybody who is to park has parked.
void let_all_park() noexcept;
/// Ends the run as a failure unless `holds`. The text says what should have been.
void expect(bool holds, const char* what, const Where& at = Where::current()) noexcept;

/// While one lives, its thread is switched only where it has to wait, and reads the newest values: for what is not the
/// matter of a scenario.
class Quiet {
  public:
    Quiet() noexcept;
    ~Quiet();
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;
};

/// One of the ways on at a moment: to run this thread, or to let the deadline of its futex_wait pass.
struct Candidate {
    int thread;
    bool by_deadline;
};

/// What is decided besides who runs. 0 is what one would expect.
enum class Choice : std::uint8_t {
    older_store,   // a load sees an older store that the memory model allows: which one
    weak_failure,  // a compare_exchange_weak fails without a cause
    wake_order,    // which of the sleepers of a futex is woken
    spurious_wake, // a futex_wait ends without a cause
    time_jump,     // reading the clock finds that much time has passed
};

/// Decides. Every decision comes from here, in an order that depends on the decisions before it alone.
class Strategy {
  public:
    virtual ~Strategy() = default;
    /// An index into `ways`, of which `current` is the thread that runs now (-1 if it can't go on).
    virtual std::size_t pick(std::span<const Candidate> ways, int current) = 0;
    /// A number below n, which is at least 2.
    virtual unsigned choose(Choice kind, unsigned n) = 0;
    /// The thread has called yield().
    virtual void yielded(int thread) = 0;
};

/// Runs `scenario` as the first controlled thread, under `strategy`, until all threads have ended. Gives the number of
/// operations. Not re-entrant. A failure (deadlock, race, broken expectation) calls the handler below and does not return.
std::size_t run(const std::function<void()>& scenario, Strategy& strategy);

/// Gets the report of a failure: what is wrong, what each thread does, the last operations. Must not return.
using FailureHandler = void (*)(const std::string& report);
void set_failure_handler(FailureHandler handler) noexcept;
/// For a crash in mid-run (a signal handler): such a report.
std::string describe(const char* what);
/// Every operation is a line on stderr from now on.
void set_verbose(bool on) noexcept;
/// A hash of all operations of the last run: the same for the same decisions.
std::uint64_t trace_hash() noexcept;
/// Ends the run as a failure with these words.
[[noreturn]] void fail(const std::string& what) noexcept;

} // namespace sennit::model

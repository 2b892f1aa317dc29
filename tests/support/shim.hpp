// Between the code under test and the C library: the n-th system call fails or is short, the n-th allocation fails.
//
// Test programs are linked with --wrap for the calls listed in shim_calls.txt, so what the library and the tests
// themselves call goes through here; what libc and libstdc++ call inside does not. operator new is replaced altogether.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace sennit::testing {

/// While one lives, system calls fail as told. One at a time. Counts from its construction on, all threads together unless
/// told otherwise; the watchdog is exempt.
///
///     Shim shim;
///     shim.fail("pipe2", EMFILE);                       // every pipe2
///     shim.fail("read", EIO, {.nth = 3});               // the third read alone
///     shim.disturb(20);                                 // one call in five: EINTR, EAGAIN or a short count, by seed
class Shim {
  public:
    struct When {
        std::int64_t nth = 0;     // 0: each one
        std::int64_t times = 1;   // so many from the n-th on
        bool this_thread = false; // only calls of the thread that told so
    };

    Shim() noexcept;
    ~Shim();
    Shim(const Shim&) = delete;
    Shim& operator=(const Shim&) = delete;

    /// `call` as in shim_calls.txt, or the name of a system call that is made through syscall(2): "clone3", "futex",
    /// "pidfd_open", "pidfd_send_signal"; "*" is any but futex. Throws std::invalid_argument for a name it does not know.
    void fail(std::string_view call, int error) { fail(call, error, When{}); }
    void fail(std::string_view call, int error, When when);
    /// From now on `percent` of the calls that may are interrupted (EINTR), told to come again (EAGAIN, on descriptors that
    /// don't block), or move fewer bytes than asked for.
    void disturb(unsigned percent);

    /// How many calls of that name, or of any ("*"), there were.
    [[nodiscard]] std::int64_t count(std::string_view call) const;
    /// How many were made to fail or short.
    [[nodiscard]] std::int64_t injected() const noexcept;
};

/// While one lives, the n-th allocation (operator new, malloc, calloc, realloc, aligned_alloc, posix_memalign) of this
/// thread fails; 0: none does, they are only counted.
class AllocationFault {
  public:
    explicit AllocationFault(std::int64_t nth = 0) noexcept;
    ~AllocationFault();
    AllocationFault(const AllocationFault&) = delete;
    AllocationFault& operator=(const AllocationFault&) = delete;
    /// Allocations of this thread since.
    [[nodiscard]] std::int64_t count() const noexcept;
    [[nodiscard]] bool injected() const noexcept;

    /// For an operation that another thread is part of: the fault of the thread that makes one lives on in that.
    class Handover {
      public:
        Handover() noexcept; // by the thread that has the fault; it sleeps while the other one goes on
        ~Handover();
        void begin() noexcept; // by the other thread
        void end() noexcept;
        Handover(const Handover&) = delete;
        Handover& operator=(const Handover&) = delete;

      private:
        std::int64_t count_, nth_;
        bool on_, hit_;
    };
};

/// While one lives, the wall clock that this process reads is `by` off: CLOCK_REALTIME, gettimeofday, time, and (but under a
/// sanitizer) std::chrono::system_clock. The machine's clock stays as it is, so what the kernel does by it does not change.
class WallClockJump {
  public:
    explicit WallClockJump(std::chrono::seconds by) noexcept;
    ~WallClockJump();
    WallClockJump(const WallClockJump&) = delete;
    WallClockJump& operator=(const WallClockJump&) = delete;
};

/// Allocations of all threads since the program began.
std::int64_t total_allocations() noexcept;

/// The calling thread's calls and allocations are none of the test's.
void exempt_this_thread_from_shim() noexcept;

/// Keeps shim.cpp in the program.
void link_shim() noexcept;

} // namespace sennit::testing

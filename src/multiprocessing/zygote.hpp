// The process that children are copied from.
#pragma once

#include <sennit/os/fd.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/packet.hpp>
#include <sennit/os/spawn.hpp>

#include <cstdint>
#include <span>
#include <sys/types.h>
#include <vector>

namespace sennit::multiprocessing::detail {

/// This process's zygote: made when it is needed, and anew when it has died.
class Zygote {
  public:
    static Zygote& get();
    /// Starts a child with this packet: see child_run.hpp. Throws OSError, or Error when the zygote can't be.
    os::ChildProcess start(std::span<const iovec> pieces, std::span<const int> fds);
    void stop() noexcept;
    pid_t pid() noexcept;
    /// Of the children that were made ahead and are no processes of the program's yet. For tests.
    std::vector<pid_t> spare_pids();

    static constexpr unsigned most_spares = 2;

    /// What both map: the kernel writes here who was made.
    struct Page {
        volatile pid_t made;                // by the start under way
        volatile pid_t spares[most_spares]; // by orders
    };

  private:
    // A child that was made before it was asked for, and sleeps until it is told what to be.
    struct Spare {
        os::ChildProcess process; // none: the zygote's answer was not taken
        os::Fd socket;
        unsigned place = 0; // in the page
    };
    Zygote() = default;
    void launch() SENNIT_REQUIRES(mutex_);
    void drop() noexcept SENNIT_REQUIRES(mutex_);
    void forget() noexcept;
    os::ChildProcess start_by_clone(std::span<const iovec> pieces, std::span<const int> fds) SENNIT_REQUIRES(mutex_);
    bool start_by_spare(std::span<const iovec> pieces, std::span<const int> fds, os::ChildProcess& child)
        SENNIT_REQUIRES(mutex_);
    bool order_spare() noexcept SENNIT_REQUIRES(mutex_);
    void take_answer() SENNIT_REQUIRES(mutex_);
    void end(Spare spare) noexcept SENNIT_REQUIRES(mutex_);

    os::Mutex mutex_;
    os::Fd socket_ SENNIT_GUARDED_BY(mutex_);
    os::ChildProcess process_ SENNIT_GUARDED_BY(mutex_);
    Page* page_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    std::vector<Spare> spares_ SENNIT_GUARDED_BY(mutex_); // the eldest first
    unsigned ordered_ SENNIT_GUARDED_BY(mutex_) = 0;      // of them, the last ones: whose answers were not taken
    unsigned next_place_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::int64_t last_start_ns_ SENNIT_GUARDED_BY(mutex_) = 0;
};

/// The zygote's own life. Its descriptors are below.
[[noreturn]] void run_zygote();

/// What a child that is executed finds where.
struct ChildFds {
    static constexpr int commands = 3; // zygote: a socket; spawn: a file with the start
    static constexpr int lifeline = 4;
    static constexpr int page = 5;  // zygote
    static constexpr int cargo = 5; // spawn: the first of them
};

/// How such a child knows what it is: PROGRAM child_mark KIND COUNT
inline constexpr const char* child_mark = "--sennit-process";
/// What the dynamic loader of a zygote is told, and its environment is not to have.
inline constexpr const char* bind_now = "LD_BIND_NOW";
inline constexpr const char* bind_now_line = "LD_BIND_NOW=1";

/// The program that runs, for its second life; and what it was called.
inline constexpr const char* this_program = "/proc/self/exe";
const char* program_name() noexcept;
const char* program_short_name() noexcept;

} // namespace sennit::multiprocessing::detail

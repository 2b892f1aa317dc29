// The process that children are copied from.
#pragma once

#include <sennit/os/fd.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/packet.hpp>
#include <sennit/os/spawn.hpp>

#include <cstdint>
#include <span>
#include <sys/types.h>

namespace sennit::multiprocessing::detail {

/// This process's zygote: made when it is needed, and anew when it has died.
class Zygote {
  public:
    static Zygote& get();
    /// Starts a child with this packet: see child_run.hpp. Throws OSError, or Error when the zygote can't be.
    os::ChildProcess start(std::span<const iovec> pieces, std::span<const int> fds);
    void stop() noexcept;
    pid_t pid() noexcept;
    /// Of the child that was made ahead and is no process of the program's yet, 0 where there is none. For tests.
    pid_t spare_pid() noexcept;

    /// What both map: the kernel writes here who was made.
    struct Page {
        volatile pid_t made;  // by the start under way
        volatile pid_t spare; // by the order under way
    };

  private:
    // A child that was made before it was asked for, and sleeps until it is told what to be.
    struct Spare {
        os::ChildProcess process;
        os::Fd socket;
    };
    Zygote() = default;
    void launch() SENNIT_REQUIRES(mutex_);
    void drop() noexcept SENNIT_REQUIRES(mutex_);
    void forget() noexcept;
    os::ChildProcess start_by_clone(std::span<const iovec> pieces, std::span<const int> fds) SENNIT_REQUIRES(mutex_);
    bool start_by_spare(std::span<const iovec> pieces, std::span<const int> fds, os::ChildProcess& child)
        SENNIT_REQUIRES(mutex_);
    void order_spare() noexcept SENNIT_REQUIRES(mutex_);
    void take_spare() SENNIT_REQUIRES(mutex_);
    void end_spare() noexcept SENNIT_REQUIRES(mutex_);

    os::Mutex mutex_;
    os::Fd socket_ SENNIT_GUARDED_BY(mutex_);
    os::ChildProcess process_ SENNIT_GUARDED_BY(mutex_);
    Page* page_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Spare spare_ SENNIT_GUARDED_BY(mutex_);
    bool spare_ordered_ SENNIT_GUARDED_BY(mutex_) = false; // and not taken
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

/// The program that runs, for its second life; and what it was called.
inline constexpr const char* this_program = "/proc/self/exe";
const char* program_name() noexcept;
const char* program_short_name() noexcept;

} // namespace sennit::multiprocessing::detail

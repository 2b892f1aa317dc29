#pragma once

#include <sennit/os/fd.hpp>

#include <csignal>
#include <initializer_list>

namespace sennit::os {

/// Takes signals from a descriptor instead of by handlers: blocks them for the calling thread, and gives back the mask of
/// before in its destructor. Those that the process ignores stay ignored (nohup ignores SIGHUP).
///
/// Use it in a program with one thread: another thread that does not block them would get them.
/// Agents    One.
/// Source    signalfd(2).
class SignalFd {
  public:
    /// Throws OSError.
    SignalFd(std::initializer_list<int> signals);
    SignalFd(const SignalFd&) = delete;
    SignalFd& operator=(const SignalFd&) = delete;
    ~SignalFd();

    /// Readable (EPOLLIN) when a signal is pending.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// The next signal, or 0 when none is pending. Never waits.
    int take() noexcept;

  private:
    sigset_t before_;
    Fd fd_;
};

/// Sets a signal to be ignored, and gives back the disposition of before in its destructor.
class IgnoredSignal {
  public:
    explicit IgnoredSignal(int signal) noexcept;
    IgnoredSignal(const IgnoredSignal&) = delete;
    IgnoredSignal& operator=(const IgnoredSignal&) = delete;
    ~IgnoredSignal();

  private:
    int signal_;
    struct sigaction before_ {};
};

/// Calls handler(signal) in a signal handler, on whichever thread gets the signal, and gives back the disposition of before in
/// its destructor. System calls that the signal interrupts go on (SA_RESTART). `once`: from the first signal on the default action is
/// set.
class CaughtSignal {
  public:
    /// Throws OSError: EINVAL for one that can't be caught.
    CaughtSignal(int signal, void (*handler)(int), bool once = false);
    CaughtSignal(const CaughtSignal&) = delete;
    CaughtSignal& operator=(const CaughtSignal&) = delete;
    ~CaughtSignal();

  private:
    int signal_;
    struct sigaction before_ {};
};

/// True when the process ignores `signal`.
bool is_ignored(int signal) noexcept;
/// True when a signal has its default action.
bool is_default(int signal) noexcept;
/// Gives a signal its default action. For SIGCHLD this undoes an inherited "ignore", with which the kernel would throw away
/// the exit status of every child.
void set_default(int signal) noexcept;

} // namespace sennit::os

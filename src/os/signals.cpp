#include <sennit/os/signals.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/io.hpp>

#include <cerrno>
#include <pthread.h>
#include <string>
#include <sys/signalfd.h>

namespace sennit::os {

SignalFd::SignalFd(std::initializer_list<int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals)
        if (!is_ignored(signal)) sigaddset(&set, signal);
    fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) throw OSError(errno, "signalfd: cannot take signals from a descriptor");
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
}

SignalFd::~SignalFd() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

int SignalFd::take() noexcept {
    signalfd_siginfo info;
    return read_some(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)
               ? static_cast<int>(info.ssi_signo)
               : 0;
}

IgnoredSignal::IgnoredSignal(int signal) noexcept : signal_(signal) {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(signal_, &ignore, &before_);
}

IgnoredSignal::~IgnoredSignal() { ::sigaction(signal_, &before_, nullptr); }

CaughtSignal::CaughtSignal(int signal, void (*handler)(int), bool once) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = once ? SA_RESTART | static_cast<int>(SA_RESETHAND) : SA_RESTART;
    if (::sigaction(signal, &action, &before_) != 0)
        throw OSError(errno, "sigaction: cannot catch signal " + std::to_string(signal));
}

CaughtSignal::~CaughtSignal() { ::sigaction(signal_, &before_, nullptr); }

bool is_ignored(int signal) noexcept {
    struct sigaction now {};
    return ::sigaction(signal, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_IGN;
}

bool is_default(int signal) noexcept {
    struct sigaction now {};
    return ::sigaction(signal, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL;
}

void set_default(int signal) noexcept {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
}

} // namespace sennit::os

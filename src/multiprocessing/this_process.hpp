// What this process is to multiprocessing.
#pragma once

#include <sennit/multiprocessing/start_method.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/mutex.hpp>

#include <string>
#include <sys/types.h>

namespace sennit::multiprocessing::detail {

/// Never destroyed.
struct ThisProcess {
    os::Mutex mutex; // guards the strings and the count
    std::string name = "MainProcess";
    std::string authkey;  // empty: not asked for yet
    std::string identity; // "1:2": the second child of the first child; empty in the main process
    std::string parent_name;
    unsigned long children = 0;
    bool daemon = false;
    bool is_child = false;
    bool by_fork = false; // of a running program: what exit() does is not all this process's
    pid_t parent = 0;

    static ThisProcess& get() noexcept;
    /// The identity of the next child: "3", or "1:2:3".
    std::string next_identity();
    std::string key();
};

/// Whether this process was executed as a child that has not taken over yet: its static initialisers run, or main() by mistake.
bool takeover_is_pending() noexcept;
/// Throws UsageError then.
void check_may_start();

/// What a process does at its end with those it has started: see ProcessRef. By process.cpp, once it is used.
void at_end_of_children(void (*run)() noexcept) noexcept;
void end_children() noexcept;

} // namespace sennit::multiprocessing::detail

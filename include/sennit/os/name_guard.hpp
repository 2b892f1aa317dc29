#pragma once

#include <sennit/os/fd.hpp>
#include <sennit/os/shared_memory.hpp>

#include <cstddef>
#include <span>
#include <sys/types.h>

namespace sennit::os {

/// A small process that outlives this one, however it ends, by some milliseconds: in which it unlinks the names in /dev/shm
/// that were left in its care, and no other file that has such a name by then.
///
/// Agents    One at a time.
/// Lifetime  The destructor ends the small process and unlinks nothing. In the child of a fork() it belongs to the parent:
///           there it may only be destroyed.
/// Cost      One process, as OrphanGuard's; it gives up its copy of this process's memory at once, and its descriptors. No
///           wait() of this process sees it.
/// Source    clone(2) without an exit signal; pidfd_open(2).
class NameGuard {
  public:
    static constexpr std::size_t most = 4096, longest_name = 255;
    /// Throws OSError.
    NameGuard();
    NameGuard(const NameGuard&) = delete;
    NameGuard& operator=(const NameGuard&) = delete;
    ~NameGuard();

    /// From now on /dev/shm/NAME, which leads to `id`, is in care. Gives its place; `most` when there is none left.
    std::size_t add(const char* name, const FileId& id) noexcept;
    void forget(std::size_t place) noexcept;
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  private:
    struct Place {
        char name[longest_name + 1]; // "": free. Its first byte is written last
        FileId id;
    };
    void start();
    [[noreturn]] void guard() noexcept;

    Fd self_; // a pidfd of this process
    std::span<Place> places_;
    pid_t pid_ = -1, parent_ = -1;
    Fd pidfd_;
};

} // namespace sennit::os

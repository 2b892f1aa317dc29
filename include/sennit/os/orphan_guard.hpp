#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/spawn.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sennit::os {

/// A small process that outlives this one, however it ends, by some milliseconds: in which it kills the process groups that
/// were left in its care.
///
/// Use it beside SpawnRequest::parent_death_signal: that ends the child itself when its parent dies, this ends what the child
/// had started in its group. Not reached: who left the group, for instance by a session of its own.
/// Agents    One.
/// Lifetime  Outlives every group in its care. The destructor ends the small process and nothing else.
/// Cost      One process, started once (its memory is shared until written, some hundred microseconds). watch and forget are
///           one store each: no system call. It sleeps until this process ends.
/// Source    clone(2): it is cloned with CLONE_FILES, so it holds the pidfds that this process has, without being sent any;
///           pidfd_send_signal(2).
class OrphanGuard {
  public:
    /// For up to `places` groups at once. Throws OSError.
    explicit OrphanGuard(std::size_t places);
    OrphanGuard(const OrphanGuard&) = delete;
    OrphanGuard& operator=(const OrphanGuard&) = delete;
    ~OrphanGuard();

    /// Takes the process group that `leader` leads into care, at a free place < places().
    void watch(std::size_t place, const ChildProcess& leader) noexcept;
    /// Call it before the leader's descriptor is closed.
    void forget(std::size_t place) noexcept;

    [[nodiscard]] std::size_t places() const noexcept { return places_.size(); }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  private:
    using Place = atomic<std::uint64_t>; // 0: free. Else the leader's pid << 32 | its pidfd + 1

    void start();
    Fd self_; // a pidfd of this process, which the guard waits on: open as long as the guard lives
    std::span<Place> places_;
    pid_t pid_ = -1;
    Fd pidfd_;
};

} // namespace sennit::os

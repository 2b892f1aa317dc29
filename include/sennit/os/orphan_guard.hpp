#pragma once

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
///
///     request.process_group = 0;
///     request.parent_death_signal = SIGKILL;
///     request.note = guard.place(7);   // from its first instruction on, the child is in care
///     spawn(request, child);
///     ...                              // the child ends
///     guard.forget(7);
///
/// Agents    One.
/// Lifetime  Outlives every group in its care. The destructor ends the small process and nothing else.
/// Cost      One process, started once (its memory is shared until written, some hundred microseconds). A child pays one
///           getpid, the owner two stores. It sleeps until this process ends.
/// Source    clone(2): it is cloned with CLONE_FILES, so it holds the pidfds that this process has, without being sent any;
///           pidfd_send_signal(2).
class OrphanGuard {
  public:
    /// For up to `places` groups at once. Throws OSError.
    explicit OrphanGuard(std::size_t places);
    OrphanGuard(const OrphanGuard&) = delete;
    OrphanGuard& operator=(const OrphanGuard&) = delete;
    ~OrphanGuard();

    /// Place n < places(), for SpawnRequest::note: the child that notes itself there must lead a process group, which is in
    /// care until forget(n).
    [[nodiscard]] ChildNote* place(std::size_t n) noexcept { return &places_[n]; }
    /// Call it before the leader's descriptor is closed.
    void forget(std::size_t n) noexcept { places_[n] = 0; }

    [[nodiscard]] std::size_t places() const noexcept { return places_.size(); }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  private:
    void start();
    Fd self_; // a pidfd of this process, which the guard waits on: open as long as the guard lives
    std::span<ChildNote> places_;
    pid_t pid_ = -1;
    Fd pidfd_;
};

} // namespace sennit::os

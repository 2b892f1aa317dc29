#pragma once

#include <sennit/os/mutex.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/sync/future_core.hpp>
#include <sennit/sync/semaphore.hpp>

#include <cstddef>
#include <memory>

namespace sennit::sync {

/// Some futures that one agent waits for together: what wait() and as_completed() are made of.
///
/// Each future has a node of the group linked in it, and tells the group when it is done. The group's memory is shared by
/// the agent that waits and the futures that have not told it yet: so the agent may leave at any time.
///
/// Agents    The members: one agent. The futures complete wherever they do.
/// Lifetime  Who uses it keeps the futures alive until they were given by next(), or the group is gone.
/// Cost      One allocation for all nodes.
class FutureGroup {
  public:
    /// What raises the flag: the first one that is done, the first that failed, or all of them, which always does.
    enum class Until : std::uint8_t { first_done, first_error, all_done };

    FutureGroup(std::size_t size, Until until);
    FutureGroup(FutureGroup&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    FutureGroup& operator=(FutureGroup&&) = delete;
    ~FutureGroup();

    /// Watches `core` as number `index`; once each. A future that is done is told of at once.
    void watch(std::size_t index, FutureCore& core);

    /// The flag, and waiting for it.
    bool wait(Deadline deadline);
    [[nodiscard]] Event& flag() const noexcept;
    /// The semaphore has a permit for each future that is done and was not taken by next().
    [[nodiscard]] Semaphore& ready() const noexcept;
    bool wait_for_next(Deadline deadline);
    /// The number of the future that was done next. With a permit of ready().
    std::size_t next() noexcept;

  private:
    struct Block;
    struct Node;
    Block* block_;
};

} // namespace sennit::sync

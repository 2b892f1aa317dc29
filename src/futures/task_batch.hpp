// What a worker of a pool has taken from the common queue and not begun, open to thieves. Part of ThreadPoolExecutor.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/sync/executor.hpp>

#include "futures/task_deque.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sennit::futures {

/// Tasks on their way from those who submit to one worker: filled and taken whole, under the pool's lock.
struct Chunk {
    static constexpr std::uint32_t capacity = 64;
    Chunk* next = nullptr;
    std::uint32_t size = 0;
    sync::Task* tasks[capacity];
};

/// A window [top, bottom) over a ring of tasks, both in one word:
///
///     owner    b1  slots = tasks         relaxed      taker    t1  load the word       acquire   meets b2
///              b2  word = window         release               t2  load the slot       relaxed
///                                                              t3  CAS word, top + 1   acq_rel
///
/// 1. A task is taken once: t3 changes the whole word, and tops only grow. (32 bits: one round through all of them between a
///    taker's t1 and t3 is out of the question.) So a taker that read a slot which was filled again meanwhile fails.
/// 2. Who takes a task sees what its submitter wrote: t1 or a failed t3 reads b2, or a later t3 of its release sequence.
/// 3. A slot is filled only in an empty window, after the owner has read the word with acquire: whoever took from that slot
///    has done t2 before the t3 that the owner sees.
/// 4. steal_half() writes the thief's own slots before it has won t3; its window is empty, so nobody looks at them.
///
/// Agents    fill() and the thief's side of steal_half() and steal_some(): the owner, while the window is empty. take(): everybody.
/// Source    the local run queue of Go's scheduler (runqput, runqgrab), with head and tail in one word.
class TaskBatch {
  public:
    // By anybody.
    sync::Task* take() noexcept {
        std::uint64_t seen = window_.load(memory_order_acquire); // meets fill()
        for (;;) {
            const auto top = static_cast<std::uint32_t>(seen), bottom = static_cast<std::uint32_t>(seen >> 32);
            if (top == bottom) return nullptr;
            // relaxed: ordered by the window; a stale one is thrown away with the failed exchange.
            sync::Task* task = slots_[top % Chunk::capacity].load(memory_order_relaxed);
            // The submitter's core has written it: fetch one while two others run.
            if (bottom - top > 2) __builtin_prefetch(slots_[(top + 2) % Chunk::capacity].load(memory_order_relaxed), 1);
            const std::uint64_t next = (seen & ~std::uint64_t{0xffffffff}) | (top + 1U);
            // acq_rel: acquire meets fill(): the task's contents; release: the slot was read before it may be filled again.
            if (window_.compare_exchange_weak(seen, next, memory_order_acq_rel, memory_order_acquire)) return task;
        }
    }
    // By the owner, when it is empty.
    void fill(const Chunk& chunk) noexcept {
        const std::uint64_t seen = window_.load(memory_order_acquire); // meets take(): the slots are free
        const auto top = static_cast<std::uint32_t>(seen);
        for (std::uint32_t i = 0; i < chunk.size; ++i)
            slots_[(top + i) % Chunk::capacity].store(chunk.tasks[i], memory_order_relaxed);
        // release: meets take(). A store: nobody changes an empty window. seq_cst: meets empty().
        window_.store((std::uint64_t{top + chunk.size} << 32) | top, memory_order_seq_cst);
    }
    // Moves the older half of another batch, rounded up, here and gives the oldest of it. By the owner, when it is empty.
    sync::Task* steal_half(TaskBatch& victim) noexcept {
        std::uint64_t seen = victim.window_.load(memory_order_acquire); // meets fill()
        const std::uint64_t own = window_.load(memory_order_acquire);   // meets take(): the slots are free
        const auto mine = static_cast<std::uint32_t>(own);
        for (;;) {
            const auto top = static_cast<std::uint32_t>(seen), bottom = static_cast<std::uint32_t>(seen >> 32);
            if (top == bottom) return nullptr;
            const std::uint32_t n = (bottom - top + 1) / 2;
            // relaxed: ordered by the windows; stale ones are thrown away with the failed exchange.
            sync::Task* oldest = victim.slots_[top % Chunk::capacity].load(memory_order_relaxed);
            for (std::uint32_t i = 1; i < n; ++i)
                slots_[(mine + i - 1) % Chunk::capacity].store(
                    victim.slots_[(top + i) % Chunk::capacity].load(memory_order_relaxed), memory_order_relaxed);
            const std::uint64_t next = (seen & ~std::uint64_t{0xffffffff}) | (top + n);
            // acq_rel: as in take().
            if (victim.window_.compare_exchange_weak(seen, next, memory_order_acq_rel, memory_order_acquire)) {
                // as in fill()
                window_.store((std::uint64_t{mine + n - 1} << 32) | mine, memory_order_seq_cst);
                return oldest;
            }
        }
    }
    // Moves the older half of a deque, at most half of what has room here, and gives the oldest. By the owner, when it is empty.
    sync::Task* steal_some(TaskDeque& victim) noexcept {
        sync::Task* const oldest = victim.steal();
        if (!oldest) return nullptr;
        const std::uint64_t own = window_.load(memory_order_acquire); // as in steal_half()
        const auto mine = static_cast<std::uint32_t>(own);
        const std::size_t most = std::min<std::size_t>(victim.size_hint() / 2, Chunk::capacity / 2);
        std::uint32_t n = 0;
        for (; n < most; ++n) {
            sync::Task* task = victim.steal();
            if (!task) break;
            slots_[(mine + n) % Chunk::capacity].store(task, memory_order_relaxed); // told by the window
        }
        if (n > 0) window_.store((std::uint64_t{mine + n} << 32) | mine, memory_order_seq_cst); // as in fill()
        return oldest;
    }
    [[nodiscard]] bool empty() const noexcept {
        // seq_cst: as TaskDeque::empty(). Meets fill(), steal_half().
        const std::uint64_t seen = window_.load(memory_order_seq_cst);
        return static_cast<std::uint32_t>(seen) == static_cast<std::uint32_t>(seen >> 32);
    }
    [[nodiscard]] std::size_t size_hint() const noexcept {
        const std::uint64_t seen = window_.load(memory_order_relaxed);
        return static_cast<std::uint32_t>(seen >> 32) - static_cast<std::uint32_t>(seen);
    }

  private:
    alignas(64) atomic<std::uint64_t> window_{0}; // bottom : top
    atomic<sync::Task*> slots_[Chunk::capacity]{};
};

} // namespace sennit::futures

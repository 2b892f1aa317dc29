// What a worker of a process pool shares with its parent, and with nobody else: two rings, two bells, and which job it has begun.
//
// claim: how many of the jobs that were handed to this worker it has begun, in the order of the ring; and `revoked`.
//   worker   compare-exchange n -> n + 1, when it has read job n whole and before anything of it runs: from here on the job has
//            been begun, whatever becomes of the worker.
//   parent   sets `revoked`: the jobs after n are the parent's again. The worker, whose exchange fails, passes over all that is in
//            the ring and answers by taking the bit off, with the number it has come to; until then the parent writes nothing.
// One word, so both know which of the two came first.
//
// A bell: `awake`, `asleep` or, the parent's, `on_word`.
//   who sleeps   s1 exchange(asleep)   s2 look once more   s3 sleep while it is `asleep`   s4 exchange(awake)
//   who rings    r1 publish            r2 exchange(awake)  r3 when it was `asleep`: wake
// Both exchange the same word (acq_rel): either r2 is before s1, which then sees what r1 published at s2; or s1 is before r2,
// which then finds `asleep`. s4 is no mere store: it would hide an r2 that came before it from the next s1. The worker sleeps by
// futex on the bell itself, `for_room` when it has no room for a result: who has only read results leaves one that waits for jobs
// alone, and looks by an exchange that changes nothing. In the parent the server sleeps in epoll, on an eventfd; a thread that waits
// for this worker's next answer itself sleeps by futex on the bell, which says `on_word` then.
#pragma once

#include "multiprocessing/ring.hpp"

#include <sennit/base/atomic.hpp>
#include <sennit/os/futex.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::multiprocessing::detail {

inline constexpr std::uint32_t bell_awake = 0, bell_asleep = 1, bell_on_word = 2, bell_for_room = 3;
inline constexpr std::uint64_t claim_revoked = std::uint64_t{1} << 63;

/// Where a worker stood that was ended by a signal of its own making. Written in the signal handler, read after the death.
struct CrashNote {
    static constexpr std::size_t most_frames = 48, most_modules = 24, name_bytes = 88;
    struct Module {
        std::uint64_t base, end;
        char name[name_bytes];
    };
    atomic<std::uint32_t> frames{0}; // how many there are; release: they were written before
    std::uint32_t modules = 0;       // when the worker began
    std::uint64_t address[most_frames];
    Module module[most_modules];
};

struct WorkerPage {
    RingWords jobs, results;
    alignas(64) atomic<std::uint64_t> claim{0};
    alignas(64) os::FutexWord worker_bell{bell_awake};
    alignas(64) os::FutexWord parent_bell{bell_awake};
    alignas(64) CrashNote crash;
};

inline constexpr std::size_t page_room = 8192; // of which a WorkerPage takes less; the rings' bytes follow
static_assert(sizeof(WorkerPage) <= page_room);

/// A worker's memory as both sides see it.
struct WorkerMemory {
    WorkerPage* page = nullptr;
    std::byte* jobs = nullptr;
    std::byte* results = nullptr;
    std::size_t ring_bytes = 0;

    static constexpr std::size_t total(std::size_t ring_bytes) noexcept { return page_room + 2 * ring_bytes; }
    static WorkerMemory at(void* base, std::size_t ring_bytes) noexcept {
        auto* const bytes = static_cast<std::byte*>(base);
        return {static_cast<WorkerPage*>(base), bytes + page_room, bytes + page_room + ring_bytes, ring_bytes};
    }
};

/// Kinds of records, and their flags.
enum class ToWorker : std::uint8_t { job = 1, entry = 2, quit = 3 };
enum class ToParent : std::uint8_t { result = 1, error = 2, ready = 3, refused = 4 }; // refused: the initializer threw
inline constexpr std::uint8_t record_more = 1; // the next record goes on with this one
inline constexpr std::uint8_t record_raw = 2;  // the bytes of the results, for the place that the parent has for them

// ---- claim

/// The worker begins its next job, after the `begun` ones before. False: that one was taken back, with all behind it.
inline bool begin_job(atomic<std::uint64_t>& claim, std::uint64_t begun) noexcept {
    // acq_rel: a worker's word on what it has begun, for the parent, who may take the jobs away with the same word.
    return claim.compare_exchange_strong(begun, begun + 1, memory_order_acq_rel, memory_order_acquire);
}
/// The parent has the jobs back that the worker has not begun. How many it has begun, as it says.
inline std::uint64_t take_jobs_back(atomic<std::uint64_t>& claim) noexcept {
    // acq_rel: with begin_job() on the same word, either the worker has begun a job or the parent has it back.
    return claim.fetch_or(claim_revoked, memory_order_acq_rel);
}

// ---- bells

/// Sleeps by futex on its own bell until there(), from s1 to s4. `how`: bell_asleep or bell_for_room.
template <class There>
void sleep_on_bell(os::FutexWord& bell, std::uint32_t how, There there) noexcept {
    for (;;) {
        bell.exchange(how, memory_order_acq_rel); // s1; meets ring_futex(), ring_for_room()
        if (there()) break;                       // s2
        os::futex_wait_shared(bell, how, forever);
    }
    bell.exchange(bell_awake, memory_order_acq_rel); // s4
}
/// Rings the bell of who may sleep by futex on it. True: it was asleep.
inline bool ring_futex(os::FutexWord& bell) noexcept {
    if (bell.exchange(bell_awake, memory_order_acq_rel) == bell_awake) return false;
    os::futex_wake_shared(bell, 1);
    return true;
}
/// The same for who has made room.
inline void ring_for_room(os::FutexWord& bell) noexcept {
    if (bell.fetch_add(0, memory_order_acq_rel) == bell_for_room) ring_futex(bell); // r2
}

} // namespace sennit::multiprocessing::detail

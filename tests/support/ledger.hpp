// Who did what in which process, in memory that outlives every one of them, and a checker of what must hold of it.
//
// Each worker appends to a page, best one of its own; the parent notes what became of each job:
//
//     Ledger ledger(4);                                              // pages 1 ... 4, and 0 for the parent
//     worker:  page.started(id, attempt);  ...  page.finished(id, hash);  publish();  page.published(id);
//     parent:  ledger.submitted(id); ... ledger.settled(id, Ledger::Outcome::success, hash); ... ledger.died(pid, true);
//     EXPECT_THAT(broken_invariants(ledger.history()), IsEmpty());
//
// I1 each job settles exactly once. I2 it starts and finishes at most once, or once an attempt where there are retries.
// I3 success means one matching finish. I4 "the worker died" only when one that is dead now had started it. I5 what nobody
// dead had started succeeds. I6 no more of "the worker died" than kills. I7 what was published before a death succeeds.
// I8 the last settlement is at most H after the last fault.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sennit::testing {

/// One line of a ledger.
struct LedgerEntry {
    enum class Kind : std::uint32_t { none, submitted, started, finished, published, settled, died, fault };
    Kind kind = Kind::none;
    std::uint32_t detail = 0; // started: attempt; settled: outcome; died: 1 when it was killed by us
    std::uint64_t id = 0;
    std::uint64_t hash = 0; // of the result
    std::int64_t pid = 0;   // who wrote it; died: who died
    std::int64_t at_ns = 0; // CLOCK_MONOTONIC, the same for all processes
};

/// Where one process appends. A line counts once it is complete: a death in the middle leaves none.
class LedgerPage {
  public:
    void started(std::uint64_t id, std::uint32_t attempt = 1) { append(LedgerEntry::Kind::started, id, 0, attempt); }
    /// Before the result is published.
    void finished(std::uint64_t id, std::uint64_t hash) { append(LedgerEntry::Kind::finished, id, hash, 0); }
    /// After it.
    void published(std::uint64_t id) { append(LedgerEntry::Kind::published, id, 0, 0); }

  private:
    friend class Ledger;
    struct Memory; // in the shared mapping
    explicit LedgerPage(Memory* memory) noexcept : memory_(memory) {}
    void append(LedgerEntry::Kind kind, std::uint64_t id, std::uint64_t hash, std::uint32_t detail,
                std::int64_t pid = 0);
    Memory* memory_;
};

/// What happened, by kind, and what the checker needs to know besides.
struct LedgerHistory {
    std::vector<LedgerEntry> entries;                                 // in order of time
    bool retries = false;                                             // the caller wrote .retries
    std::chrono::nanoseconds settle_limit = std::chrono::seconds(10); // H
};

/// Shared memory, inherited by children of fork() and, through fd(), by other programs.
class Ledger {
  public:
    enum class Outcome : std::uint32_t {
        success,     // the job's own value or exception arrived
        worker_died, // WorkerDied
        other        // anything else: cancelled, broken pool, ...
    };

    /// What is never written takes no memory. Throws std::system_error when there are no descriptors left for it.
    explicit Ledger(std::size_t workers, std::size_t entries_per_page = 4096);
    /// The same ledger in another program: `fd` was inherited from it.
    static Ledger attach(int fd);
    Ledger(Ledger&& other) noexcept;
    Ledger& operator=(Ledger&&) = delete;
    ~Ledger();

    /// 1 ... workers. Several processes may write to one; a worker that is started anew may go on with the old one.
    [[nodiscard]] LedgerPage page(std::size_t worker) const;
    /// Without close-on-exec.
    [[nodiscard]] int fd() const noexcept { return fd_; }

    // ---- by the parent
    void submitted(std::uint64_t id) { parent().append(LedgerEntry::Kind::submitted, id, 0, 0); }
    void settled(std::uint64_t id, Outcome outcome, std::uint64_t hash = 0) {
        parent().append(LedgerEntry::Kind::settled, id, hash, static_cast<std::uint32_t>(outcome));
    }
    /// A worker is gone; `killed`: it is counted among the kills.
    void died(pid_t pid, bool killed) { parent().append(LedgerEntry::Kind::died, 0, 0, killed ? 1 : 0, pid); }
    /// A fault of another kind was injected.
    void fault() { parent().append(LedgerEntry::Kind::fault, 0, 0, 0); }

    /// All pages together.
    [[nodiscard]] LedgerHistory history() const;

  private:
    Ledger(int fd, void* memory, std::size_t bytes) noexcept : fd_(fd), memory_(memory), bytes_(bytes) {}
    [[nodiscard]] LedgerPage parent() const { return page(0); }
    int fd_ = -1;
    void* memory_ = nullptr;
    std::size_t bytes_ = 0;
};

/// A sentence for each violation, beginning with the invariant's name: "I1: job 7 settled 2 times". Empty: all hold.
std::vector<std::string> broken_invariants(const LedgerHistory& history);

} // namespace sennit::testing

#include "ledger.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <map>
#include <new>
#include <set>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace sennit::testing {

// The mapping: a Head, then 1 + workers pages of a count and the entries.
struct LedgerPage::Memory {
    std::uint64_t capacity;
    std::atomic<std::uint64_t> used; // entries that somebody has taken; each is complete once it has its kind
    LedgerEntry* entries() noexcept { return reinterpret_cast<LedgerEntry*>(this + 1); }
};

namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free); // works between processes

struct Head {
    std::uint64_t magic, pages, entries_per_page, page_bytes;
};
constexpr std::uint64_t magic_number = 0x7265'6764'656c'6e73u;

std::int64_t now_ns() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

void* map(int fd, std::size_t bytes) {
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "Ledger: mmap");
    return memory;
}

} // namespace

void LedgerPage::append(LedgerEntry::Kind kind, std::uint64_t id, std::uint64_t hash, std::uint32_t detail,
                        std::int64_t pid) {
    // relaxed: it hands out places, nothing else.
    const std::uint64_t n = memory_->used.fetch_add(1, std::memory_order_relaxed);
    if (n >= memory_->capacity) throw std::length_error("Ledger: the page is full; give it more entries_per_page");
    LedgerEntry& entry = memory_->entries()[n];
    entry.detail = detail;
    entry.id = id;
    entry.hash = hash;
    entry.pid = pid != 0 ? pid : ::getpid();
    entry.at_ns = now_ns();
    // release: the entry is complete; meets the acquire in history().
    std::atomic_ref(entry.kind).store(kind, std::memory_order_release);
}

Ledger::Ledger(std::size_t workers, std::size_t entries_per_page) {
    const std::size_t page_bytes = sizeof(LedgerPage::Memory) + entries_per_page * sizeof(LedgerEntry);
    bytes_ = sizeof(Head) + (1 + workers) * page_bytes;
    fd_ = ::memfd_create("sennit-ledger", 0);
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "Ledger: memfd_create");
    // Sparse: what is never written takes no memory, and almost all of it never is.
    if (::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) {
        const int error = errno;
        ::close(fd_);
        throw std::system_error(error, std::generic_category(), "Ledger: ftruncate");
    }
    try {
        memory_ = map(fd_, bytes_);
    } catch (...) {
        ::close(fd_);
        throw;
    }
    new (memory_) Head{magic_number, 1 + workers, entries_per_page, page_bytes};
    for (std::size_t i = 0; i <= workers; ++i)
        new (static_cast<char*>(memory_) + sizeof(Head) + i * page_bytes) LedgerPage::Memory{entries_per_page, {0}};
}

Ledger Ledger::attach(int fd) {
    struct stat about {};
    if (::fstat(fd, &about) != 0) throw std::system_error(errno, std::generic_category(), "Ledger: fstat");
    const auto bytes = static_cast<std::size_t>(about.st_size);
    if (bytes < sizeof(Head)) throw std::invalid_argument("Ledger: this descriptor is not one of a ledger");
    Ledger ledger(fd, map(fd, bytes), bytes);
    if (static_cast<Head*>(ledger.memory_)->magic != magic_number)
        throw std::invalid_argument("Ledger: this descriptor is not one of a ledger");
    return ledger;
}

Ledger::Ledger(Ledger&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      memory_(std::exchange(other.memory_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Ledger::~Ledger() {
    if (memory_) ::munmap(memory_, bytes_);
    if (fd_ >= 0) ::close(fd_);
}

LedgerPage Ledger::page(std::size_t worker) const {
    const Head& head = *static_cast<Head*>(memory_);
    if (worker >= head.pages) throw std::out_of_range("Ledger: there is no page " + std::to_string(worker));
    return LedgerPage(
        reinterpret_cast<LedgerPage::Memory*>(static_cast<char*>(memory_) + sizeof(Head) + worker * head.page_bytes));
}

LedgerHistory Ledger::history() const {
    LedgerHistory history;
    for (std::size_t i = 0; i < static_cast<Head*>(memory_)->pages; ++i) {
        const LedgerPage p = page(i);
        // relaxed: an entry beyond it was begun after we looked.
        const std::uint64_t used = std::min(p.memory_->used.load(std::memory_order_relaxed), p.memory_->capacity);
        for (LedgerEntry *entry = p.memory_->entries(), *end = entry + used; entry != end; ++entry)
            // acquire: meets the release in append(). None: who wrote it has died over it, or is about to.
            if (std::atomic_ref(entry->kind).load(std::memory_order_acquire) != LedgerEntry::Kind::none)
                history.entries.push_back(*entry);
    }
    std::sort(history.entries.begin(), history.entries.end(),
              [](const LedgerEntry& a, const LedgerEntry& b) { return a.at_ns < b.at_ns; });
    return history;
}

namespace {

// What the ledger says of one job.
struct Job {
    std::vector<const LedgerEntry*> submitted, started, finished, published, settled;
};

Ledger::Outcome outcome_of(const LedgerEntry& settled) { return static_cast<Ledger::Outcome>(settled.detail); }

const char* name_of(Ledger::Outcome outcome) {
    switch (outcome) {
    case Ledger::Outcome::success:
        return "success";
    case Ledger::Outcome::worker_died:
        return "WorkerDied";
    case Ledger::Outcome::other:
        return "something else";
    }
    return "?";
}

} // namespace

std::vector<std::string> broken_invariants(const LedgerHistory& history) {
    using Kind = LedgerEntry::Kind;
    std::map<std::uint64_t, Job> jobs;
    std::set<std::int64_t> dead;
    std::int64_t kills = 0, last_fault = -1, last_settlement = -1;
    for (const LedgerEntry& e : history.entries) {
        switch (e.kind) {
        case Kind::none:
            break;
        case Kind::submitted:
            jobs[e.id].submitted.push_back(&e);
            break;
        case Kind::started:
            jobs[e.id].started.push_back(&e);
            break;
        case Kind::finished:
            jobs[e.id].finished.push_back(&e);
            break;
        case Kind::published:
            jobs[e.id].published.push_back(&e);
            break;
        case Kind::settled:
            jobs[e.id].settled.push_back(&e);
            last_settlement = std::max(last_settlement, e.at_ns);
            break;
        case Kind::died:
            dead.insert(e.pid);
            kills += e.detail;
            last_fault = std::max(last_fault, e.at_ns);
            break;
        case Kind::fault:
            last_fault = std::max(last_fault, e.at_ns);
            break;
        }
    }

    std::vector<std::string> broken;
    const auto say = [&](const char* which, std::uint64_t id, const std::string& what) {
        broken.push_back(std::string(which) + ": job " + std::to_string(id) + ' ' + what);
    };
    const auto times = [](std::size_t n) { return std::to_string(n) + " times"; };
    std::int64_t worker_deaths = 0;
    for (const auto& [id, job] : jobs) {
        if (job.settled.size() != 1) say("I1", id, "settled " + times(job.settled.size()));
        if (job.submitted.size() > 1) say("I1", id, "was submitted " + times(job.submitted.size()));
        if (job.submitted.empty()) say("I1", id, "was never submitted");

        if (!history.retries) {
            if (job.started.size() > 1) say("I2", id, "started " + times(job.started.size()));
            if (job.finished.size() > 1) say("I2", id, "finished " + times(job.finished.size()));
        } else {
            std::map<std::uint32_t, int> attempts;
            for (const auto* e : job.started)
                if (++attempts[e->detail] == 2) say("I2", id, "started twice in attempt " + std::to_string(e->detail));
            if (job.finished.size() > job.started.size()) say("I2", id, "finished more often than it started");
        }

        const bool dead_started =
            std::any_of(job.started.begin(), job.started.end(), [&](const auto* e) { return dead.contains(e->pid); });
        for (const auto* settled : job.settled) {
            const auto outcome = outcome_of(*settled);
            if (outcome == Ledger::Outcome::success) {
                const auto matching = std::count_if(job.finished.begin(), job.finished.end(),
                                                    [&](const auto* e) { return e->hash == settled->hash; });
                if (matching == 0)
                    say("I3", id, "succeeded, and nobody has finished it with that result");
                else if (matching > 1 && !history.retries)
                    say("I3", id, "succeeded, and was finished with that result " + times(std::size_t(matching)));
            }
            if (outcome == Ledger::Outcome::worker_died) {
                ++worker_deaths;
                if (!dead_started) say("I4", id, "got WorkerDied, and nobody who is dead had started it");
            } else if (outcome != Ledger::Outcome::success && !dead_started) {
                say("I5", id, std::string("was started by nobody who is dead, and got ") + name_of(outcome));
            }
            if (!job.published.empty() && outcome != Ledger::Outcome::success)
                say("I7", id, std::string("was published, and got ") + name_of(outcome));
        }
    }
    if (worker_deaths > kills)
        broken.push_back("I6: " + std::to_string(worker_deaths) + " jobs got WorkerDied after " +
                         std::to_string(kills) + " kills");
    if (last_fault >= 0 && last_settlement - last_fault > history.settle_limit.count())
        broken.push_back("I8: the last settlement came " + std::to_string((last_settlement - last_fault) / 1'000'000) +
                         " ms after the last fault");
    return broken;
}

} // namespace sennit::testing

// What happens to the jobs of a pool of processes when its workers die, stop, lie or never begin (P1-P4, P6).
#include "support/call_trap.hpp"
#include "support/fault_point.hpp"
#include "support/fault_row.hpp"
#include "support/ledger.hpp"
#include "support/seed.hpp"
#include "support/snapshot.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/os/system_state.hpp>
#include <sennit/subprocess.hpp>

#include <atomic>
#include <cerrno>
#include <cfenv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <set>
#include <string>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;
namespace mp = multiprocessing;
using Clock = std::chrono::steady_clock;

void rest(int ms) { ::poll(nullptr, 0, ms); }

class PoolFaults : public SnapshotTest {
  protected:
    // The process that children are copied from stays.
    static void SetUpTestSuite() {
        mp::Pool(1).apply([] {});
    }
    static void TearDownTestSuite() { mp::detail::stop_forkserver(); }
};
class F1WorkersKilled : public PoolFaults {};
class F2Points : public PoolFaults {};
class F3SystemCalls : public PoolFaults {};
class F4Ends : public PoolFaults {};
class F5Stopped : public PoolFaults {};
class F6Pool : public PoolFaults {};
class F8Initializer : public PoolFaults {};
class F10NestedProcessPools : public PoolFaults {};
class F11Cargo : public PoolFaults {};
class F12Scribbler : public PoolFaults {};

// ---- the workers' side of the ledger

// A descriptor that travels.
struct Descriptor {
    int fd;
    void pack(mp::CargoWriter& to) const { to.attach(fd); }
    static Descriptor unpack(mp::CargoReader& from) { return {from.take_fd().release()}; }
};

constexpr std::size_t pages = 509; // a worker's is chosen by its pid: those that live together have different ones
std::unique_ptr<Ledger> ledger_here;

void open_ledger(const Descriptor& fd) { ledger_here = std::make_unique<Ledger>(Ledger::attach(fd.fd)); }
LedgerPage own_page() { return ledger_here->page(1 + static_cast<std::size_t>(::getpid()) % pages); }

std::uint64_t hash_of(std::uint64_t id) { return (id + 1) * 0x9e3779b97f4a7c15U; }

enum class End : int { none, kill, segv, abort, exit_3, quick, many };

std::uint64_t ledger_job(std::uint64_t id, int ms, End end) {
    own_page().started(id);
    if (ms > 0) rest(ms);
    switch (end) {
    case End::kill:
        ::raise(SIGKILL);
        break;
    case End::segv:
        std::signal(SIGSEGV, SIG_DFL);
        ::raise(SIGSEGV);
        break;
    case End::abort:
        std::signal(SIGABRT, SIG_DFL);
        ::raise(SIGABRT);
        break;
    case End::exit_3:
        std::_Exit(3);
    case End::quick:
        std::_Exit(0);
    default:
        break;
    }
    own_page().finished(id, hash_of(id));
    return hash_of(id);
}

constexpr int nobody_knows = -1; // a TimeoutError does not name the worker

// What the ledger says, and what the pool says was begun by whom: a worker may be killed before the job says so itself.
void expect_invariants(const Ledger& ledger, const std::vector<LedgerEntry>& begun, bool stops = false) {
    LedgerHistory history = ledger.history();
    std::set<std::uint64_t> noted;
    for (const auto& e : history.entries)
        if (e.kind == LedgerEntry::Kind::started) noted.insert(e.id);
    if (stops) {
        // The worker that a time-out has ended is dead; who it was, its own note tells, if it was not stopped before that.
        LedgerEntry unknown;
        unknown.kind = LedgerEntry::Kind::died;
        unknown.pid = nobody_knows;
        history.entries.push_back(unknown);
        for (const auto& e : ledger.history().entries)
            if (e.kind == LedgerEntry::Kind::started) {
                LedgerEntry death;
                death.kind = LedgerEntry::Kind::died;
                death.pid = e.pid;
                history.entries.push_back(death);
            }
        history.settle_limit = 60s;
    }
    for (const auto& e : begun)
        if (!noted.contains(e.id)) history.entries.push_back(e);
    const auto broken = broken_invariants(history);
    for (std::size_t i = 0; i < broken.size() && i < 10; ++i) ADD_FAILURE() << broken[i];
    EXPECT_EQ(broken.size(), 0U);
}
LedgerEntry begun_by(std::uint64_t id, int pid) {
    LedgerEntry entry;
    entry.kind = LedgerEntry::Kind::started;
    entry.id = id;
    entry.pid = pid;
    return entry;
}

// Sends a signal to a process of the pool's, and to nobody who got its number later.
bool send_signal(const mp::Pool& pool, pid_t pid, int signal) {
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) return false;
    bool sent = false;
    for (const int p : pool.pids())
        if (p == pid) sent = ::syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0) == 0;
    ::close(fd);
    return sent;
}

struct Storm {
    std::int64_t jobs = 1000;
    std::int64_t kills = 20;
    int every_ms = 20;
    bool stops = false;    // with a time-out
    unsigned own_ends = 0; // per mille of the jobs end their worker themselves
    std::size_t maxtasks = 0;
    std::string context = {};
    std::vector<int> durations = {0, 1, 5};
};

// The jobs of a storm, checked by the ledger. Gives the rate of WorkerDied among them.
void storm(const Storm& how, FaultRow& row) {
    FaultRow::Trial trial(row);
    Random random(seed());
    Ledger ledger(pages, static_cast<std::size_t>(std::max<std::int64_t>(8'000, 3 * how.jobs)));
    mp::ProcessPoolOptions options{.initializer = {open_ledger, Descriptor{ledger.fd()}},
                                   .maxtasksperchild = how.maxtasks,
                                   .context = how.context};
    if (how.stops) options.task_timeout = 300ms;
    mp::Pool pool(4, options);
    pool.apply([] {});

    std::vector<mp::AsyncResult<std::uint64_t>> all;
    all.reserve(static_cast<std::size_t>(how.jobs));
    std::atomic<bool> over{false};
    std::atomic<std::int64_t> kills{0};
    std::vector<pid_t> killed;
    const std::uint64_t killer_seed = random();
    std::thread killer([&] {
        Random chance(killer_seed);
        while (!over && kills < how.kills) {
            rest(static_cast<int>(chance.below(static_cast<std::uint64_t>(2 * how.every_ms)) + 1));
            const auto pids = pool.pids();
            if (pids.empty() || over) continue;
            const pid_t pid = pids[chance.below(pids.size())];
            // A sanitizer's report of a SIGSEGV takes locks that may be held where it comes, and then the worker does not die.
            static constexpr int deadly[] = {SIGKILL, sanitized() ? SIGKILL : SIGSEGV, SIGABRT, SIGKILL, SIGSTOP};
            const int signal = deadly[chance.below(how.stops ? 5 : 4)];
            if (!send_signal(pool, pid, signal)) continue;
            killed.push_back(pid);
            ++kills;
        }
    });
    for (std::int64_t i = 0; i < how.jobs; ++i) {
        const auto id = static_cast<std::uint64_t>(i);
        ledger.submitted(id);
        const End end = random.below(1000) < how.own_ends ? static_cast<End>(1 + random.below(5)) : End::none;
        all.push_back(
            pool.apply_async(ledger_job, std::tuple(id, how.durations[random.below(how.durations.size())], end)));
    }
    std::vector<LedgerEntry> begun;
    std::set<int> dead;
    std::int64_t died = 0, timed_out = 0;
    for (std::int64_t i = 0; i < how.jobs; ++i) {
        const auto id = static_cast<std::uint64_t>(i);
        auto& result = all[static_cast<std::size_t>(i)];
        if (!result.wait(120s)) {
            ADD_FAILURE() << "job " << id << " of " << how.jobs << " was never settled";
            break;
        }
        try {
            ledger.settled(id, Ledger::Outcome::success, result.get());
        } catch (const mp::WorkerDied& e) {
            ++died;
            dead.insert(e.pid());
            begun.push_back(begun_by(id, e.pid()));
            EXPECT_EQ(e.task().value_or(0), id + 1) << "the pool counts the one job before these";
            ledger.settled(id, Ledger::Outcome::worker_died);
        } catch (const TimeoutError&) {
            ++timed_out;
            begun.push_back(begun_by(id, nobody_knows));
            ledger.settled(id, Ledger::Outcome::other);
        } catch (const std::exception& e) {
            ADD_FAILURE() << "job " << id << ": " << e.what();
            ledger.settled(id, Ledger::Outcome::other);
        }
    }
    over = true;
    killer.join();
    for (const pid_t pid : killed) ledger.died(pid, true);
    const std::set<pid_t> by_us(killed.begin(), killed.end());
    for (const int pid : dead)
        if (!by_us.contains(pid)) ledger.died(pid, true); // by its own hand
    EXPECT_EQ(pool.apply([](int x) { return x + 1; }, 1), 2) << "the pool is as before";
    pool.close();
    pool.join();

    expect_invariants(ledger, begun, how.stops);
    if (how.stops) {
        EXPECT_LE(timed_out, kills);
    }
    trial.injected = kills + static_cast<std::int64_t>(dead.size());
    std::printf("[  STORM   ] %lld jobs, %lld signals, %lld WorkerDied, %lld TimeoutError\n",
                static_cast<long long>(how.jobs), static_cast<long long>(kills), static_cast<long long>(died),
                static_cast<long long>(timed_out));
}

TEST_F(F1WorkersKilled, every_future_settles_once_and_only_what_ran_in_a_dead_one_fails) {
    FaultRow row("F1");
    storm({.jobs = by_tier(2'000, 20'000, 500'000), .kills = by_tier(50, 500, 10'000)}, row);
}

TEST_F(F1WorkersKilled, tiny_jobs_that_are_handed_out_far_ahead_run_once_each) {
    FaultRow row("F1");
    storm({.jobs = by_tier(20'000, 100'000, 200'000),
           .kills = by_tier(20, 100, 200),
           .every_ms = 3,
           .own_ends = 1,
           .durations = {0}},
          row);
}

TEST_F(F1WorkersKilled, the_other_ways_to_start_a_worker_and_recycling_change_nothing) {
    FaultRow row("F1");
    storm({.jobs = by_tier(300, 3'000, 30'000), .kills = by_tier(8, 80, 800), .maxtasks = 20, .context = "forkserver"},
          row);
    storm({.jobs = by_tier(200, 2'000, 20'000), .kills = by_tier(5, 50, 500), .context = "spawn"}, row);
    storm({.jobs = by_tier(200, 2'000, 20'000), .kills = by_tier(5, 50, 500), .maxtasks = 30, .context = "fork"}, row);
}

// The must-show, at tier 2 and 3: 200,000 jobs, every few milliseconds one of KILL, SEGV, ABRT, exit and STOP.
TEST_F(F1WorkersKilled, stopped_ones_are_ended_by_the_time_out_and_cost_their_job_alone) {
    FaultRow row("F1");
    storm({.jobs = by_tier(600, 200'000, 200'000),
           .kills = by_tier(10, 400, 2'000),
           .every_ms = 10,
           .stops = true,
           .own_ends = 2,
           .durations = by_tier(0, 1, 1) ? std::vector<int>{0, 0, 0, 0, 0, 0, 0, 0, 0, 1} : std::vector<int>{0, 1}},
          row);
}

// How often each job has run, as its worker counts it.
std::unique_ptr<mp::RawArray<int>> runs_here;
void keep_runs(const mp::RawArray<int>& runs) { runs_here = std::make_unique<mp::RawArray<int>>(runs); }

int counted_job(int n, bool lethal) {
    __atomic_add_fetch(&(*runs_here)[static_cast<std::size_t>(n)], 1, __ATOMIC_RELAXED);
    if (lethal && n % 50 == 49) ::raise(n % 100 == 99 ? SIGSTOP : SIGKILL);
    if (n % 8 == 0) rest(n % 3);
    return 3 * n;
}

// The must-show, at tier 2: 200,000 jobs under terminate(), under the destructor, and while others kill the workers.
TEST_F(F1WorkersKilled, terminate_at_a_random_moment_settles_all_and_is_over_soon) {
    FaultRow row("F1");
    Random random(seed());
    const auto trials = by_tier(24, 250, 1'000);
    const int jobs = static_cast<int>(by_tier(400, 800, 800));
    std::int64_t done = 0, cancelled = 0, died = 0;
    for (std::int64_t t = 0; t < trials; ++t) {
        SCOPED_TRACE(t);
        const NothingLeaks around; // no process, zombie, descriptor, segment or thread of this pool's
        std::vector<mp::AsyncResult<int>> all;
        mp::RawArray<int> runs(static_cast<std::size_t>(jobs));
        std::optional<mp::Pool> pool(std::in_place, 4, mp::ProcessPoolOptions{.initializer = {keep_runs, runs}});
        const bool lethal = random.below(4) != 0, shot_at = random.below(2) == 0;
        std::atomic<bool> over{false};
        std::atomic<std::int64_t> kills{0};
        std::thread killer;
        if (shot_at)
            killer = std::thread([&, chance = Random(random())]() mutable {
                while (!over) {
                    rest(static_cast<int>(chance.below(6)));
                    const auto pids = pool->pids();
                    if (!pids.empty())
                        kills += send_signal(*pool, pids[chance.below(pids.size())],
                                             chance.below(3) == 0 ? SIGSTOP : SIGKILL);
                }
            });
        for (int i = 0; i < jobs; ++i) all.push_back(pool->apply_async(counted_job, std::tuple(i, lethal)));
        rest(static_cast<int>(random.below(lethal || shot_at ? 60 : 40)));
        const auto began = Clock::now();
        if (random.below(2) == 0) {
            pool->terminate();
            pool->join();
            over = true;
            if (shot_at) killer.join();
            pool.reset();
        } else {
            over = true;
            if (shot_at) killer.join();
            pool.reset();
        }
        const auto took = Clock::now() - began;
        row.trial(1 + kills, took);
        EXPECT_LT(took, 10s);
        for (int i = 0; i < jobs; ++i) {
            auto& one = all[static_cast<std::size_t>(i)];
            const int ran = runs[static_cast<std::size_t>(i)];
            ASSERT_TRUE(one.ready()) << "job " << i << " was never settled";
            ASSERT_LE(ran, 1) << "job " << i << " ran twice";
            try {
                ASSERT_EQ(one.get(), 3 * i);
                ASSERT_EQ(ran, 1);
                ++done;
            } catch (const CancelledError&) {
                ++cancelled;
            } catch (const mp::WorkerDied&) {
                ++died;
            }
        }
    }
    std::printf("[  STORM   ] %lld jobs in %lld pools: %lld done, %lld CancelledError, %lld WorkerDied\n",
                static_cast<long long>(trials * jobs), static_cast<long long>(trials), static_cast<long long>(done),
                static_cast<long long>(cancelled), static_cast<long long>(died));
    EXPECT_GT(done, 0);
    EXPECT_GT(cancelled, 0);
}

// A child that isn't the library's.
pid_t start_child(void (*body)(int), int fd) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        body(fd);
        ::_exit(0);
    }
    return child;
}

bool is_alive(pid_t pid) {
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) return false;
    pollfd ended{fd, POLLIN, 0};
    const bool alive = ::poll(&ended, 1, 0) == 0;
    ::close(fd);
    return alive;
}

// ---- F2

#if defined(SENNIT_FAULT_POINTS)

struct PointCase {
    const char* point;
    bool began; // a death there is the job's
    bool done;  // the result counts
};
constexpr PointCase worker_points[] = {
    {"pool.worker.job_taken", false, false},    {"pool.worker.noted_started", true, false},
    {"pool.worker.before_run", true, false},    {"pool.worker.after_run", true, false},
    {"pool.worker.encoded", true, false},       {"pool.worker.before_publish", true, false},
    {"pool.worker.after_publish", false, true}, {"pool.worker.before_bell", false, true},
};

TEST_F(F2Points, a_worker_that_dies_at_any_point_costs_what_the_table_says) {
    FaultRow row("F2");
    const auto rounds = by_tier(1, 10, 50);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (const auto& p : worker_points)
            for (const char* action : {"kill", "abort", "exit:0", "exit:3"}) {
                FaultRow::Trial trial(row);
                trial.injected = 1;
                mp::Pool pool(2);
                // Armed by a job; the next one meets it. Bell and publication also come with this one's own result.
                const std::string entry = std::string(p.point) + "=" + action +
                                          (p.done || std::string(p.point) == "pool.worker.encoded" ||
                                                   std::string(p.point) == "pool.worker.before_publish" ||
                                                   std::string(p.point) == "pool.worker.after_run"
                                               ? "@2"
                                               : "");
                int deaths = 0;
                for (int i = 0; i < 6; ++i) {
                    auto result = pool.apply_async(
                        [](const std::string& faults, int n, int ms) {
                            static bool armed = false;
                            if (n == 0 && !std::exchange(armed, true)) base::arm_faults(faults.c_str());
                            rest(ms);
                            return n;
                        },
                        // So long that the parent sleeps, and first hears of the death.
                        std::tuple(entry, i, p.done ? 2 : 0));
                    try {
                        EXPECT_EQ(result.get(30s), i) << p.point;
                    } catch (const mp::WorkerDied& e) {
                        ++deaths;
                        EXPECT_NE(i, 0) << p.point << " " << action;
                        EXPECT_EQ(e.exitcode(), action[0] == 'k'   ? -SIGKILL
                                                : action[0] == 'a' ? -SIGABRT
                                                                   : action[5] - '0');
                    }
                }
                EXPECT_LE(deaths, p.began ? 1 : 0) << p.point << " " << action;
                EXPECT_EQ(pool.apply([] { return 5; }), 5);
            }
}

TEST_F(F2Points, a_parent_that_dies_at_any_point_leaves_no_worker) {
    FaultRow row("F2");
    const auto rounds = by_tier(1, 10, 50);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (const char* point : {"pool.parent.reserved", "pool.parent.wrote_job", "pool.parent.saw_death",
                                  "pool.parent.took_back", "pool.parent.refilled", "pool.parent.settled"}) {
            FaultRow::Trial trial(row);
            trial.injected = 1;
            int fds[2];
            ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
            static const char* armed = nullptr;
            armed = point;
            const pid_t parent = start_child(
                [](int fd) {
                    mp::Pool pool(2);
                    pool.apply([] {});
                    std::vector<int> pids;
                    while ((pids = pool.pids()).size() < 2) rest(1);
                    for (const int pid : pids)
                        if (::write(fd, &pid, sizeof pid) != sizeof pid) return;
                    base::arm_faults((std::string(armed) + "=kill").c_str());
                    std::vector<mp::AsyncResult<void>> all;
                    for (int i = 0; i < 50; ++i)
                        all.push_back(pool.apply_async(
                            [](int n) {
                                if (n == 3) ::raise(SIGKILL);
                            },
                            std::tuple(i)));
                    for (auto& one : all) one.wait();
                    for (int i = 0; i < 5000; ++i) rest(1); // it dies before, somewhere
                },
                fds[1]);
            ::close(fds[1]);
            std::vector<int> workers;
            for (int pid = 0; ::read(fds[0], &pid, sizeof pid) == sizeof pid;) workers.push_back(pid);
            ::close(fds[0]);
            int status = 0;
            ASSERT_EQ(::waitpid(parent, &status, 0), parent);
            EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << point << ": it was to die there";
            EXPECT_EQ(workers.size(), 2U);
            const auto until = Clock::now() + 10s;
            for (const int pid : workers) {
                while (is_alive(pid) && Clock::now() < until) rest(1);
                EXPECT_FALSE(is_alive(pid)) << point;
            }
        }
}

#endif

// ---- F3

#if defined(SENNIT_HAS_CALL_TRAP)

struct Victim {
    int taken = 0;
    CallTrap trap;
};
std::unique_ptr<mp::RawValue<Victim>> victim_here;

void trap_the_first_worker(const Descriptor& ledger, const mp::RawValue<Victim>& victim) {
    open_ledger(ledger);
    if (__atomic_exchange_n(&victim->taken, 1, __ATOMIC_RELAXED) != 0) return;
    victim_here = std::make_unique<mp::RawValue<Victim>>(victim);
    if (!trap_calls((*victim_here)->trap)) throw std::runtime_error("this kernel has no filters of system calls");
}
std::string answer_of(std::uint64_t id, std::size_t bytes) {
    own_page().started(id);
    std::string out(bytes, static_cast<char>('a' + id % 26));
    own_page().finished(id, hash_of(id));
    return out;
}
std::string with_ballast(std::uint64_t id, const std::string&, std::size_t bytes) { return answer_of(id, bytes); }
std::string with_descriptor(std::uint64_t id, const Descriptor& pipe) {
    ::close(pipe.fd);
    return answer_of(id, 10);
}

// A pool whose first worker dies at its n-th system call after it has been made, before or after the kernel has done it. Gives how
// many it made.
std::int64_t die_at_call(std::int64_t n, bool after, const char* context, FaultRow* row) {
    SCOPED_TRACE(std::string(context) + ", call " + std::to_string(n) + (after ? ", after it" : ", before it"));
    const auto start = Clock::now();
    Ledger ledger(pages, 256);
    mp::RawValue<Victim> victim;
    victim->trap.deadly = n;
    victim->trap.after = after;
    std::vector<LedgerEntry> begun;
    std::int64_t deaths = 0;
    {
        mp::Pool pool(2, {.initializer = {trap_the_first_worker, Descriptor{ledger.fd()}, victim}, .context = context});
        constexpr std::uint64_t jobs = 16;
        const auto size = [](std::uint64_t id) { return id % 5 == 2 ? std::size_t{700'000} : std::size_t{10}; };
        std::vector<mp::AsyncResult<std::string>> all;
        int ends[2];
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        for (std::uint64_t id = 0; id < jobs; ++id) {
            ledger.submitted(id);
            if (id % 8 == 3)
                all.push_back(pool.apply_async(with_descriptor, std::tuple(id, Descriptor{ends[0]})));
            else // some are larger than a ring, on the way there or back
                all.push_back(pool.apply_async(
                    with_ballast,
                    std::tuple(id, std::string(id % 5 == 1 ? std::size_t{700'000} : std::size_t{10}, 'x'), size(id))));
            if (id == 7) { // all of them go to sleep
                for (auto& one : all) one.wait(60s);
                rest(1);
            }
        }
        for (std::uint64_t id = 0; id < jobs; ++id) {
            try {
                const std::string got = all[id].get(60s);
                EXPECT_EQ(got, std::string(size(id), static_cast<char>('a' + id % 26)));
                ledger.settled(id, Ledger::Outcome::success, hash_of(id));
            } catch (const mp::WorkerDied& e) {
                ++deaths;
                begun.push_back(begun_by(id, e.pid()));
                ledger.died(e.pid(), true);
                ledger.settled(id, Ledger::Outcome::worker_died);
            } catch (const std::exception& e) {
                ADD_FAILURE() << "job " << id << ": " << e.what();
                ledger.settled(id, Ledger::Outcome::other);
            }
        }
        pool.close();
        pool.join();
        ::close(ends[0]);
        ::close(ends[1]);
    }
    EXPECT_LE(deaths, victim->trap.deadly_call != 0 ? 1 : 0);
    expect_invariants(ledger, begun);
    if (row) row->trial(victim->trap.deadly_call != 0 ? 1 : 0, Clock::now() - start);
    return victim->trap.calls;
}

TEST_F(F3SystemCalls, a_worker_that_is_killed_at_any_of_them_costs_what_it_had_begun) {
    FaultRow row("F3");
    Random random(seed());
    std::int64_t most = 0;
    for (const char* context : {"forkserver", "spawn", "fork"}) {
        if (by_tier(1, 0, 0) == 1 && most > 0) break; // the first one
        std::int64_t calls = 0;
        for (int i = 0; i < 3; ++i) calls = std::max(calls, die_at_call(0, false, context, nullptr));
        ASSERT_GT(calls, 10);
        most = std::max(most, calls);
        const auto step = static_cast<std::uint64_t>(by_tier(std::max<std::int64_t>(calls / 5, 1), 7, 1));
        for (const bool after : {false, true})
            for (std::uint64_t n = 1 + random.below(step); n <= static_cast<std::uint64_t>(calls); n += step)
                die_at_call(static_cast<std::int64_t>(n), after, context, &row);
    }
    std::printf("[  CALLS   ] a worker made up to %lld system calls\n", static_cast<long long>(most));
}

#endif

// ---- F4

void end_in(int way) {
    for (const int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
        std::signal(s, SIG_DFL); // a sanitizer's report is none of this
    switch (way) {
    case 0:
        ::raise(SIGSEGV);
        break;
    case 1:
        ::abort();
    case 2:
        ::raise(SIGBUS);
        break;
    case 3:
        ::raise(SIGFPE);
        break;
    case 4:
        ::raise(SIGILL);
        break;
    case 5:
        ::raise(SIGXCPU);
        break;
    case 6:
        std::exit(0);
    case 7:
        std::exit(3);
    case 8:
        ::_exit(4);
    case 9:
        std::quick_exit(5);
    case 10:
        ::execl("/bin/true", "true", static_cast<char*>(nullptr));
        break;
    case 11:
        throw 42;
    case 12: {
        const rlimit none{};
        ::setrlimit(RLIMIT_NOFILE, &none);
        throw std::bad_alloc();
    }
    case 13:
        for (int fd = 3; fd < 256; ++fd) ::close(fd);
        ::raise(SIGKILL);
        break;
    case 14:
        static_cast<void>(::chdir("/"));
        ::setenv("LANG", "x", 1);
        throw std::length_error("moved");
    case 15:
        std::terminate();
    case 16:
        ::raise(SIGTERM);
        break;
    case 17:
        ::raise(SIGHUP);
        break;
    default:
        break;
    }
}

TEST_F(F4Ends, each_way_to_end_is_told_and_costs_one_job) {
    FaultRow row("F4");
    constexpr int expected[] = {-SIGSEGV, -SIGABRT, -SIGBUS, -SIGFPE, -SIGILL,  -SIGXCPU, 0,        3,        4,
                                5,        0,        1000,    1000,    -SIGKILL, 1000,     -SIGABRT, -SIGTERM, -SIGHUP};
    mp::Pool pool(2);
    const auto rounds = by_tier(1, 20, 200);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (int way = 0; way < static_cast<int>(std::size(expected)); ++way) {
            FaultRow::Trial trial(row);
            trial.injected = 1;
            std::vector<mp::AsyncResult<int>> good;
            for (int i = 0; i < 5; ++i) good.push_back(pool.apply_async([](int n) { return n; }, std::tuple(i)));
            auto bad = pool.apply_async(end_in, std::tuple(way));
            for (int i = 5; i < 10; ++i) good.push_back(pool.apply_async([](int n) { return n; }, std::tuple(i)));
            try {
                bad.get(60s);
                ADD_FAILURE() << "way " << way << " did not end";
            } catch (const mp::WorkerDied& e) {
                EXPECT_EQ(e.exitcode(), expected[way]) << "way " << way;
            } catch (const TimeoutError&) {
                ADD_FAILURE() << "way " << way << " was never settled";
            } catch (const std::exception& e) {
                EXPECT_EQ(expected[way], 1000) << "way " << way << ": " << e.what();
            }
            for (int i = 0; i < 10; ++i) EXPECT_EQ(good[static_cast<std::size_t>(i)].get(60s), i) << "way " << way;
        }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)

[[gnu::noinline]] int overflow_stack(int n) {
    volatile char room[16384];
    room[0] = static_cast<char>(n);
    return n > (1 << 28) ? n : overflow_stack(n + 1) + room[0];
}

TEST_F(F4Ends, a_crash_tells_where_and_an_overflow_is_a_crash) {
    mp::Pool pool(1);
    try {
        pool.apply([] { *static_cast<volatile int*>(nullptr) = 1; });
        FAIL();
    } catch (const mp::WorkerDied& e) {
        EXPECT_EQ(e.signal(), SIGSEGV);
        EXPECT_NE(e.stack().find("(+0x"), std::string::npos) << e.stack();
    }
    try {
        pool.apply([] { return overflow_stack(0); });
        FAIL();
    } catch (const mp::WorkerDied& e) {
        EXPECT_EQ(e.signal(), SIGSEGV);
    }
    EXPECT_EQ(pool.apply([] { return 1; }), 1);
}

TEST_F(F4Ends, a_worker_over_its_memory_limit_gets_bad_alloc) {
    mp::Pool pool(1, {.memory_limit = std::uint64_t{256} << 20});
    EXPECT_THROW(pool.apply([] { return std::vector<char>(std::size_t{512} << 20, 'x').size(); }), std::bad_alloc);
    EXPECT_EQ(pool.apply([] { return std::vector<char>(std::size_t{16} << 20, 'x').size(); }), std::size_t{16} << 20);
}

#endif

// ---- F5

TEST_F(F5Stopped, a_stopped_worker_is_not_a_dead_one_and_the_others_go_on) {
    FaultRow row("F5");
    const auto trials = by_tier(5, 50, 500);
    mp::Pool pool(3);
    pool.apply([] {});
    for (std::int64_t t = 0; t < trials; ++t) {
        FaultRow::Trial trial(row);
        trial.injected = 1;
        auto stopped = pool.apply_async(
            [](std::int64_t n) {
                ::raise(SIGSTOP);
                return n;
            },
            std::tuple(t));
        std::vector<mp::AsyncResult<int>> others;
        for (int i = 0; i < 200; ++i) others.push_back(pool.apply_async([](int n) { return n; }, std::tuple(i)));
        for (int i = 0; i < 200; ++i) ASSERT_EQ(others[static_cast<std::size_t>(i)].get(60s), i);
        EXPECT_FALSE(stopped.ready());
        for (const int pid : pool.pids()) send_signal(pool, pid, SIGCONT);
        // It may have been sent before the stop.
        while (!stopped.wait(20ms))
            for (const int pid : pool.pids()) send_signal(pool, pid, SIGCONT);
        EXPECT_EQ(stopped.get(), t);
    }
    EXPECT_EQ(pool.statistics().died, 0U);
}

// Stops all that the pool has, and waits until they are.
std::int64_t stop_all(const mp::Pool& pool, std::size_t n) {
    std::vector<int> pids;
    while ((pids = pool.pids()).size() < n) ::poll(nullptr, 0, 1);
    std::int64_t sent = 0;
    for (const int pid : pids) {
        if (!send_signal(pool, pid, SIGSTOP)) continue;
        ++sent;
        while (!os::is_stopped(pid)) ::poll(nullptr, 0, 1);
    }
    return sent;
}

TEST_F(F5Stopped, one_without_a_job_is_ended_by_the_time_out_when_the_pool_is_closed) {
    FaultRow row("F5");
    FaultRow::Trial trial(row);
    mp::Pool pool(2, {.task_timeout = 300ms});
    trial.injected = stop_all(pool, 2);
    EXPECT_EQ(trial.injected, 2);
    pool.close();
    pool.join();
    EXPECT_EQ(pool.statistics().died, 0U) << "no job";
}

TEST_F(F5Stopped, one_without_a_job_is_ended_when_the_pool_is_closed_and_who_has_a_job_ends_it) {
    FaultRow row("F5");
    FaultRow::Trial trial(row);
    mp::Pool pool(3);
    mp::Event begun, go;
    auto runs = pool.apply_async(
        [](mp::Event b, mp::Event g) {
            b.set();
            return g.wait();
        },
        std::tuple(begun, go));
    begun.wait();
    trial.injected = stop_all(pool, 3);
    EXPECT_EQ(trial.injected, 3);
    const auto pids = pool.pids();
    pool.close();
    while (pool.statistics().processes > 1) ::poll(nullptr, 0, 1);
    EXPECT_FALSE(runs.ready());
    EXPECT_TRUE(os::is_stopped(pool.pids().at(0)));
    for (const int pid : pids) send_signal(pool, pid, SIGCONT);
    go.set();
    EXPECT_TRUE(runs.get(60s));
    pool.join();
    EXPECT_EQ(pool.statistics().died, 0U) << "no job";
}

TEST_F(F5Stopped, one_whose_jobs_were_taken_back_is_ended_when_the_pool_is_closed) {
    FaultRow row("F5");
    FaultRow::Trial trial(row);
    mp::Pool pool(1);
    trial.injected = stop_all(pool, 1);
    EXPECT_EQ(trial.injected, 1);
    auto never = pool.apply_async([] { return 1; });
    while (pool.statistics().handed_out < 1) ::poll(nullptr, 0, 1);
    EXPECT_TRUE(sync::Future<int>(never.future()).cancel());
    pool.close();
    pool.join();
    EXPECT_THROW(never.get(), CancelledError);
    EXPECT_EQ(pool.statistics().died, 0U) << "no job";
}

TEST_F(F5Stopped, one_that_has_begun_no_job_gives_it_to_another_when_the_pool_is_closed) {
    FaultRow row("F5");
    FaultRow::Trial trial(row);
    mp::Pool one(1), other(1);
    trial.injected = stop_all(one, 1) + stop_all(other, 1);
    EXPECT_EQ(trial.injected, 2);
    const auto give = [](mp::Pool& pool, std::size_t bytes) {
        auto size =
            pool.apply_async([](const std::string& s) { return s.size(); }, std::tuple(std::string(bytes, 'x')));
        while (pool.statistics().handed_out < 1) ::poll(nullptr, 0, 1);
        pool.close();
        return size;
    };
    auto small = give(one, 1), large = give(other, 3 << 20); // which is never there whole
    one.join();
    other.join();
    EXPECT_EQ(small.get(), 1U);
    EXPECT_EQ(large.get(), std::size_t{3} << 20);
    EXPECT_EQ(one.statistics().died + other.statistics().died, 0U);
}

TEST_F(F5Stopped, one_without_a_job_does_not_keep_shutdown_waiting) {
    FaultRow row("F5");
    FaultRow::Trial trial(row);
    futures::ProcessPoolExecutor pool(1);
    const int pid = pool.submit([] { return ::getpid(); }).result();
    ::kill(pid, SIGSTOP);
    while (!os::is_stopped(pid)) ::poll(nullptr, 0, 1);
    trial.injected = 1;
    pool.shutdown();
}

TEST_F(F5Stopped, one_that_does_not_come_to_its_end_is_ended_by_the_time_out) {
    mp::Pool pool(1, {.task_timeout = 300ms});
    pool.apply([] {
        static_cast<void>(std::atexit([] {
            for (;;) ::pause();
        }));
    });
    pool.close();
    pool.join();
    EXPECT_EQ(pool.statistics().died, 0U) << "no job";
}

// ---- F6

std::string names_of_trial; // what its segments' names begin with

void hold(const Descriptor&, const std::string& names) { names_of_trial = names; } // the descriptor stays open

int job_of_the_doomed(int n) {
    switch (n % 16) {
    case 3: {
        mp::shared_memory::SharedMemory block(names_of_trial + "_w" + std::to_string(::getpid()),
                                              {.create = true, .size = 4096});
        rest(2);
        return n;
    }
    case 7:
        return subprocess::run({"true"}).returncode + n;
    case 11: { // what it leaves in its group
        static std::optional<subprocess::Popen> left;
        if (!left) left.emplace(subprocess::Popen({"sleep", "1000"}));
        return n;
    }
    case 13:
        if (n % 64 == 13) return mp::Pool(1).apply([](int m) { return m; }, n);
        return n;
    default:
        rest(n % 2);
        return n;
    }
}

void live_till_killed(int fd) {
    ::setsid(); // by which they are all found
    mp::shared_memory::SharedMemory block(names_of_trial + "_block", {.create = true, .size = 100'000});
    mp::shared_memory::ShareableList list({1, "two", 3.0}, {.name = names_of_trial + "_list"});
    mp::Pool pool(4, {.initializer = {hold, Descriptor{fd}, names_of_trial}});
    for (int n = 0;; n += 100) {
        std::vector<mp::AsyncResult<int>> all;
        for (int i = 0; i < 100; ++i) all.push_back(pool.apply_async(job_of_the_doomed, std::tuple(n + i)));
        for (int i = 0; i < 100; ++i)
            if (all[static_cast<std::size_t>(i)].get() != n + i) ::_exit(9);
        if (::write(fd, "+", 1) != 1) ::_exit(8);
    }
}

TEST_F(F6Pool, whose_process_is_killed_in_mid_run_is_gone_with_all_it_had_started_and_named) {
    FaultRow row("F6");
    Random random(seed());
    const auto kills = by_tier(10, 120, 1'500);
    for (std::int64_t t = 0; t < kills; ++t) {
        SCOPED_TRACE(t);
        names_of_trial = "sennit_f6_" + std::to_string(::getpid()) + '_' + std::to_string(t);
        int fds[2];
        ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
        const pid_t parent = start_child(live_till_killed, fds[1]);
        ::close(fds[1]);
        char byte = 0;
        if (random.below(10) >= 4) { // else in its first 50 ms
            ASSERT_EQ(::read(fds[0], &byte, 1), 1);
        }
        rest(static_cast<int>(random.below(50)));
        ::kill(parent, SIGKILL);
        int status = 0;
        ASSERT_EQ(::waitpid(parent, &status, 0), parent);
        EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
        const auto began = Clock::now(), until = began + hang_limit(true);
        const auto left = [&] {
            std::string all;
            for (const auto& p : os::list_processes())
                if (p.session == parent && is_alive(p.pid)) all += p.name + " (" + std::to_string(p.pid) + ") ";
            for (const auto& file : std::filesystem::directory_iterator("/dev/shm"))
                if (file.path().filename().string().starts_with(names_of_trial + '_'))
                    all += file.path().string() + ' ';
            return all;
        };
        while (!left().empty() && Clock::now() < until) rest(1);
        row.trial(1, Clock::now() - began);
        EXPECT_EQ(left(), "");
        pollfd end{fds[0], POLLIN, 0};
        for (ssize_t n = 1; n > 0;) { // nobody outside the session has the pipe either
            ASSERT_EQ(::poll(&end, 1, 10'000), 1) << "somebody outlives the parent";
            n = ::read(fds[0], &byte, 1);
        }
        ::close(fds[0]);
    }
}

// ---- F8

TEST_F(F8Initializer, one_that_always_fails_breaks_the_pool_and_is_no_storm) {
    FaultRow row("F8");
    const auto rounds = by_tier(1, 10, 100);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (int way = 0; way < 4; ++way) {
            if (way == 3 && (round > 0 || by_tier(0, 1, 1) == 0)) continue; // takes two seconds a start
            FaultRow::Trial trial(row);
            trial.injected = 1;
            mp::ProcessPoolOptions options{.initializer = {[](int how) {
                                                               if (how == 0) throw std::domain_error("not today");
                                                               if (how == 1) ::raise(SIGKILL);
                                                               if (how == 2) std::_Exit(7);
                                                               if (how == 3) ::pause();
                                                           },
                                                           way}};
            if (way == 3) options.task_timeout = 1ms; // of a worker that begins, two seconds
            mp::Pool pool(2, options);
            auto one = pool.apply_async([] { return 1; });
            auto two = pool.apply_async([] { return 2; });
            EXPECT_THROW(one.get(60s), BrokenExecutor);
            try {
                two.get(60s);
                FAIL();
            } catch (const BrokenExecutor& e) {
                if (way == 0) {
                    EXPECT_NE(std::string(e.what()).find("not today"), std::string::npos) << e.what();
                }
            }
            EXPECT_THROW(pool.apply([] { return 3; }), BrokenExecutor) << "later ones, too";
            EXPECT_LE(pool.statistics().started, 4U);
        }
}

TEST_F(F8Initializer, one_that_fails_once_delays_and_breaks_nothing) {
    FaultRow row("F8");
    const auto rounds = by_tier(3, 30, 300);
    for (std::int64_t round = 0; round < rounds; ++round) {
        FaultRow::Trial trial(row);
        trial.injected = 1;
        int fds[2];
        ASSERT_EQ(::pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        ASSERT_EQ(::write(fds[1], "x", 1), 1);
        {
            mp::Pool pool(2, {.initializer = {[](const Descriptor& token) {
                                                  char c = 0;
                                                  if (::read(token.fd, &c, 1) == 1)
                                                      throw std::runtime_error("the first one");
                                                  ::close(token.fd);
                                              },
                                              Descriptor{fds[0]}}});
            for (int i = 0; i < 20; ++i) EXPECT_EQ(pool.apply([](int n) { return n; }, i), i);
        }
        ::close(fds[0]);
        ::close(fds[1]);
    }
}

// ---- F10

int leaf(int n) { return n; }
int middle(int n, bool die) {
    mp::Pool pool(1);
    const int result = pool.apply(leaf, n);
    if (die) ::raise(SIGKILL);
    return result;
}
int outer(int n, bool die) {
    mp::Pool pool(1);
    try {
        return pool.apply(middle, n, die);
    } catch (const mp::WorkerDied&) {
        return -pool.apply(middle, n, false);
    }
}

TEST_F(F10NestedProcessPools, three_deep_the_middle_one_dies_and_one_job_is_told) {
    FaultRow row("F10");
    const auto trials = by_tier(2, 20, 100);
    for (std::int64_t t = 0; t < trials; ++t) {
        FaultRow::Trial trial(row);
        trial.injected = 1;
        mp::Pool pool(2);
        auto good = pool.apply_async(outer, std::tuple(7, false));
        auto bad = pool.apply_async(outer, std::tuple(8, true));
        EXPECT_EQ(good.get(60s), 7);
        EXPECT_EQ(bad.get(60s), -8);
    }
}

// ---- F11

struct Grudging {
    int when = 0; // 1: throws when packed, 2: when unpacked
    std::string text;
    void pack(mp::CargoWriter& to) const {
        if (when == 1) throw std::domain_error("not packed");
        to.write_raw(when);
        mp::pack(to, text);
    }
    static Grudging unpack(mp::CargoReader& from) {
        const int when = from.read_raw<int>();
        if (when == 2) throw std::domain_error("not unpacked");
        return {when, mp::unpack<std::string>(from)};
    }
};

TEST_F(F11Cargo, what_fails_on_the_way_costs_its_own_future) {
    FaultRow row("F11");
    const auto rounds = by_tier(4, 40, 100);
    mp::Pool pool(2);
    for (std::int64_t round = 0; round < rounds; ++round) {
        FaultRow::Trial trial(row);
        trial.injected = 4;
        auto good = pool.apply_async([](const Grudging& g) { return g.text; }, std::tuple(Grudging{0, "a"}));
        auto argument = pool.apply_async([](const Grudging& g) { return g.text; }, std::tuple(Grudging{1, "b"}));
        auto arrival = pool.apply_async([](const Grudging& g) { return g.text; }, std::tuple(Grudging{2, "c"}));
        auto result = pool.apply_async([](int when) { return Grudging{when, "d"}; }, std::tuple(1));
        auto back = pool.apply_async([](int when) { return Grudging{when, "e"}; }, std::tuple(2));
        auto last = pool.apply_async([](int when) { return Grudging{when, "f"}; }, std::tuple(0));
        EXPECT_EQ(good.get(60s), "a");
        EXPECT_THROW(argument.get(60s), std::domain_error);
        EXPECT_THROW(arrival.get(60s), std::domain_error);
        EXPECT_THROW(result.get(60s), std::domain_error);
        EXPECT_THROW(back.get(60s), std::domain_error);
        EXPECT_EQ(last.get(60s).text, "f");
    }
}

TEST_F(F11Cargo, any_size_goes_there_and_back) {
    FaultRow row("F11", false);
    mp::Pool pool(2);
    std::vector<std::size_t> sizes{0,      1,      47,     48,     49,     65535,  65536,  65537,
                                   131039, 131040, 131056, 131072, 524287, 524288, 524289, 3'000'000};
    if (by_tier(0, 1, 1)) sizes.push_back(std::size_t{1} << 30);
    for (const std::size_t n : sizes) {
        FaultRow::Trial trial(row);
        std::string text(n, 'q');
        if (n > 0) text[n / 2] = '!';
        ASSERT_EQ(pool.apply([](std::string s) { return s; }, text), text) << n;
    }
}

// ---- F12

// Scribbles over the memory that this worker shares with its parent.
void scribble(std::uint64_t with) {
    Random random(with);
    std::FILE* const maps = std::fopen("/proc/self/maps", "re");
    char line[512];
    std::uintptr_t begin = 0, end = 0;
    while (std::fgets(line, sizeof line, maps)) {
        unsigned long long b = 0, e = 0;
        if (std::strstr(line, "sennit-worker") && std::sscanf(line, "%llx-%llx", &b, &e) == 2) begin = b, end = e;
    }
    std::fclose(maps);
    if (begin == 0) std::_Exit(9);
    auto* const words = reinterpret_cast<volatile std::uint64_t*>(begin); // NOLINT(performance-no-int-to-ptr)
    const std::uint64_t first = 0, page = 4096 / 8, all = (end - begin) / 8;
    for (std::uint64_t n = 1 + random.below(40); n > 0; --n) {
        const std::uint64_t value = random.below(3) == 0 ? random() : random.below(1 << 20);
        // Mostly the words at the front; else the records.
        words[random.below(3) != 0 ? first + random.below(page / 8) * (random.below(2) ? 8 : 1) : random.below(all)] =
            value;
    }
}

TEST_F(F12Scribbler, a_worker_that_scribbles_over_its_ring_harms_nobody_else) {
    FaultRow row("F12");
    Random random(seed());
    const auto trials = by_tier(60, 5'000, 100'000);
    mp::Pool pool(2);
    for (std::int64_t t = 0; t < trials; ++t) {
        FaultRow::Trial trial(row);
        trial.injected = 1;
        auto scribbler = pool.apply_async(
            [](std::uint64_t with) {
                scribble(with);
                ::raise(SIGKILL); // it may have closed its own eyes: its ring tells it nothing any more
            },
            std::tuple(random()));
        std::vector<mp::AsyncResult<int>> others;
        for (int i = 0; i < 5; ++i) others.push_back(pool.apply_async([](int n) { return n; }, std::tuple(i)));
        EXPECT_TRUE(scribbler.wait(60s));
        try {
            scribbler.get();
        } catch (const mp::WorkerDied&) {
        } catch (const Error&) {
            // an answer that it has made up
        }
        for (int i = 0; i < 5; ++i) {
            try {
                others[static_cast<std::size_t>(i)].get(60s);
            } catch (const TimeoutError&) {
                FAIL() << "trial " << t << ": job " << i << " was never settled";
            } catch (const std::exception&) {
                // what had been handed to that worker, too
            }
        }
    }
    EXPECT_EQ(pool.apply([] { return 1; }), 1);
}

} // namespace
} // namespace sennit::testing

// Locks: a lock + unlock that nobody disputes, and one line fought for by 2 and 4 threads on two cores.
#include "common/bench.hpp"
#include "common/peer_locks.hpp"

#include <atomic>
#include <boost/fiber/mutex.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <numeric>
#include <sennit/threading.hpp>
#include <thread>
#include <time.h>

namespace {

using bench::Board;
using bench::seconds;

constexpr int pairs = 5'000'000;
constexpr long fight_ns = 200'000'000;

double ns_a_pair(auto&& pair) {
    const double start = seconds();
    for (int i = 0; i < pairs; ++i) pair();
    return (seconds() - start) / pairs * 1e9;
}

template <class Mutex>
void add_uncontended(Board& board, const char* who) {
    board.add("uncontended", who, "ns/pair", [mutex = std::make_shared<Mutex>()] {
        return ns_a_pair([&m = *mutex] {
            m.lock();
            m.unlock();
        });
    });
}

// Runs body(i, stop) in `threads` threads at once for a fixed time; body returns what it did. The counts.
template <class Body>
std::vector<long> run_together(int threads, Body body, double& took) {
    std::atomic<bool> go{false};
    std::atomic<bool> stop{false};
    std::vector<long> done(static_cast<std::size_t>(threads));
    std::vector<std::thread> team;
    for (int i = 0; i < threads; ++i)
        team.emplace_back([&, i] {
            bench::pin_to_one_of_two(i);
            while (!go.load()) sched_yield();
            done[static_cast<std::size_t>(i)] = body(stop);
        });
    const double start = seconds();
    go.store(true);
    const timespec nap{0, fight_ns};
    nanosleep(&nap, nullptr);
    stop.store(true);
    for (auto& t : team) t.join();
    took = seconds() - start;
    return done;
}

template <class Mutex>
void add_contended(Board& board, const char* who, int threads) {
    const std::string in_case = "contended, " + std::to_string(threads) + " threads";
    board.add(in_case, who, "Mpairs/s", [&board, in_case, who, threads] {
        struct alignas(64) {
            Mutex mutex;
            long guarded = 0; // on the lock's line, as a small object's lock is
        } shared;
        double took = 0;
        const auto done = run_together(
            threads,
            [&](const std::atomic<bool>& stop) {
                long mine = 0;
                for (; !stop.load(std::memory_order_relaxed); ++mine) {
                    shared.mutex.lock();
                    ++shared.guarded;
                    shared.mutex.unlock();
                }
                return mine;
            },
            took);
        const long sum = std::accumulate(done.begin(), done.end(), 0L);
        if (sum != shared.guarded) bench::die("a lock let two in at once");
        const auto most = static_cast<double>(*std::max_element(done.begin(), done.end()));
        board.also(in_case + ", share of the luckiest", who, 100 * most / static_cast<double>(sum), "%");
        return static_cast<double>(sum) / took / 1e6;
    });
}

void add_limit(Board& board, int threads) {
    board.add("contended, " + std::to_string(threads) + " threads", "atomic fetch_add, no lock (limit)", "Mpairs/s",
              [threads] {
                  alignas(64) std::atomic<long> shared{0};
                  double took = 0;
                  run_together(
                      threads,
                      [&](const std::atomic<bool>& stop) {
                          while (!stop.load(std::memory_order_relaxed)) shared.fetch_add(1, std::memory_order_relaxed);
                          return 0L;
                      },
                      took);
                  return static_cast<double>(shared.load()) / took / 1e6;
              });
}

} // namespace

int main(int argc, char** argv) {
    // With a second thread alive no library takes its shortcut for single-threaded programs.
    std::thread([] {
        const timespec hour{3600, 0};
        nanosleep(&hour, nullptr);
    }).detach();

    Board board;
    board.add("uncontended", "two exchanges (limit of a lock with sleepers)", "ns/pair", [] {
        std::atomic<std::uint32_t> word{0};
        return ns_a_pair([&] {
            bench::keep(word.exchange(1, std::memory_order_acquire));
            bench::keep(word.exchange(0, std::memory_order_release));
        });
    });
    board.add("uncontended", "exchange + store (if nobody may sleep)", "ns/pair", [] {
        std::atomic<std::uint32_t> word{0};
        return ns_a_pair([&] {
            bench::keep(word.exchange(1, std::memory_order_acquire));
            word.store(0, std::memory_order_release);
        });
    });
    add_uncontended<std::mutex>(board, "std::mutex");
    add_uncontended<bench::FutexMutex>(board, "one-word futex mutex");
    add_uncontended<sennit::threading::Lock>(board, "sennit threading::Lock");
    add_uncontended<bench::RobustMutex>(board, "pthread mutex, process-shared, robust");
    add_uncontended<boost::fibers::mutex>(board, "Boost.Fiber mutex");
    for (const int threads : {2, 4}) {
        add_limit(board, threads);
        add_contended<std::mutex>(board, "std::mutex", threads);
        add_contended<bench::FutexMutex>(board, "one-word futex mutex", threads);
        add_contended<sennit::threading::Lock>(board, "sennit threading::Lock", threads);
        add_contended<bench::RobustMutex>(board, "pthread mutex, process-shared, robust", threads);
    }
    return board.run(argc, argv);
}

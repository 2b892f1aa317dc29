// Pools of two processes: empty tasks, a map over a million ints, one task at a time with the worker hot and asleep, and messages of 1 MiB.
#include "common/bench.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <linux/futex.h>
#include <memory>
#include <numeric>
#include <poll.h>
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using bench::Board;
using bench::seconds;

constexpr std::size_t workers = 2;

// ---- the limits: memory that processes share, and futexes

template <class T>
T* shared() {
    void* const p =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) bench::die("mmap");
    return new (p) T;
}
template <class F>
pid_t child(F f) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        f();
        ::_exit(0);
    }
    return pid;
}
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
    ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<std::uint32_t>& word) { ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }

struct Job {
    std::uint64_t id, arg;
};
struct Lane {
    static constexpr std::uint64_t size = 1024;
    alignas(64) std::atomic<std::uint64_t> tail{0};
    alignas(64) std::atomic<std::uint64_t> head{0};
    alignas(64) Job jobs[size];
    bool push(Job j) {
        const std::uint64_t t = tail.load(std::memory_order_relaxed);
        if (t - head.load(std::memory_order_acquire) == size) return false;
        jobs[t % size] = j;
        tail.store(t + 1, std::memory_order_release);
        return true;
    }
    bool pop(Job& j) {
        const std::uint64_t h = head.load(std::memory_order_relaxed);
        if (h == tail.load(std::memory_order_acquire)) return false;
        j = jobs[h % size];
        head.store(h + 1, std::memory_order_release);
        return true;
    }
};
constexpr std::uint64_t over = ~std::uint64_t{0};

double lanes_per_us(std::uint64_t total) {
    struct Lanes {
        Lane to[workers], from[workers];
    };
    auto* const lanes = shared<Lanes>();
    pid_t pids[workers];
    for (std::size_t w = 0; w < workers; ++w)
        pids[w] = child([lanes, w] {
            for (Job j{};;) {
                if (!lanes->to[w].pop(j)) {
                    ::sched_yield();
                    continue;
                }
                if (j.id == over) return;
                j.arg = 1;
                while (!lanes->from[w].push(j)) ::sched_yield();
            }
        });
    const double start = seconds();
    std::uint64_t sent = 0, back = 0, sum = 0;
    while (back < total) {
        bool idle = true;
        for (std::size_t w = 0; w < workers; ++w) {
            for (int k = 0; k < 256 && sent < total && sent - back < 1024 && lanes->to[w].push({sent, 0}); ++k)
                ++sent, idle = false;
            for (Job j{}; lanes->from[w].pop(j); idle = false) sum += j.arg, ++back;
        }
        if (idle) ::sched_yield();
    }
    const double rate = static_cast<double>(total) / (seconds() - start) / 1e6;
    for (auto& lane : lanes->to)
        while (!lane.push({over, 0})) {}
    for (const pid_t pid : pids) ::waitpid(pid, nullptr, 0);
    ::munmap(lanes, sizeof *lanes);
    if (sum != total) bench::die("a lane lost a task");
    return rate;
}

double sockets_per_us(int total) {
    int fd[workers][2];
    pid_t pids[workers];
    for (std::size_t w = 0; w < workers; ++w) {
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd[w]) != 0) bench::die("socketpair");
        pids[w] = child([&, w] {
            if (w == 1) ::close(fd[0][0]);
            ::close(fd[w][0]);
            for (Job j{}; ::read(fd[w][1], &j, sizeof j) == sizeof j;)
                if (::write(fd[w][1], &j, sizeof j) != sizeof j) return;
        });
        ::close(fd[w][1]);
    }
    int sent = 0, back = 0, out[workers] = {};
    const double start = seconds();
    while (back < total) {
        for (std::size_t w = 0; w < workers; ++w)
            for (; out[w] < 64 && sent < total; ++out[w]) {
                const Job j{static_cast<std::uint64_t>(sent++), 0};
                if (::write(fd[w][0], &j, sizeof j) != sizeof j) bench::die("write");
            }
        pollfd ready[] = {{fd[0][0], POLLIN, 0}, {fd[1][0], POLLIN, 0}};
        ::poll(ready, 2, -1);
        for (std::size_t w = 0; w < workers; ++w)
            if (ready[w].revents & POLLIN)
                for (Job j{}; ::recv(fd[w][0], &j, sizeof j, MSG_DONTWAIT) == sizeof j;) ++back, --out[w];
    }
    const double rate = total / (seconds() - start) / 1e6;
    for (std::size_t w = 0; w < workers; ++w) {
        ::close(fd[w][0]);
        ::waitpid(pids[w], nullptr, 0);
    }
    return rate;
}

struct Gate {
    std::atomic<std::uint32_t> value{0}, sleeping{0};
    void post() {
        value.fetch_add(1);
        if (sleeping.load()) futex_wake(value);
    }
    void await(std::uint32_t target, bool spin) {
        while (spin)
            if (value.load(std::memory_order_acquire) == target) return;
        sleeping.store(1);
        for (std::uint32_t seen; (seen = value.load()) != target;) futex_wait(value, seen);
        sleeping.store(0);
    }
};
double gates_us(std::uint32_t total, bool spin) {
    struct Gates {
        alignas(64) Gate to;
        alignas(64) Gate from;
    };
    auto* const gates = shared<Gates>();
    const pid_t pid = child([=] {
        bench::pin_to_one_of_two(1);
        for (std::uint32_t i = 1; i <= total; ++i) {
            gates->to.await(i, spin);
            gates->from.post();
        }
    });
    double spent = 0;
    for (std::uint32_t i = 1; i <= total; ++i) {
        if (!spin) ::usleep(200); // as the pool's
        const double start = seconds();
        gates->to.post();
        gates->from.await(i, spin);
        spent += seconds() - start;
    }
    ::waitpid(pid, nullptr, 0);
    ::munmap(gates, sizeof *gates);
    return spent / total * 1e6;
}

// ---- sennit

int give() { return 1; }

double tasks_per_us(sennit::multiprocessing::Pool& pool, std::size_t total) {
    std::vector<sennit::multiprocessing::AsyncResult<int>> results;
    results.reserve(total);
    const double start = seconds();
    for (std::size_t i = 0; i < total; ++i) results.push_back(pool.apply_async(give));
    std::size_t sum = 0;
    for (auto& r : results) sum += static_cast<std::size_t>(r.get());
    const double rate = static_cast<double>(total) / (seconds() - start) / 1e6;
    if (sum != total) bench::die("a pool lost a task");
    return rate;
}
double executor_per_us(sennit::futures::ProcessPoolExecutor& pool, std::size_t total) {
    std::vector<sennit::futures::Future<int>> results;
    results.reserve(total);
    const double start = seconds();
    for (std::size_t i = 0; i < total; ++i) results.push_back(pool.submit(give));
    std::size_t sum = 0;
    for (auto& r : results) sum += static_cast<std::size_t>(r.result());
    const double rate = static_cast<double>(total) / (seconds() - start) / 1e6;
    if (sum != total) bench::die("a pool lost a task");
    return rate;
}
double map_per_us(sennit::multiprocessing::Pool& pool, const std::vector<int>& numbers) {
    const double start = seconds();
    const std::vector<int> results = pool.map([](int x) { return x + 1; }, numbers);
    const double rate = static_cast<double>(numbers.size()) / (seconds() - start) / 1e6;
    if (results.size() != numbers.size() || results.back() != numbers.back() + 1) bench::die("a map lost something");
    return rate;
}
double round_trip_us(sennit::multiprocessing::Pool& pool, int total, bool asleep) {
    double spent = 0;
    for (int i = 0; i < total; ++i) {
        if (asleep) ::usleep(200);
        const double start = seconds();
        if (pool.apply(give) != 1) bench::die("a pool lost a task");
        spent += seconds() - start;
    }
    return spent / total * 1e6;
}
double megabytes_per_ms(sennit::multiprocessing::Pool& pool, int total) {
    const std::vector<char> megabyte(1 << 20, 'x');
    pool.apply([](const std::vector<char>& m) { return m.size(); }, megabyte);
    const double start = seconds();
    for (int i = 0; i < total; ++i)
        if (pool.apply([](const std::vector<char>& m) { return m.size(); }, megabyte) != megabyte.size())
            bench::die("lost");
    return total * 1.048576 / (seconds() - start) / 1e3;
}

} // namespace

int main(int argc, char** argv) {
    Board board;
    auto pool = std::make_unique<sennit::multiprocessing::Pool>(workers);
    auto one = std::make_unique<sennit::multiprocessing::Pool>(1);
    sennit::futures::ProcessPoolExecutor executor(workers);
    pool->apply(give);
    one->apply(give);
    std::vector<int> numbers(1'000'000);
    std::iota(numbers.begin(), numbers.end(), 0);

    const char* c = "no-op tasks, 2 workers";
    board.add(c, "shared rings + futex (limit)", "Mtasks/s", [] { return lanes_per_us(500'000); });
    board.add(c, "sennit Pool", "Mtasks/s", [&] { return tasks_per_us(*pool, 500'000); });
    board.add(c, "sennit ProcessPoolExecutor", "Mtasks/s", [&] { return executor_per_us(executor, 500'000); });
    board.add(c, "a socketpair each, 64 deep", "Mtasks/s", [] { return sockets_per_us(50'000); });

    c = "map of 1,000,000 ints";
    board.add(c, "sennit Pool", "Melements/s", [&] { return map_per_us(*pool, numbers); });

    c = "one task at a time, hot";
    board.add(c, "two words, spinning (limit)", "us", [] { return gates_us(100'000, true); });
    board.add(c, "sennit Pool", "us", [&] { return round_trip_us(*one, 50'000, false); });

    c = "one task at a time, asleep";
    board.add(c, "two futex wakes (limit)", "us", [] { return gates_us(1'000, false); });
    board.add(c, "sennit Pool", "us", [&] { return round_trip_us(*one, 1'000, true); });

    c = "1 MiB arguments";
    board.add(c, "sennit Pool", "GB/s", [&] { return megabytes_per_ms(*one, 200); });
    return board.run(argc, argv);
}

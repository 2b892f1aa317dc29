// A lock that processes share and that outlives its holder: alone, between two processes, and around a counter.
#include "common/processes.hpp"

#include <pthread.h>
#include <sennit/multiprocessing.hpp>

namespace {

using bench::Board;
using bench::seconds;
namespace mp = sennit::multiprocessing;

struct Futex {
    bench::FutexMutex* mutex = bench::shared<bench::FutexMutex>();
    void lock() { mutex->lock(); }
    void unlock() { mutex->unlock(); }
    ~Futex() { ::munmap(mutex, sizeof *mutex); }
};
struct Pthread {
    pthread_mutex_t* mutex = bench::shared<pthread_mutex_t>();
    Pthread() {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    void lock() { pthread_mutex_lock(mutex); }
    void unlock() { pthread_mutex_unlock(mutex); }
    ~Pthread() { ::munmap(mutex, sizeof *mutex); }
};

template <class Lock>
double alone() {
    constexpr int n = 5'000'000;
    Lock lock;
    bench::pin_to_one_of_two(0);
    const double start = seconds();
    for (int i = 0; i < n; ++i) {
        lock.lock();
        lock.unlock();
    }
    return (seconds() - start) / n * 1e9;
}

// Two processes take the lock and count, in turn or not: as the lock gives it. Million times a second, both together.
template <class Once>
double by_two(int n, Once once) {
    bench::Gate* const begin = bench::shared<bench::Gate>();
    const auto work = [&](int core) {
        bench::pin_to_one_of_two(core);
        begin->v.fetch_add(1);
        while (begin->v.load() != 2) bench::relax();
        for (int i = 0; i < n; ++i) once();
    };
    const pid_t other = bench::child([&] { work(1); });
    const double start = seconds();
    work(0);
    bench::reap(other);
    const double took = seconds() - start;
    ::munmap(begin, sizeof *begin);
    return 2.0 * n / took / 1e6;
}

template <class Lock>
void add(Board& board, const char* who) {
    constexpr int n = 2'000'000;
    board.add("uncontended pair", who, "ns", [] { return alone<Lock>(); });
    board.add("2 processes", who, "M/s", [] {
        Lock lock;
        return by_two(n, [&] {
            lock.lock();
            lock.unlock();
        });
    });
}
template <class Lock>
double count() {
    constexpr int n = 2'000'000;
    Lock lock;
    long* const counter = bench::shared<long>();
    const double rate = by_two(n, [&] {
        lock.lock();
        ++*counter;
        lock.unlock();
    });
    if (*counter != 2L * n) bench::die("counts were lost");
    ::munmap(counter, sizeof *counter);
    return rate;
}
double count_value() {
    constexpr int n = 2'000'000;
    mp::Value<long> counter(0);
    const double rate = by_two(n, [&] {
        mp::RLock& lock = counter.get_lock();
        lock.lock();
        ++*counter;
        lock.unlock();
    });
    if (counter.value() != 2L * n) bench::die("counts were lost");
    return rate;
}

} // namespace

int main(int argc, char** argv) {
    Board board;
    add<Futex>(board, "one-word futex, not robust (limit)");
    add<mp::Lock>(board, "sennit multiprocessing::Lock");
    add<Pthread>(board, "pthread mutex, shared and robust");
    board.add("counter under its lock, 2 processes", "one-word futex, not robust (limit)", "M/s",
              [] { return count<Futex>(); });
    board.add("counter under its lock, 2 processes", "sennit Value<long>", "M/s", [] { return count_value(); });
    board.add("counter under its lock, 2 processes", "pthread mutex, shared and robust", "M/s",
              [] { return count<Pthread>(); });
    return board.run(argc, argv);
}

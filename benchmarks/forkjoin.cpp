// Fork-join: a task a call, a memory-bound loop, and work that is shared unevenly; on two workers, and on eight that share
// two cores.
#include "common/bench.hpp"

#include <cstdint>
#include <memory>
#include <omp.h>
#include <sennit/futures.hpp>
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <time.h>

namespace {

using bench::Board;
using bench::seconds;
using sennit::futures::fork_join;
using sennit::futures::ForkScope;
using sennit::futures::parallel_for;
using sennit::futures::ThreadPoolExecutor;

// In milliseconds. Before it begins, the threads of whoever was before have time to stop spinning.
double timed(auto work) {
    const timespec nap{0, 10'000'000};
    nanosleep(&nap, nullptr);
    const double start = seconds();
    work();
    return (seconds() - start) * 1e3;
}
void check(long found, long right) {
    if (found != right) bench::die("a contender has a wrong result");
}

// One of each, made when first used, with the caller as one of its threads.
ThreadPoolExecutor& pool_of(int n) {
    static ThreadPoolExecutor two(2), eight(8);
    return n == 2 ? two : eight;
}
tbb::task_arena& arena_of(int n) {
    static tbb::task_arena two(2), eight(8);
    return n == 2 ? two : eight;
}

// ---- fib(32), a task a call

constexpr int fib_of = 32;
constexpr long fib_is = 2'178'309;

// The compiler may not turn these calls into fewer, larger ones.
long (*volatile real)(int);
long real_call(int n) { return n < 2 ? n : real(n - 1) + real(n - 2); }

long sennit_fib(ForkScope& scope, int n) {
    if (n < 2) return n;
    const auto [a, b] = fork_join(
        scope, [n](ForkScope& s) { return sennit_fib(s, n - 1); }, [n](ForkScope& s) { return sennit_fib(s, n - 2); });
    return a + b;
}
long tbb_fib(int n) {
    if (n < 2) return n;
    long a = 0, b = 0;
    tbb::task_group both;
    both.run([&a, n] { a = tbb_fib(n - 1); });
    b = tbb_fib(n - 2);
    both.wait();
    return a + b;
}
long omp_fib(int n) {
    if (n < 2) return n;
    long a = 0, b = 0;
#pragma omp task shared(a) firstprivate(n)
    a = omp_fib(n - 1);
    b = omp_fib(n - 2);
#pragma omp taskwait
    return a + b;
}

void add_fib(Board& board, int workers) {
    const std::string in_case = "fib(32) without cut-off, " + std::to_string(workers) + " workers";
    real = real_call;
    board.add(in_case, "serial, a call each, on one core", "ms",
              [] { return timed([] { check(real_call(fib_of), fib_is); }); });
    board.add(in_case, "sennit fork_join", "ms", [workers] {
        return timed(
            [&] { check(fork_join(pool_of(workers), [](ForkScope& s) { return sennit_fib(s, fib_of); }), fib_is); });
    });
    board.add(in_case, "TBB task_group", "ms",
              [workers] { return timed([&] { arena_of(workers).execute([] { check(tbb_fib(fib_of), fib_is); }); }); });
    board.add(
        in_case, "OpenMP tasks", "ms",
        [workers] {
            return timed([&] {
                long sum = 0;
#pragma omp parallel num_threads(workers)
#pragma omp single
                sum = omp_fib(fib_of);
                check(sum, fib_is);
            });
        },
        3);
}

// ---- saxpy over 10^8 doubles

struct Saxpy {
    static constexpr int n = 100'000'000;
    std::unique_ptr<double[]> x{new double[n]}, y{new double[n]};
    Saxpy() {
        for (int i = 0; i < n; ++i) x[i] = 1, y[i] = 2;
    }
};

void add_saxpy(Board& board, int workers) {
    const std::string in_case = "saxpy over 10^8 doubles, " + std::to_string(workers) + " workers";
    static auto data = [] {
        static Saxpy all;
        return &all;
    };
    board.add(in_case, "serial, on one core", "ms", [] {
        double *x = data()->x.get(), *y = data()->y.get();
        return timed([&] {
            for (int i = 0; i < Saxpy::n; ++i) y[i] += 0.5 * x[i];
            bench::keep(y);
        });
    });
    board.add(in_case, "sennit parallel_for", "ms", [workers] {
        double *x = data()->x.get(), *y = data()->y.get();
        return timed([&] { parallel_for(pool_of(workers), 0, Saxpy::n, [x, y](int i) { y[i] += 0.5 * x[i]; }); });
    });
    board.add(in_case, "TBB parallel_for", "ms", [workers] {
        double *x = data()->x.get(), *y = data()->y.get();
        return timed([&] {
            arena_of(workers).execute([&] {
                tbb::parallel_for(tbb::blocked_range<int>(0, Saxpy::n), [x, y](const tbb::blocked_range<int>& r) {
                    for (int i = r.begin(); i != r.end(); ++i) y[i] += 0.5 * x[i];
                });
            });
        });
    });
    board.add(in_case, "OpenMP parallel for", "ms", [workers] {
        double *x = data()->x.get(), *y = data()->y.get();
        return timed([&] {
#pragma omp parallel for num_threads(workers)
            for (int i = 0; i < Saxpy::n; ++i) y[i] += 0.5 * x[i];
        });
    });
}

// ---- a Mandelbrot set by rows: those in the middle take long

constexpr int rows = 400, columns = 400, most_steps = 1000;
int steps[rows][columns];

void row(int r) {
    for (int c = 0; c < columns; ++c) {
        const double re0 = -2.0 + 2.5 * c / columns, im0 = -1.25 + 2.5 * r / rows;
        double re = 0, im = 0;
        int n = 0;
        for (; n < most_steps && re * re + im * im < 4; ++n) {
            const double next = re * re - im * im + re0;
            im = 2 * re * im + im0;
            re = next;
        }
        steps[r][c] = n;
    }
    bench::keep(steps[r]);
}

void add_mandelbrot(Board& board, int workers) {
    const std::string in_case = "Mandelbrot by rows, " + std::to_string(workers) + " workers";
    board.add(in_case, "serial, on one core", "ms", [] {
        return timed([] {
            for (int r = 0; r < rows; ++r) row(r);
        });
    });
    board.add(in_case, "sennit parallel_for", "ms",
              [workers] { return timed([&] { parallel_for(pool_of(workers), 0, rows, row); }); });
    board.add(in_case, "TBB parallel_for", "ms",
              [workers] { return timed([&] { arena_of(workers).execute([] { tbb::parallel_for(0, rows, row); }); }); });
    board.add(in_case, "OpenMP for, dynamic", "ms", [workers] {
        return timed([&] {
#pragma omp parallel for schedule(dynamic) num_threads(workers)
            for (int r = 0; r < rows; ++r) row(r);
        });
    });
}

// ---- n queens by tree: the rows above `cut` share their subtrees, the others are counted by one call

constexpr int queens = 13, cut = 5;
constexpr long queens_is = 73'712;
constexpr unsigned all_columns = (1U << queens) - 1;

struct Place {
    unsigned columns = 0, left = 0, right = 0;
    [[nodiscard]] unsigned free() const { return all_columns & ~(columns | left | right); }
    [[nodiscard]] Place with(unsigned bit) const { return {columns | bit, (left | bit) << 1, (right | bit) >> 1}; }
};
long count(Place p) {
    if (p.columns == all_columns) return 1;
    long sum = 0;
    for (unsigned free = p.free(); free; free &= free - 1) sum += count(p.with(free & -free));
    return sum;
}

template <int Cut>
long sennit_queens(ForkScope& scope, Place p, unsigned free, int row_number) {
    if (p.columns == all_columns) return 1;
    if (row_number >= Cut) return count(p);
    if (free == 0) return 0;
    const Place next = p.with(free & -free);
    const unsigned others = free & (free - 1);
    if (others == 0) return sennit_queens<Cut>(scope, next, next.free(), row_number + 1);
    const auto [a, b] = fork_join(
        scope, [=](ForkScope& s) { return sennit_queens<Cut>(s, next, next.free(), row_number + 1); },
        [=](ForkScope& s) { return sennit_queens<Cut>(s, p, others, row_number); });
    return a + b;
}
long tbb_queens(Place p, int row_number) {
    if (p.columns == all_columns) return 1;
    if (row_number >= cut) return count(p);
    long sums[queens] = {};
    int n = 0;
    tbb::task_group all;
    for (unsigned free = p.free(); free; free &= free - 1)
        all.run(
            [&sum = sums[n++], next = p.with(free & -free), row_number] { sum = tbb_queens(next, row_number + 1); });
    all.wait();
    long sum = 0;
    for (long s : sums) sum += s;
    return sum;
}
long omp_queens(Place p, int row_number) {
    if (p.columns == all_columns) return 1;
    if (row_number >= cut) return count(p);
    long sums[queens] = {};
    int n = 0;
    for (unsigned free = p.free(); free; free &= free - 1, ++n) {
        const Place next = p.with(free & -free);
#pragma omp task shared(sums) firstprivate(n, next, row_number)
        sums[n] = omp_queens(next, row_number + 1);
    }
#pragma omp taskwait
    long sum = 0;
    for (long s : sums) sum += s;
    return sum;
}

void add_queens(Board& board, int workers) {
    const std::string in_case = std::to_string(queens) + " queens by tree, " + std::to_string(workers) + " workers";
    board.add(in_case, "serial, on one core", "ms", [] { return timed([] { check(count({}), queens_is); }); });
    board.add(in_case, "sennit fork_join", "ms", [workers] {
        return timed([&] {
            check(fork_join(pool_of(workers), [](ForkScope& s) { return sennit_queens<cut>(s, {}, all_columns, 0); }),
                  queens_is);
        });
    });
    board.add(in_case, "sennit fork_join, without the cut-off", "ms", [workers] {
        return timed([&] {
            check(
                fork_join(pool_of(workers), [](ForkScope& s) { return sennit_queens<queens>(s, {}, all_columns, 0); }),
                queens_is);
        });
    });
    board.add(in_case, "TBB task_group", "ms", [workers] {
        return timed([&] { arena_of(workers).execute([] { check(tbb_queens({}, 0), queens_is); }); });
    });
    board.add(in_case, "OpenMP tasks", "ms", [workers] {
        return timed([&] {
            long sum = 0;
#pragma omp parallel num_threads(workers)
#pragma omp single
            sum = omp_queens({}, 0);
            check(sum, queens_is);
        });
    });
}

// ---- a loop that is over at once

void add_short(Board& board) {
    constexpr int calls = 10'000;
    static long cells[16];
    const char* in_case = "a loop of 16 quick turns";
    board.add(in_case, "sennit parallel_for", "ns", [] {
        return timed([] {
                   for (int i = 0; i < calls; ++i) parallel_for(pool_of(2), 0, 16, [](int j) { cells[j] += j; });
               }) *
               1e6 / calls;
    });
    board.add(in_case, "TBB parallel_for", "ns", [] {
        return timed([] {
                   arena_of(2).execute([] {
                       for (int i = 0; i < calls; ++i) tbb::parallel_for(0, 16, [](int j) { cells[j] += j; });
                   });
               }) *
               1e6 / calls;
    });
    board.add(in_case, "OpenMP parallel for", "ns", [] {
        return timed([] {
                   for (int i = 0; i < calls; ++i) {
#pragma omp parallel for num_threads(2)
                       for (int j = 0; j < 16; ++j) cells[j] += j;
                   }
               }) *
               1e6 / calls;
    });
}

} // namespace

int main(int argc, char** argv) {
    const tbb::global_control more_than_cores(tbb::global_control::max_allowed_parallelism, 8);
    Board board;
    for (const int workers : {2, 8}) add_fib(board, workers);
    for (const int workers : {2, 8}) add_saxpy(board, workers);
    for (const int workers : {2, 8}) add_mandelbrot(board, workers);
    for (const int workers : {2, 8}) add_queens(board, workers);
    add_short(board);
    return board.run(argc, argv);
}

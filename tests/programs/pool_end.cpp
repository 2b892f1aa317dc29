// pool_end MODE: a whole process that ends with a pool; tests/unit/futures/living_pool_test.cpp says what each must do.
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/sync.hpp>
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include "modes.hpp"

#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using sennit::futures::ThreadPoolExecutor;

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}
// Runs until main has come to its end.
void runs_on() {
    sennit::threading::main_thread().join();
    say("first task done");
}
ThreadPoolExecutor& leaked(std::size_t n = 1) { return *new ThreadPoolExecutor(n); }

int leaked_pool_finishes() {
    auto& pool = leaked();
    pool.submit(runs_on);
    for (int i = 1; i <= 3; ++i) pool.submit([i] { say("queued " + std::to_string(i)); });
    say("end of main");
    return 3;
}

int static_pool_finishes() {
    static ThreadPoolExecutor pool(1);
    pool.submit(runs_on);
    pool.submit([] { say("queued"); });
    say("end of main");
    return 0;
}

int destructor_without_shutdown() {
    {
        ThreadPoolExecutor pool(1);
        pool.submit([] { say("queued"); });
    }
    say("end of main");
    return 0;
}

int shut_down_without_waiting() {
    auto& pool = leaked();
    pool.submit(runs_on);
    pool.submit([] { say("queued"); });
    pool.shutdown({.wait = false});
    say("end of main");
    return 0;
}

void try_to_submit(ThreadPoolExecutor& pool) {
    try {
        pool.submit([] { say("should not run"); });
    } catch (const sennit::UsageError& error) {
        say(error.what());
    }
}

int submit_at_the_end() { // test_submit_after_interpreter_shutdown
    static auto& pool = leaked();
    pool.submit([] {}).result();
    std::atexit([] {
        try_to_submit(pool);
        ThreadPoolExecutor fresh(1);
        try_to_submit(fresh);
    });
    return 0;
}

int task_submits_at_the_end() {
    static auto& pool = leaked(2);
    pool.submit([] {
        sennit::threading::main_thread().join();
        try { // main has ended: its end closes the pools before long
            for (;;) pool.submit([] {}).result();
        } catch (const sennit::UsageError& error) {
            say(error.what());
        }
    });
    return 0;
}

int exit_in_a_task() {
    auto& pool = leaked();
    pool.submit([] {
        say("exit");
        std::exit(5);
    });
    pool.submit([] { say("never begun"); });
    sennit::sync::Event().wait();
    return 0;
}

int pool_in_the_child_of_a_fork() {
    auto& pool = leaked();
    pool.submit([] {}).result();
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
        try_to_submit(pool);
        say(std::to_string(ThreadPoolExecutor(1).submit([] { return 6; }).result()) + " by a new pool");
        pool.shutdown();
        std::exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    say("child ended with " + std::to_string(status));
    return 0;
}

int leaked_thread_pool_is_terminated() { // as in Python: what has not begun is dropped
    auto& pool = *new sennit::multiprocessing::pool::ThreadPool(1);
    static sennit::sync::Event begun;
    pool.apply_async([&pool] {
        begun.set();
        sennit::threading::main_thread().join();
        try { // until the end has come to the pool
            for (;; ::sched_yield()) pool.apply_async([] { say("not begun"); });
        } catch (const sennit::UsageError&) {
            say("first task done");
        }
    });
    begun.wait();
    pool.apply_async([] { say("queued"); });
    say("end of main");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const Modes modes{
        MODE(leaked_pool_finishes),
        MODE(static_pool_finishes),
        MODE(destructor_without_shutdown),
        MODE(shut_down_without_waiting),
        MODE(submit_at_the_end),
        MODE(task_submits_at_the_end),
        MODE(exit_in_a_task),
        MODE(pool_in_the_child_of_a_fork),
        MODE(leaked_thread_pool_is_terminated),
    };
    return run_mode("pool_end", modes, argc, argv);
}

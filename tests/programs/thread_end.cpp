// thread_end MODE: a whole process whose end is the point; tests/unit/threading/process_end_test.cpp says what each must do.
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include "modes.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
namespace threading = sennit::threading;
using threading::Event;
using threading::Thread;

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

// Started and forgotten, as threading.Thread(...).start() in Python: the object lives as long as the process.
void start(std::function<void()> f, bool daemon = false, const char* name = "") {
    (new Thread({.name = name, .daemon = daemon}, std::move(f)))->start();
}

void wait_until_alone_parked(std::size_t others) {
    while (sennit::wait::Registry::parked_count() < others) {}
}

// Says when it is destroyed; a thread that uses it afterwards ends the process with an error.
struct Global {
    const char* name;
    volatile bool alive = true;
    std::string* text = new std::string(100, 'x');
    explicit Global(const char* name) : name(name) {}
    ~Global() {
        if (*name) say(std::string("destroyed: ") + name);
        alive = false;
        delete text;
        text = nullptr;
    }
    void use() {
        if (!alive || text->size() != 100) {
            static_cast<void>(::write(2, "used a destroyed object\n", 24));
            ::_exit(99);
        }
    }
};

// ---- non-daemons are waited for

void waits_for_main_then_speaks() { // ThreadJoinOnShutdown.joiningfunc
    threading::main_thread().join();
    say("end of thread");
}

int join_on_return() {
    start(waits_for_main_then_speaks);
    say("end of main");
    return 3;
}

int join_on_exit() {
    start(waits_for_main_then_speaks);
    say("end of main");
    std::exit(4);
}

int started_at_the_end() { // thread_from_thread
    start([] {
        threading::main_thread().join();
        start([] {
            start([] { say("third"); });
            say("second");
        });
    });
    return 0;
}

int static_objects_live_as_long() {
    static Event made, go;
    start([] {
        static Global late("late"); // made after everything that the library registered
        made.set();
        threading::main_thread().join();
        go.wait();
        late.use();
        say("thread done");
    });
    made.wait();
    static Global later("in main");
    go.set();
    return 0;
}

int exit_in_a_thread() {
    static Event main_waits;
    start([] {
        Event never;
        main_waits.wait();
        start([] { say("other thread done"); });
        std::exit(5);
    });
    main_waits.set();
    Event().wait();
    return 1;
}

int exit_in_a_thread_that_another_joins() {
    static std::unique_ptr<Thread> ends;
    ends = std::make_unique<Thread>(threading::ThreadOptions{.name = "ends"}, [] {
        wait_until_alone_parked(2);
        std::exit(6);
    });
    ends->start();
    start([] { ends->join(); }, false, "joiner");
    Event().wait();
    return 1;
}

int main_leaves_by_pthread_exit() {
    start([] { say("thread done"); });
    say("end of main");
    ::pthread_exit(nullptr);
}

int quick_exit_waits_for_nobody() {
    start([] { Event().wait(); });
    std::quick_exit(7);
}

int started_by_a_static_destructor() {
    struct Starts {
        ~Starts() {
            start([] { say("thread of the destructor"); });
        }
    };
    static Starts starts;
    say("end of main");
    return 0;
}

int timer_is_waited_for() {
    (new threading::Timer(1ms, [] { say("timer"); }))->start();
    return 0;
}

int nobody_used_threads() {
    say("end of main");
    return 0;
}

// ---- daemons are not

int daemon_is_not_waited_for() {
    static Event running;
    start(
        [] {
            say("daemon runs");
            running.set();
            Event().wait();
            say("never said");
        },
        true);
    running.wait();
    return 0;
}

int daemon_that_computes() {
    static Event running;
    start(
        [] {
            running.set();
            for (sennit::atomic<unsigned> n{0};;) n.fetch_add(1);
        },
        true);
    running.wait();
    return 0;
}

int daemons_do_not_crash_the_end() { // test_4_daemon_threads
    static Global shared("");
    static threading::local<std::string> text;
    static sennit::atomic<int> have_run{0};
    for (int i = 0; i < 40; ++i)
        start(
            [] {
                bool first = true;
                for (Event never;;) {
                    shared.use();
                    *text += "x";
                    static_cast<void>(threading::current_thread().name());
                    if (first) have_run.fetch_add(1);
                    first = false;
                    never.wait(20us);
                }
            },
            true);
    while (have_run.load() < 40) {}
    struct Slow { // made last: destroyed first, while the daemons would go on
        ~Slow() { ::usleep(20'000); }
    };
    static Slow slow;
    static_cast<void>(slow);
    return 0;
}

int a_destructor_may_wait_for_a_daemon() {
    struct Logger {
        Event stop, stopped;
        Thread writer{{.name = "writer", .daemon = true}, [this] {
                          stop.wait();
                          say("flushed");
                          stopped.set();
                      }};
        Logger() { writer.start(); }
        ~Logger() {
            stop.set();
            stopped.wait();
            writer.join();
        }
    };
    static Logger logger;
    wait_until_alone_parked(1);
    return 0;
}

int local_of_main_lives_as_long_as_the_local() { // test_locals_at_exit
    static threading::local<std::string> x;
    *x = "value";
    struct AtExit {
        ~AtExit() { say("x is " + *x); }
    };
    static AtExit at_exit;
    return 0;
}

int main_thread_at_the_end() { // test_main_thread_during_shutdown
    static const threading::ThreadRef main = threading::current_thread();
    struct AtExit {
        ~AtExit() {
            say(std::string("main ") + (threading::current_thread() == main ? "is current" : "is not current") +
                (threading::main_thread() == main ? ", is main" : ", is not main"));
        }
    };
    static AtExit at_exit;
    return 0;
}

// ---- fork

int child_joins_at_its_end() { // test_2_join_in_forked_process
    if (const pid_t child = ::fork()) {
        int status = 0;
        ::waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    }
    start(waits_for_main_then_speaks);
    say("end of main");
    return 8;
}

int child_of_a_thread_joins_at_its_end() { // test_3_join_in_forked_from_thread
    static int result = 99;
    Thread worker([] {
        const threading::ThreadRef parents_main = threading::main_thread();
        if (const pid_t child = ::fork()) {
            int status = 0;
            ::waitpid(child, &status, 0);
            result = WEXITSTATUS(status);
            return;
        }
        start([parents_main] {
            parents_main.join(); // at once: it has not come along
            say("end of thread");
        });
        say("end of main");
        // and the child's only old thread leaves its function: the process ends with its last thread
    });
    worker.start();
    worker.join();
    return result;
}

int fork_at_exit() { // test_fork_at_exit
    static_cast<void>(threading::current_thread());
    std::atexit([] {
        if (const pid_t child = ::fork()) {
            int status = 0;
            ::waitpid(child, &status, 0);
            say("child ended with " + std::to_string(WEXITSTATUS(status)));
        } else {
            say("child process ok");
        }
    });
    return 0;
}

// ---- errors

int uncaught() { // test_print_exception
    Thread t({.name = "T"}, [] { throw std::runtime_error("division by zero"); });
    t.start();
    t.join();
    say("end of main");
    return 0;
}

int uncaught_without_stderr() { // test_print_exception_stderr_is_none
    ::close(2);
    return uncaught();
}

int subclass_without_join() {
    struct Careless final : Thread {
        void run() override {
            Event& last = end; // the object is gone after running.set()
            running.set();
            last.wait();
        }
        Event &running, &end;
        Careless(Event& running, Event& end) : running(running), end(end) {}
    };
    static Event running, end;
    auto t = std::make_unique<Careless>(running, end);
    t->start();
    running.wait();
    Thread ender([] {
        wait_until_alone_parked(2);
        end.set();
    });
    ender.start();
    t.reset();
    say("end of main");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const Modes modes{
        MODE(join_on_return),
        MODE(join_on_exit),
        MODE(started_at_the_end),
        MODE(static_objects_live_as_long),
        MODE(exit_in_a_thread),
        MODE(exit_in_a_thread_that_another_joins),
        MODE(main_leaves_by_pthread_exit),
        MODE(quick_exit_waits_for_nobody),
        MODE(started_by_a_static_destructor),
        MODE(timer_is_waited_for),
        MODE(nobody_used_threads),
        MODE(daemon_is_not_waited_for),
        MODE(daemon_that_computes),
        MODE(daemons_do_not_crash_the_end),
        MODE(a_destructor_may_wait_for_a_daemon),
        MODE(local_of_main_lives_as_long_as_the_local),
        MODE(main_thread_at_the_end),
        MODE(child_joins_at_its_end),
        MODE(child_of_a_thread_joins_at_its_end),
        MODE(fork_at_exit),
        MODE(uncaught),
        MODE(uncaught_without_stderr),
        MODE(subclass_without_join),
    };
    return run_mode("thread_end", modes, argc, argv);
}

// After every destructor and atexit function, ours too: too late for a thread.
[[gnu::destructor]] static void at_the_very_end() {
    if (!std::getenv("START_AT_THE_VERY_END")) return;
    try {
        Thread t([] { say("too late"); });
        t.start();
    } catch (const sennit::UsageError& error) {
        say(error.what());
    }
}

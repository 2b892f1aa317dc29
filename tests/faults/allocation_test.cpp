// F18: the n-th allocation of an operation fails, for each n until it succeeds. The operation throws bad_alloc or a typed
// error with ENOMEM, its object is as before, and the same call works once there is memory (P22).
#include "support/fault_row.hpp"
#include "support/shim.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/queue.hpp>
#include <sennit/subprocess.hpp>
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include <cerrno>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace subprocess;
using threading::Thread;
using threading::Timer;

// What an operation works on, made anew for each n; `call` is what may fail, `as_before` what must hold when it has.
struct Case {
    std::function<void()> call;
    std::function<bool()> as_before = [] { return true; };
    std::function<bool()> as_after = [] { return true; };
    std::function<void()> again = nullptr; // where trying once more is another call
};

struct Operation {
    const char* name;
    std::function<Case()> make;
};

// True when the allocation that was to fail took place.
bool try_one(const Operation& operation, std::int64_t nth, testing::FaultRow& row) {
    SCOPED_TRACE(std::string(operation.name) + ", allocation " + std::to_string(nth));
    const Case one = operation.make();
    testing::FaultRow::Trial trial(row);
    bool threw = false, injected = false;
    {
        testing::AllocationFault fault(nth);
        try {
            one.call();
        } catch (const std::bad_alloc&) {
            threw = true;
        } catch (const OSError& e) {
            threw = true;
            if (e.code() != ENOMEM) throw;
        }
        injected = fault.injected();
    }
    trial.injected = injected ? 1 : 0;
    if (threw) {
        EXPECT_TRUE(injected) << "no memory was refused, and it threw";
        EXPECT_TRUE(one.as_before()) << "the object has changed";
        EXPECT_NO_THROW(one.again ? one.again() : one.call()) << "the same call does not work with memory";
    }
    EXPECT_TRUE(one.as_after()) << "the call had no effect";
    return injected;
}

void try_all(const std::vector<Operation>& operations) {
    testing::FaultRow row("F18");
    for (const Operation& operation : operations) {
        const Case warm = operation.make(); // what is made once is made now
        warm.call();
        std::int64_t n = 1;
        while (n < 5'000 && try_one(operation, n, row)) ++n;
        EXPECT_LT(n, 5'000) << operation.name << " never succeeds";
    }
}

template <class T>
std::shared_ptr<T> fresh() {
    return std::make_shared<T>();
}

// Put into a queue that holds `before` items.
template <class Q>
Operation put_into(const char* name, int before) {
    return {name, [before] {
                auto q = fresh<Q>();
                for (int i = 0; i < before; ++i) q->put(i);
                return Case{[q] { q->put(1'000'000); }, [q, before] { return q->qsize() == std::size_t(before); },
                            [q, before] { return q->qsize() == std::size_t(before) + 1; }};
            }};
}

TEST(F18Allocation, of_a_queue_is_refused_cleanly) {
    try_all({put_into<queue::Queue<int>>("Queue.put, the first", 0),
             put_into<queue::Queue<int>>("Queue.put, the 100th", 99),
             put_into<queue::SimpleQueue<int>>("SimpleQueue.put", 0),
             put_into<queue::SimpleQueue<int>>("SimpleQueue.put, the 1,000th", 999),
             put_into<queue::LifoQueue<int>>("LifoQueue.put", 0),
             put_into<queue::LifoQueue<int>>("LifoQueue.put, the 64th", 63),
             put_into<queue::PriorityQueue<int>>("PriorityQueue.put", 0),
             put_into<queue::PriorityQueue<int>>("PriorityQueue.put, the 64th", 63),
             {"Queue.put of a string",
              [] {
                  auto q = fresh<queue::Queue<std::string>>();
                  return Case{[q] { q->put(std::string(100, 'x')); }, [q] { return q->empty(); },
                              [q] { return q->qsize() == 1; }};
              }},
             {"a queue with a limit, and its items", [] {
                  return Case{[] {
                      queue::Queue<int> q(8);
                      for (int i = 0; i < 8; ++i) q.put(i);
                      for (int i = 0; i < 8; ++i) q.get();
                  }};
              }}});
}

// A use of sennit by a thread that never did so before: its agent is made then.
Operation first_use(const char* name, std::function<void()> use) {
    return {name, [use] {
                return Case{[use] {
                    std::exception_ptr error;
                    testing::AllocationFault::Handover fault;
                    std::thread t([&] {
                        fault.begin();
                        try {
                            use();
                        } catch (...) {
                            error = std::current_exception();
                        }
                        fault.end();
                    });
                    t.join();
                    if (error) std::rethrow_exception(error);
                }};
            }};
}

// Locks and their kin need no memory at all, so they can't be refused any.
TEST(F18Allocation, is_none_of_a_primitives_needs) {
    threading::Lock lock;
    threading::RLock rlock;
    threading::Condition condition;
    threading::Event event;
    threading::BoundedSemaphore semaphore(1);
    threading::Barrier barrier(1);
    testing::AllocationFault every(1);
    lock.acquire();
    lock.acquire(1us);
    lock.release();
    rlock.acquire();
    rlock.release();
    {
        std::scoped_lock guard(condition);
        condition.wait(1us);
        condition.notify_all();
    }
    event.wait(1us);
    event.set();
    semaphore.acquire();
    semaphore.acquire(true, Deadline(1us));
    semaphore.release();
    barrier.wait();
    EXPECT_EQ(every.count(), 0);
}

TEST(F18Allocation, of_a_thread_is_refused_cleanly) {
    try_all({{"Thread.start",
              [] {
                  auto ran = std::make_shared<atomic<int>>(0);
                  auto thread = std::make_shared<Thread>([ran] { ran->fetch_add(1); });
                  return Case{[thread] { thread->start(); },
                              [thread, ran] { return !thread->is_alive() && ran->load() == 0; },
                              [thread, ran] {
                                  thread->join();
                                  return ran->load() == 1;
                              }};
              }},
             {"Thread with a name and arguments",
              [] {
                  return Case{[] {
                      Thread t(
                          {.name = std::string(60, 'n')}, [](const std::string&) {}, std::string(100, 'a'));
                      t.start();
                      t.join();
                  }};
              }},
             {"Timer.start",
              [] {
                  auto ran = std::make_shared<atomic<int>>(0);
                  auto timer = std::make_shared<Timer>(0s, [ran] { ran->fetch_add(1); });
                  return Case{[timer] { timer->start(); }, [timer] { return !timer->is_alive(); },
                              [timer, ran] {
                                  timer->join();
                                  return ran->load() == 1;
                              }};
              }},
             {"Thread.set_name",
              [] {
                  auto thread = std::make_shared<Thread>(threading::ThreadOptions{.name = "old"}, [] {});
                  const std::string name(100, 'y');
                  return Case{[thread, name] { thread->set_name(name); }, [thread] { return thread->name() == "old"; },
                              [thread, name] { return thread->name() == name; }};
              }},
             {"Thread.name",
              [] {
                  auto thread = std::make_shared<Thread>(threading::ThreadOptions{.name = std::string(50, 'x')}, [] {});
                  return Case{[thread] { static_cast<void>(thread->name()); }};
              }},
             {"enumerate", [] { return Case{[] { static_cast<void>(threading::enumerate()); }}; }},
             {"current_thread().name()",
              [] { return Case{[] { static_cast<void>(threading::current_thread().name()); }}; }},
             {"local",
              [] {
                  auto value = std::make_shared<threading::local<std::vector<int>>>();
                  return Case{[value] { value->get().assign(100, 7); },
                              [value] { return !value->has_value() || value->get().empty(); },
                              [value] { return value->get().size() == 100; }};
              }},
             {"local with a maker",
              [] {
                  return Case{[] {
                      threading::local<std::string> value([] { return std::string(100, 'z'); });
                      static_cast<void>(value.get());
                  }};
              }},

             {"the list of agents", [] { return Case{[] { static_cast<void>(wait::Registry::describe()); }}; }},
             first_use("current_thread in a thread of somebody else",
                       [] { static_cast<void>(threading::current_thread().name()); }),
             first_use("a wait in a thread of somebody else", [] {
                 threading::Event event;
                 event.wait(1us);
             })});
}

Operation gives(const char* name, std::function<bool()> right) {
    return {name, [right] {
                return Case{[right] {
                    if (!right()) throw std::logic_error("the result is not right");
                }};
            }};
}

TEST(F18Allocation, of_a_subprocess_is_refused_cleanly) {
    try_all({gives("run with capture",
                   [] {
                       return run({"echo", "x"}, {.capture_output = true}).std_out == "x\n";
                   }),
             gives("input", [] { return run({"cat"}, {.input = "x", .capture_output = true}).std_out == "x"; }),
             gives("call", [] { return call({"true"}) == 0; }),
             {"Popen.communicate",
              [] {
                  auto child = std::make_shared<Popen>(std::initializer_list<Arg>{"cat"},
                                                       PopenOptions{.stdin_ = PIPE, .stdout_ = PIPE});
                  auto got = std::make_shared<std::string>();
                  return Case{[child, got] { *got = child->communicate("some input").std_out; }, [] { return true; },
                              [got] { return *got == "some input"; },
                              // Its input has begun: the next call goes on with it.
                              [child, got] { *got = child->communicate().std_out; }};
              }},
             gives("Popen and wait", [] { return Popen({"true"}).wait() == 0; }),
             gives("getoutput", [] { return getoutput("echo x") == "x"; }),
             gives("check_output",
                   [] {
                       return check_output({"echo", "x"}) == "x\n";
                   }),
             gives("environment",
                   [] {
                       return check_output({"env"}, {.env = {{"PATH", "/usr/bin:/bin"}}}) == "PATH=/usr/bin:/bin\n";
                   }),
             gives("extra environment",
                   [] {
                       return check_output({"sh", "-c", "echo $A"}, {.extra_env = {{"A", "b"}}}) == "b\n";
                   }),
             gives("directory", [] { return check_output({"pwd"}, {.cwd = "/"}) == "/\n"; }),
             gives("shell", [] { return check_output("echo $0", {.shell = true}).size() > 1; }),
             gives("many arguments",
                   [] {
                       std::vector<std::string> args(300, "argument");
                       args[0] = "true";
                       return call(args) == 0;
                   }),
             gives("pass_fds",
                   [] {
                       return call({"true"}, {.pass_fds = {0, 1, 2}}) == 0;
                   }),
             gives("devnull", [] { return call({"true"}, {.stdin_ = DEVNULL, .stdout_ = DEVNULL}) == 0; }),
             gives("group", [] { return call({"true"}, {.kill_group = true}) == 0; }),
             gives("time-out", [] { return call({"true"}, {.timeout = 60s}) == 0; }),
             gives("a missing program",
                   [] {
                       try {
                           call({"/no/such/program"});
                       } catch (const OSError& e) {
                           if (e.code() == ENOENT) return true;
                           throw;
                       }
                       return false;
                   }),
             gives("a failure that is checked",
                   [] {
                       try {
                           run({"false"}, {.check = true});
                       } catch (const CalledProcessError&) {
                           return true;
                       }
                       return false;
                   }),
             gives("lines", [] {
                 Popen child({"sh", "-c", "echo a; echo b"}, {.stdout_ = PIPE});
                 const std::string all = child.communicate().std_out;
                 return all == "a\nb\n";
             })});
}

} // namespace
} // namespace sennit

// F18: the n-th allocation of an operation fails, for each n until it succeeds. The operation throws bad_alloc or a typed
// error with ENOMEM, its object is as before, and the same call works once there is memory (P22).
#include "support/fault_row.hpp"
#include "support/shim.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/futures.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/queue.hpp>
#include <sennit/subprocess.hpp>
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include <array>
#include <cerrno>
#include <exception>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
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
             {"LifoQueue.put of a string",
              [] {
                  auto q = fresh<queue::LifoQueue<std::string>>();
                  return Case{[q] { q->put(std::string(100, 'x')); }, [q] { return q->empty(); },
                              [q] { return q->qsize() == 1; }};
              }},
             {"PriorityQueue.put of a string",
              [] {
                  auto q = fresh<queue::PriorityQueue<std::string>>();
                  return Case{[q] { q->put(std::string(100, 'x')); }, [q] { return q->empty(); },
                              [q] { return q->qsize() == 1; }};
              }},
             {"Queue.put_nowait over the end of a block",
              [] {
                  auto q = fresh<queue::Queue<int>>();
                  for (int i = 0; i < 256; ++i) q->put(i);
                  return Case{[q] { q->put_nowait(256); }, [q] { return q->qsize() == 256; },
                              [q] { return q->qsize() == 257; }};
              }},
             {"LifoQueue.try_put",
              [] {
                  auto q = fresh<queue::LifoQueue<std::string>>();
                  auto item = std::make_shared<std::string>(100, 'x');
                  return Case{[q, item] { q->try_put(*item); },
                              [q, item] { return q->empty() && item->size() == 100; }, // the item as it was
                              [q] { return q->qsize() == 1; }};
              }},
             {"Queue.put of what may throw",
              [] {
                  struct Throws {
                      std::string text = std::string(50, 'x');
                      Throws() = default;
                      Throws(Throws&& other) noexcept(false) : text(other.text) {} // allocates, and so may throw
                  };
                  auto q = fresh<queue::Queue<Throws>>();
                  return Case{[q] { q->put(Throws()); }, [q] { return q->empty(); }, [q] { return q->qsize() == 1; }};
              }},
             {"Queue.get of what may throw",
              [] {
                  struct Throws {
                      std::string text = std::string(50, 'x');
                      Throws() = default;
                      Throws(Throws&& other) noexcept(false) : text(other.text) {}
                  };
                  auto q = fresh<queue::Queue<Throws>>();
                  q->put(Throws());
                  return Case{[q] { q->get(); }, [q] { return q->qsize() == 1; }, [q] { return q->empty(); }};
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
             {"Thread that nobody starts",
              [] {
                  return Case{[] {
                      const Thread t({.name = "idle", .daemon = true}, [large = std::vector<int>(100)] {});
                      if (t.is_alive()) throw std::logic_error("it has not been started");
                  }};
              }},
             {"Timer that is cancelled",
              [] {
                  return Case{[] {
                      Timer timer(1h, [large = std::vector<int>(100)] {});
                      timer.start();
                      timer.cancel();
                      timer.join();
                  }};
              }},
             {"Barrier with an action",
              [] {
                  return Case{[] {
                      int ran = 0;
                      threading::Barrier barrier(1, [&ran, large = std::vector<int>(100)] { ++ran; });
                      barrier.wait();
                      if (ran != 1) throw std::logic_error("the action runs once");
                  }};
              }},
             {"main_thread().name()", [] { return Case{[] { static_cast<void>(threading::main_thread().name()); }}; }},
             {"excepthook",
              [] {
                  return Case{[] {
                                  threading::excepthook = [large = std::array<char, 100>()](const auto&) {
                                      static_cast<void>(large);
                                  };
                              },
                              [] { return true; },
                              [] {
                                  threading::excepthook = threading::default_excepthook;
                                  return true;
                              }};
              }},
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
             gives("getstatusoutput",
                   [] {
                       const auto [status, said] = getstatusoutput("echo x; exit 3");
                       return status == 3 && said == "x";
                   }),
             gives("both streams in one",
                   [] { return check_output("echo a; echo b >&2", {.shell = true, .stderr_ = STDOUT}) == "a\nb\n"; }),
             gives("three pipes",
                   [] {
                       Popen child({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
                       const Popen::Output said = child.communicate(std::string(100'000, 'x'));
                       return said.std_out.size() == 100'000 && said.std_err.empty();
                   }),
             gives("a command that is checked and fails",
                   [] {
                       try {
                           check_call({"sh", "-c", "exit 7"});
                       } catch (const CalledProcessError&) {
                           return true;
                       }
                       return false;
                   }),
             gives("a time-out that passes",
                   [] {
                       try {
                           run({"sleep", "60"}, {.capture_output = true, .timeout = 1ms});
                       } catch (const TimeoutExpired&) {
                           return true;
                       }
                       return false;
                   }),
             gives("a missing directory",
                   [] {
                       try {
                           call({"true"}, {.cwd = "/no/such/directory"});
                       } catch (const OSError& e) {
                           if (e.code() == ENOENT) return true;
                           throw;
                       }
                       return false;
                   }),
             gives("an argument with a NUL",
                   [] {
                       try {
                           call({"true", std::string("a\0b", 3)});
                       } catch (const UsageError&) {
                           return true;
                       }
                       return false;
                   }),
             gives("executable",
                   [] {
                       return check_output({"x", "-c", "echo $0"}, {.executable = "/bin/sh"}) == "x\n";
                   }),
             gives("terminate",
                   [] {
                       Popen child({"cat"}, {.stdin_ = PIPE});
                       child.terminate();
                       return child.wait() == -15;
                   }),
             gives("a line to a child and one back",
                   [] {
                       Popen child({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
                       child.std_in().write("a line\n");
                       child.std_in().close();
                       const bool right = child.std_out().readline() == "a line\n";
                       return child.wait() == 0 && right;
                   }),
             gives("lines", [] {
                 Popen child({"sh", "-c", "echo a; echo b"}, {.stdout_ = PIPE});
                 const std::string all = child.communicate().std_out;
                 return all == "a\nb\n";
             })});
}

// ---- futures and pools. What fails is the caller's memory, not that of a worker.

std::vector<int> few() { return {1, 2, 3, 4, 5}; }

TEST(F18Allocation, of_a_future_is_refused_cleanly) {
    using futures::Future;
    try_all({{"Future", [] { return Case{[] { const Future<int> f; }}; }},
             {"Future.set_result",
              [] {
                  Future<std::string> f;
                  return Case{[f] { f.set_result(std::string(100, 'x')); }, [f] { return !f.done(); },
                              [f] { return f.done() && f.exception() == nullptr; }};
              }},
             {"Future.set_exception",
              [] {
                  Future<int> f;
                  return Case{[f] { f.set_exception(std::make_exception_ptr(std::runtime_error("a reason"))); },
                              [f] { return !f.done(); }, [f] { return f.exception() != nullptr; }};
              }},
             {"Future.add_done_callback",
              [] {
                  Future<int> f;
                  auto called = std::make_shared<int>(0);
                  return Case{[f, called] {
                                  f.add_done_callback(
                                      [called, large = std::vector<int>(50)](const Future<int>&) { ++*called; });
                              },
                              [called] { return *called == 0; },
                              [f, called] {
                                  f.set_result(1);
                                  return *called == 1; // that of a refused call is not there
                              }};
              }},
             gives("Future.result at its deadline",
                   [] {
                       try {
                           const Future<int> f;
                           f.exception(1us);
                       } catch (const TimeoutError&) {
                           return true;
                       }
                       return false;
                   }),
             {"wait",
              [] {
                  Future<int> a, b;
                  a.set_result(1);
                  const std::vector<Future<int>> both{a, b};
                  return Case{[both] {
                                  const auto [done, not_done] =
                                      futures::wait(both, {.return_when = futures::FIRST_COMPLETED});
                                  if (done.size() != 1 || not_done.size() != 1) throw std::logic_error("one is done");
                              },
                              [b] { return !b.done(); }};
              }},
             {"as_completed", [] {
                  std::vector<Future<int>> all(3);
                  for (const Future<int>& f : all) f.set_result(1);
                  return Case{[all] {
                      int n = 0;
                      for (auto f : futures::as_completed(all)) n += f.result();
                      if (n != 3) throw std::logic_error("each once");
                  }};
              }}});
}

TEST(F18Allocation, of_a_pool_is_refused_cleanly) {
    using futures::ThreadPoolExecutor;
    using multiprocessing::pool::ThreadPool;
    auto pool = std::make_shared<ThreadPoolExecutor>(2);
    auto threads = std::make_shared<ThreadPool>(2);
    // Both workers of either are there before memory runs out.
    for (int i = 0; i < 2; ++i) {
        sync::Barrier both(2);
        const auto meet = [&both] { both.wait(); };
        auto a = pool->submit(meet), b = pool->submit(meet);
        a.result(), b.result();
        auto c = threads->apply_async(meet), d = threads->apply_async(meet);
        c.get(), d.get();
    }
    const auto square = [](int x) { return x * x; };
    const auto sum = [](const std::vector<int>& all) {
        int s = 0;
        for (const int x : all) s += x;
        return s;
    };
    try_all({gives("ThreadPoolExecutor", [] { return ThreadPoolExecutor(3).submit([] { return 7; }).result() == 7; }),
             {"ThreadPoolExecutor.submit",
              [pool] {
                  auto ran = std::make_shared<atomic<int>>(0);
                  auto f = std::make_shared<futures::Future<void>>();
                  return Case{[=] { *f = pool->submit([ran, large = std::vector<int>(100)] { ran->fetch_add(1); }); },
                              [=] { return ran->load() == 0; },
                              [=] {
                                  f->result();
                                  return ran->load() == 1;
                              }};
              }},
             gives("ThreadPoolExecutor.map",
                   [=] {
                       int s = 0;
                       for (const int x : pool->map(square, few())) s += x;
                       return s == 55;
                   }),
             gives("ThreadPoolExecutor.map with a buffer",
                   [=] {
                       int s = 0;
                       for (const int x : pool->map(square, few(), {.buffersize = 2})) s += x;
                       return s == 55;
                   }),
             gives("a job that throws",
                   [=] {
                       try {
                           pool->submit([] { throw std::runtime_error("a reason"); }).result();
                       } catch (const std::runtime_error&) {
                           return true;
                       }
                       return false;
                   }),
             gives("parallel_for",
                   [=] {
                       std::vector<int> all(100);
                       futures::parallel_for(*pool, 0, 100, [&](int i) { all[static_cast<std::size_t>(i)] = i; });
                       return sum(all) == 4950;
                   }),
             gives("parallel_for of a range",
                   [=] {
                       std::vector<int> all(100, 1);
                       futures::parallel_for(*pool, all, [](int& x) { ++x; });
                       return sum(all) == 200;
                   }),
             gives("parallel_reduce",
                   [=] {
                       return futures::parallel_reduce(*pool, 0, 100, 0, std::plus<>(), [](int i) { return i; }) ==
                              4950;
                   }),
             gives("parallel_invoke",
                   [=] {
                       atomic<int> n{0};
                       futures::parallel_invoke(
                           *pool, [&] { n.fetch_add(1); }, [&] { n.fetch_add(2); }, [&] { n.fetch_add(4); });
                       return n.load() == 7;
                   }),
             gives("ThreadPool", [] { return ThreadPool(2).apply([] { return 7; }) == 7; }),
             gives("ThreadPool.apply", [=] { return threads->apply([](int x) { return x + 1; }, 6) == 7; }),
             gives("ThreadPool.apply_async", [=] { return threads->apply_async([] { return 7; }).get() == 7; }),
             gives("ThreadPool.map", [=] { return sum(threads->map(square, few())) == 55; }),
             gives("ThreadPool.map in chunks", [=] { return sum(threads->map(square, few(), 2)) == 55; }),
             gives("ThreadPool.map_async", [=] { return sum(threads->map_async(square, few()).get()) == 55; }),
             gives("ThreadPool.starmap",
                   [=] {
                       const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
                       return sum(threads->starmap([](int a, int b) { return a * b; }, pairs)) == 14;
                   }),
             gives("ThreadPool.starmap_async",
                   [=] {
                       const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
                       return sum(threads->starmap_async([](int a, int b) { return a * b; }, pairs).get()) == 14;
                   }),
             gives("ThreadPool.imap",
                   [=] {
                       int s = 0;
                       auto results = threads->imap(square, few());
                       while (auto x = results.next()) s += *x;
                       return s == 55;
                   }),
             gives("ThreadPool.imap_unordered",
                   [=] {
                       int s = 0;
                       auto results = threads->imap_unordered(square, few(), 2);
                       while (auto x = results.next()) s += *x;
                       return s == 55;
                   }),
             gives("ThreadPool.close and join", [] {
                 ThreadPool short_lived(1);
                 auto r = short_lived.apply_async([] { return 7; });
                 short_lived.close();
                 short_lived.join();
                 return r.get() == 7;
             })});
}

TEST(F18Allocation, of_an_event_loop_is_refused_cleanly) {
    const auto run_with = [](loop::EventLoop& events, auto prepare) {
        int ran = 0;
        prepare(ran);
        events.call_soon([&] { events.stop(); });
        events.run_forever();
        return ran;
    };
    try_all({gives("EventLoop", [] { return !loop::EventLoop().is_running(); }),
             gives("EventLoop.call_soon",
                   [=] {
                       loop::EventLoop events;
                       return run_with(events, [&](int& ran) {
                                  events.call_soon([&ran, large = std::vector<int>(50)] { ++ran; });
                              }) == 1;
                   }),
             gives("EventLoop.call_soon_threadsafe",
                   [=] {
                       loop::EventLoop events;
                       return run_with(events, [&](int& ran) { events.call_soon_threadsafe([&ran] { ++ran; }); }) == 1;
                   }),
             gives("EventLoop.call_later", [=] {
                 loop::EventLoop events;
                 return run_with(events, [&](int& ran) { events.call_later(0s, [&ran] { ++ran; }); }) <= 1;
             })});
}

} // namespace
} // namespace sennit

// The end of the process
//
//   return from main, exit() in main   1  main's thread_locals are destroyed; ours, which was made before main, as the last of
//                                         them: end_of_process()
//                                      2  static objects are destroyed and atexit functions run, newest first
//                                      3  our first atexit function, registered before those of the program: end_of_process()
//                                         again, for threads that 2 has started; from now on start() refuses
//   exit() in another thread           the same, but instead of 1 our second atexit function, registered by the first start()
//
// 1 comes before the end of every static object, however late that was made: glibc's exit() begins with the calling thread's
// thread_locals, and the standard says the same of main's ([basic.start.term]). So threads may use all of them till they end.
// Source: P25 of the guarantees; CPython's threading._shutdown.
#include "threads.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/process_end.hpp>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

namespace sennit::threading::detail {
namespace {

struct Alive {
    base::IntrusiveList list; // those that were started, and foreign ones; not the main one
    std::size_t count = 0;
    bool closed = false; // the process has ended but for a few instructions
};
constinit Alive alive;

// What before_the_end() was told.
constinit atomic<void (*)() noexcept> at_the_beginning_of_the_end{nullptr};

constinit thread_local ThreadState* this_thread = nullptr;

// nullptr: nobody has asked for it yet. In the child of a fork that another thread called: that thread's.
constinit atomic<ThreadState*> main_state{nullptr};
constinit atomic<std::uintptr_t> main_ident{0};
constinit atomic<bool> main_has_ended{false};

constinit atomic<std::uint64_t> next_dummy{1}; // relaxed: only uniqueness counts

class OtherState final : public ThreadState {
  public:
    using ThreadState::ThreadState;

  private:
    ~OtherState() override = default;
};

// Main's thread_local of step 1.
struct EndOfMain {
    ~EndOfMain() { Threads::end_of_process(); }
};
thread_local EndOfMain end_of_main;

// 101: before the constructors of the program's static objects, so that our atexit function comes after their destructors.
[[gnu::constructor(101)]] void prepare_the_end() noexcept {
    std::atexit([] { Threads::last_handler(); });
    if (!os::is_main_thread()) return; // loaded later, by another thread
    main_ident.store(os::thread_number(os::this_thread()), memory_order_relaxed);
    static_cast<void>(&end_of_main); // makes it
}

} // namespace

constinit os::Mutex Threads::lock;

void Threads::handle_fork_and_end() {
    static const bool done = [] {
        // The registry's handlers come first, so that a fork takes our lock before the registry's, as everybody does.
        wait::current_thread_agent();
        os::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
        std::atexit([] { end_of_process(); });
        return true;
    }();
    static_cast<void>(done);
}

void Threads::add(ThreadState& thread) {
    handle_fork_and_end();
    {
        os::MutexGuard guard(lock);
        if (!alive.closed) {
            alive.list.push_back(thread);
            ++alive.count;
            return;
        }
    }
    throw UsageError("Thread.start: the process has ended and waits for no more threads; start thread " +
                     thread.quoted_name() + " before the last static objects are destroyed");
}

void Threads::remove(ThreadState& thread) noexcept {
    os::MutexGuard guard(lock);
    if (!thread.linked()) return; // forgotten by a fork
    base::IntrusiveList::remove(thread);
    --alive.count;
}

std::vector<ThreadRef> Threads::all() {
    ThreadState& first = main();
    std::vector<ThreadRef> threads;
    for (std::size_t room = 8;;) {
        threads.clear();
        threads.reserve(room); // outside the lock: allocation may fail or wait
        os::MutexGuard guard(lock);
        if (alive.count + 1 > room) {
            room = alive.count + 8;
            continue;
        }
        if (!first.linked() && first.phase() == ThreadState::Phase::started) threads.push_back(ref(first));
        for (base::ListNode* n = alive.list.front(); n; n = alive.list.after(*n))
            threads.push_back(ref(static_cast<ThreadState&>(*n)));
        return threads;
    }
}

std::size_t Threads::count() {
    ThreadState& first = main();
    os::MutexGuard guard(lock);
    return alive.count + (!first.linked() && first.phase() == ThreadState::Phase::started ? 1 : 0);
}

ThreadState* Threads::current_or_null() noexcept { return this_thread; }

void Threads::set_current(ThreadState* thread) noexcept { this_thread = thread; }

ThreadState& Threads::main() {
    // acquire: meets the release below.
    if (ThreadState* known = main_state.load(memory_order_acquire)) return *known;
    handle_fork_and_end();
    auto* made = new OtherState(ThreadState::Kind::main); // never destroyed
    made->name_ = "MainThread";
    made->named_.store(true, memory_order_relaxed);
    made->native_id_.store(static_cast<std::uint32_t>(os::main_thread_id()), memory_order_relaxed);
    made->ident_.store(main_ident.load(memory_order_relaxed), memory_order_relaxed);
    made->phase_.store(ThreadState::Phase::started, memory_order_relaxed);
    ThreadState* known = nullptr;
    // seq_cst, both: meets end_of_process(): either that sees the state, or this sees that main has ended.
    if (main_state.compare_exchange_strong(known, made, memory_order_seq_cst, memory_order_acquire)) {
        if (main_has_ended.load(memory_order_seq_cst)) made->end();
        return *made;
    }
    made->drop_ref();
    return *known;
}

ThreadState& Threads::current() {
    if (this_thread) return *this_thread;
    wait::Agent& agent = wait::current_thread_agent();
    if (os::is_main_thread()) {
        ThreadState& it = main();
        it.ident_.store(os::thread_number(os::this_thread()), memory_order_relaxed);
        it.set_agent(agent);
        return *(this_thread = &it);
    }
    auto* made = new OtherState(ThreadState::Kind::foreign);
    StatePtr owner = StatePtr::adopt(made);
    made->name_ = "Dummy-" + std::to_string(next_dummy.fetch_add(1, memory_order_relaxed));
    made->named_.store(true, memory_order_relaxed);
    made->daemon_.store(true, memory_order_relaxed);
    made->native_id_.store(static_cast<std::uint32_t>(os::current_thread_id()), memory_order_relaxed);
    made->ident_.store(os::thread_number(os::this_thread()), memory_order_relaxed);
    made->phase_.store(ThreadState::Phase::started, memory_order_relaxed);
    made->set_agent(agent);
    // After the agent's hook, so that it runs before it: end() leaves nobody who could still rename the agent.
    made->exit_hook_.state = made;
    made->exit_hook_.run = &ThreadState::left;
    if (const int e = os::at_thread_exit(made->exit_hook_)) throw OSError(e, "current_thread: pthread_setspecific");
    made->add_ref(); // the thread's own
    this_thread = made;
    try {
        add(*made);
    } catch (const UsageError&) { // at the very end: known, but not listed
    }
    return *made;
}

void Threads::before_the_end(void (*run)() noexcept) noexcept {
    handle_fork_and_end();
    at_the_beginning_of_the_end.store(run, memory_order_release); // meets end_of_process()
}

void Threads::end_of_process() noexcept {
    // Others may wait for main. In exit() called by another thread main goes on meanwhile.
    if (os::is_main_thread()) {
        main_has_ended.store(true, memory_order_seq_cst); // meets main()
        ThreadState* const main_thread = main_state.load(memory_order_seq_cst);
        if (main_thread && main_thread->kind() == ThreadState::Kind::main) main_thread->end();
    }
    if (auto* const run = at_the_beginning_of_the_end.load(memory_order_acquire)) run(); // meets before_the_end()
    std::vector<ThreadState*> given_up;
    for (;;) {
        StatePtr next;
        {
            os::MutexGuard guard(lock);
            for (base::ListNode* n = alive.list.front(); n && !next; n = alive.list.after(*n)) {
                auto& thread = static_cast<ThreadState&>(*n);
                bool skip = &thread == this_thread || thread.kind() != ThreadState::Kind::made || thread.daemon();
                for (ThreadState* g : given_up) skip = skip || g == &thread;
                if (!skip) next = StatePtr::share(thread);
            }
        }
        if (!next) break;
        if (!next->wait_to_the_end("the end of the process", true)) given_up.push_back(next.get());
    }
    wait::ProcessEnd::begin();
}

void Threads::last_handler() noexcept {
    end_of_process();
    os::MutexGuard guard(lock);
    alive.closed = true;
}

void Threads::before_fork() noexcept SENNIT_NO_TSA { lock.lock(); }

void Threads::after_fork_in_parent() noexcept SENNIT_NO_TSA { lock.unlock(); }

void Threads::ended_with_fork(ThreadState& thread) noexcept {
    // Nobody runs it here. What its function holds is never given back, as is its stack; nor is it joined with the system.
    thread.joiners_.reset_after_fork();
    thread.reaped_.store(true, memory_order_relaxed);
    thread.agent_.store(0, memory_order_relaxed);
    thread.phase_.store(ThreadState::Phase::ended, memory_order_relaxed);
}

void Threads::after_fork_in_child() noexcept SENNIT_NO_TSA {
    ThreadState* const me = this_thread;
    while (base::ListNode* n = alive.list.pop_front()) {
        auto& thread = static_cast<ThreadState&>(*n);
        if (&thread != me) ended_with_fork(thread);
    }
    alive.count = 0;
    lock.reset_after_fork();
    // Who forked is the main thread now.
    ThreadState* const former = main_state.load(memory_order_relaxed);
    main_ident.store(os::thread_number(os::this_thread()), memory_order_relaxed);
    main_has_ended.store(false, memory_order_relaxed);
    if (former && former != me) ended_with_fork(*former);
    main_state.store(me, memory_order_relaxed); // nullptr: made anew when somebody asks
    if (!me) return;
    os::forget_thread_id();
    me->native_id_.store(static_cast<std::uint32_t>(os::current_thread_id()), memory_order_relaxed);
    me->joiners_.reset_after_fork();
    if (me->kind_ == ThreadState::Kind::made) {
        alive.list.push_back(*me);
        alive.count = 1;
    } else {
        me->kind_ = ThreadState::Kind::main;
        me->daemon_.store(false, memory_order_relaxed);
        try {
            me->name_ = "MainThread";
        } catch (...) { // no memory: it keeps its name
        }
    }
}

} // namespace sennit::threading::detail

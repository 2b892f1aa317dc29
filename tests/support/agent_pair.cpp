#include "agent_pair.hpp"

#include <sennit/base/errors.hpp>

#include <sched.h>

namespace sennit::testing {

const char* name_of(Kind kind) {
    switch (kind) {
    case Kind::thread:
        return "thread";
    case Kind::coroutine:
        return "coroutine";
    }
    return "?";
}

std::vector<Kind> all_kinds() { return {Kind::thread, Kind::coroutine}; }

std::string name_of(const Pair& pair) {
    return std::string(name_of(pair.waiter)) + "_woken_by_" + name_of(pair.waker) +
           (pair.one_loop ? "_of_its_loop" : "");
}

std::vector<Pair> all_pairs() {
    std::vector<Pair> pairs;
    for (const Kind waiter : all_kinds())
        for (const Kind waker : all_kinds()) {
            pairs.push_back({waiter, waker, false});
            if (waiter != Kind::thread && waker != Kind::thread) pairs.push_back({waiter, waker, true});
        }
    return pairs;
}

Actor::~Actor() {
    if (thread_.joinable()) thread_.join();
}

void Actor::cancel() noexcept {
    cancel_asked_ = true;
    agent().cancel();
}

Co<> Actor::run() {
    wait::Agent& me = wait::current_agent();
    if (kind_ == Kind::thread) me.set_name(name_);
    agent_ = &me;
    try {
        co_await body_(*this);
    } catch (const CancelledError&) {
        was_cancelled_ = true;
        if (!cancel_asked_) error_ = std::current_exception();
    } catch (...) {
        error_ = std::current_exception();
    }
    ended_ = true;
    ended_.notify_all();
}

void Actor::run_on_thread() {
    auto h = run().release();
    h.resume();
    if (!h.done()) std::abort(); // a thread's calls block: they never suspend
    h.destroy();
}

Actor& Stage::start(Kind kind, Actor::Body body, bool on_waiters_loop) {
    const std::string name = "agent " + std::to_string(actors_.size() + 1);
    actors_.emplace_back(new Actor(kind, name, std::move(body)));
    Actor& actor = *actors_.back();
    switch (kind) {
    case Kind::thread:
        actor.thread_ = std::thread([&actor] { actor.run_on_thread(); });
        break;
    case Kind::coroutine: {
        auto& loop = on_waiters_loop ? waiters_loop_ : wakers_loop_;
        if (!loop) {
            loop = std::make_unique<TestLoop>();
            loop->start();
        }
        loop->spawn([&actor] { return actor.run(); }, name);
        break;
    }
    }
    while (!actor.agent_.load()) ::sched_yield();
    return actor;
}

void Stage::join(Actor& actor) {
    // Not by a primitive under test. The watchdog ends it if need be.
    actor.ended_.wait(false);
    if (actor.thread_.joinable()) actor.thread_.join();
    if (std::exception_ptr error = std::exchange(actor.error_, nullptr)) {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& e) {
            ADD_FAILURE() << actor.name_ << " (" << name_of(actor.kind()) << ") ended with an exception: " << e.what();
        } catch (...) {
            ADD_FAILURE() << actor.name_ << " ended with an exception";
        }
    }
}

void Stage::join() {
    for (auto& a : actors_) join(*a);
}

Stage::~Stage() {
    join();
    waiters_loop_.reset(); // joins their threads
    wakers_loop_.reset();
}

} // namespace sennit::testing

#include "test_loop.hpp"

#include <sennit/asyncio/frame_memory.hpp>
#include <sennit/base/errors.hpp>

#include <chrono>
#include <ctime>
#include <sched.h>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace sennit::testing {

#if !defined(SENNIT_MODEL)

long live_coroutine_frames() noexcept { return asyncio::FrameMemory::blocks_in_use(); }

wait::Agent& TestTask::agent() const {
    while (!there_.load()) ::sched_yield();
    return task_.base();
}

void TestTask::cancel() noexcept {
    int expected = made;
    if (!state_.compare_exchange_strong(expected, cancel_first) && expected == begun) task_.base().Agent::cancel();
}

Co<> TestTask::run(const std::function<Co<>()>& body) {
    int expected = made;
    if (!state_.compare_exchange_strong(expected, begun)) {
        state_ = begun;
        wait::current_agent().cancel();
    }
    co_await body();
}

TestLoop::~TestLoop() {
    if (thread_.joinable()) join();
}

TestTask& TestLoop::spawn(std::function<Co<>()> body, std::string_view name) {
    std::unique_ptr<TestTask> made(new TestTask(*this));
    TestTask& it = *made;
    {
        const std::scoped_lock guard(mutex_);
        tasks_.push_back(std::move(made));
    }
    ++live_;
    struct Told final : asyncio::TaskObserver {
        TestTask& it;
        explicit Told(TestTask& t) : it(t) {}
        void on_done(asyncio::TaskBase& task) noexcept override {
            task.mark_error_seen(); // first_error() tells
            TestLoop& loop = it.loop_;
            it.done_.set();
            --loop.live_;
            delete this;
        }
    };
    auto create = [this, &it, body = std::move(body), name = std::string(name)] {
        it.task_ = asyncio::create_task_on(loop_, {.name = name}, [&it, body]() -> Co<> { return it.run(body); });
        it.task_.base().observe(*new Told(it));
        it.there_ = true;
    };
    if (!thread_.joinable() || asyncio::EventLoop::running_or_null() == &loop_)
        create();
    else
        loop_.call_soon_threadsafe(std::move(create));
    return it;
}

void TestLoop::turn_until_idle(bool and_stopped) {
    const asyncio::EventLoop::Running runs(loop_);
    while (live_ > 0 || (and_stopped && !stopping_)) loop_.turn(true);
}

void TestLoop::run() { turn_until_idle(false); }

void TestLoop::start() {
    thread_ = std::thread([this] { turn_until_idle(true); });
}

void TestLoop::join() {
    stopping_ = true;
    loop_.call_soon_threadsafe([] {}); // so that it looks
    thread_.join();
    stopping_ = false;
}

std::exception_ptr TestLoop::first_error() const noexcept {
    const std::scoped_lock guard(mutex_);
    for (const auto& t : tasks_)
        if (t->error()) return t->error();
    return nullptr;
}

#endif

namespace {

bool sleeps_in_loop(const wait::Agent::Snapshot& s) { return std::string_view(s.site->object) == "EventLoop"; }

template <class Done>
void poll_until(Done done) {
    // By the kernel's clock: base's may stand still.
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    int turns = 0;
    while (!done()) {
        if (std::chrono::steady_clock::now() > limit)
            throw std::runtime_error("agents did not park within 60 s:\n" + wait::Registry::describe());
        if (++turns < 1'000) {
            ::sched_yield();
        } else { // not so often that it looks like progress to the watchdog
            const timespec pause{0, 1'000'000};
            ::nanosleep(&pause, nullptr);
        }
    }
}

} // namespace

void wait_until_parked(std::size_t n) {
    poll_until([n] {
        std::size_t parked = 0;
        for (const auto& s : wait::Registry::snapshot())
            parked += s.parked && s.site && !s.settled && !sleeps_in_loop(s) ? 1 : 0;
        return parked >= n;
    });
}

void wait_until_parked(const wait::Agent& agent, const void* object) {
    poll_until([&agent, object] {
        for (const auto& s : wait::Registry::snapshot())
            if (s.agent == &agent) return s.parked && s.site && !s.settled && (!object || s.object == object);
        return false;
    });
}

void wait_until_parked_on(const void* object, std::size_t n) {
    poll_until([object, n] {
        std::size_t parked = 0;
        for (const auto& s : wait::Registry::snapshot())
            parked += s.parked && s.site && !s.settled && s.object == object ? 1 : 0;
        return parked >= n;
    });
}

} // namespace sennit::testing

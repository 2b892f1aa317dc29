// What a coroutine costs: awaiting one, a task of its own, and a turn through the loop.
#include "common/bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <coroutine>
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/task.hpp>

namespace {

namespace asio = boost::asio;
namespace aio = sennit::asyncio;

// ---- limits: what the language alone does

struct Lazy {
    struct promise_type {
        std::coroutine_handle<> next;
        Lazy get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() noexcept { return {}; }
        struct Final {
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
                return h.promise().next;
            }
            void await_resume() noexcept {}
        };
        Final final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::abort(); }
    };
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        h.promise().next = caller;
        return h;
    }
    void await_resume() noexcept { h.destroy(); }
    std::coroutine_handle<promise_type> h;
};

[[gnu::noinline]] Lazy lazy_nothing() { co_return; }
Lazy lazy_many(int n) {
    for (int i = 0; i < n; ++i) co_await lazy_nothing();
}

struct SwitchTo {
    std::coroutine_handle<>& to;
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<>) noexcept { return to; }
    void await_resume() noexcept {}
};
Lazy pinger(std::coroutine_handle<>& other, int n) {
    for (int i = 0; i < n; ++i) co_await SwitchTo{other};
}

// ---- sennit

[[gnu::noinline]] aio::Coro<> nothing() { co_return; }
aio::Coro<> await_many(int n) {
    for (int i = 0; i < n; ++i) co_await nothing();
}
aio::Coro<> yield_many(int n) {
    for (int i = 0; i < n; ++i) co_await aio::sleep(std::chrono::seconds(0));
}

// ---- Asio

asio::awaitable<void> asio_nothing() { co_return; }
asio::awaitable<void> asio_await_many(int n) {
    for (int i = 0; i < n; ++i) co_await asio_nothing();
}
asio::awaitable<void> asio_yield_many(int n) {
    for (int i = 0; i < n; ++i) co_await asio::post(asio::use_awaitable);
}
double asio_run(int n, auto&& start) {
    asio::io_context io(1);
    start(io);
    const double begin = bench::seconds();
    io.run();
    return (bench::seconds() - begin) / n * 1e9;
}

constexpr int batch = 1'000;

} // namespace

int main(int argc, char** argv) {
    bench::pin_to_one_of_two(0);
    bench::Board board(5);

    std::string in_case = "await a coroutine";
    board.add(in_case, "C++20 coroutine, one allocation (limit)", "ns", [] {
        constexpr int n = 1'000'000;
        Lazy l = lazy_many(n);
        l.h.promise().next = std::noop_coroutine();
        const double begin = bench::seconds();
        l.h.resume();
        const double took = bench::seconds() - begin;
        l.h.destroy();
        return took / n * 1e9;
    });
    board.add(in_case, "Asio awaitable", "ns", [] {
        constexpr int n = 300'000;
        return asio_run(n, [](auto& io) { asio::co_spawn(io, asio_await_many(n), asio::detached); });
    });
    board.add(in_case, "sennit Coro", "ns", [] {
        constexpr int n = 1'000'000;
        double took = 0;
        aio::run([&]() -> aio::Coro<> {
            const double begin = bench::seconds();
            co_await await_many(n);
            took = bench::seconds() - begin;
        });
        return took / n * 1e9;
    });

    in_case = "create + join a task, 1,000 at a time";
    board.add(in_case, "Asio co_spawn", "ns", [] {
        constexpr int rounds = 100;
        asio::io_context io(1);
        double took = 0;
        for (int r = 0; r < rounds; ++r) {
            const double begin = bench::seconds();
            for (int i = 0; i < batch; ++i) asio::co_spawn(io, asio_nothing(), asio::detached);
            io.run();
            io.restart();
            took += bench::seconds() - begin;
        }
        return took / (rounds * batch) * 1e9;
    });
    board.add(in_case, "sennit Task", "ns", [] {
        constexpr int rounds = 300;
        double took = 0;
        aio::run([&]() -> aio::Coro<> {
            std::vector<aio::Task<>> tasks(batch);
            const double begin = bench::seconds();
            for (int r = 0; r < rounds; ++r) {
                for (auto& t : tasks) t = aio::create_task(nothing());
                for (auto& t : tasks) co_await t;
            }
            took = bench::seconds() - begin;
        });
        return took / (rounds * batch) * 1e9;
    });

    in_case = "switch through the loop, 2 tasks";
    board.add(in_case, "symmetric transfer, no loop (limit)", "ns", [] {
        constexpr int n = 1'000'000;
        std::coroutine_handle<> a, b;
        Lazy first = pinger(b, n), second = pinger(a, n);
        a = first.h;
        b = second.h;
        first.h.promise().next = std::noop_coroutine();
        second.h.promise().next = std::noop_coroutine();
        const double begin = bench::seconds();
        a.resume();
        const double took = bench::seconds() - begin;
        first.h.destroy();
        second.h.destroy();
        return took / (2.0 * n) * 1e9;
    });
    board.add(in_case, "Asio post", "ns", [] {
        constexpr int n = 100'000;
        return asio_run(2 * n, [](auto& io) {
            for (int t = 0; t < 2; ++t) asio::co_spawn(io, asio_yield_many(n), asio::detached);
        });
    });
    board.add(in_case, "sennit sleep(0)", "ns", [] {
        constexpr int n = 1'000'000;
        double took = 0;
        aio::run([&]() -> aio::Coro<> {
            auto a = aio::create_task(yield_many(n));
            auto b = aio::create_task(yield_many(n));
            const double begin = bench::seconds();
            co_await a;
            co_await b;
            took = bench::seconds() - begin;
        });
        return took / (2.0 * n) * 1e9;
    });
    return board.run(argc, argv);
}

// A million tasks that sleep for a second, each sample in a process of its own: what they take in memory and time.
#include "common/bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <coroutine>
#include <ctime>
#include <queue>
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/task.hpp>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

namespace {

namespace asio = boost::asio;
namespace aio = sennit::asyncio;
constexpr int sleepers = 1'000'000;
constexpr std::chrono::seconds nap(1); // named: a temporary would lie in each sleeping frame, whoever's

// ---- the limit: bare coroutines and one heap of deadlines

struct Bare {
    struct Entry {
        double at;
        std::coroutine_handle<> h;
        bool operator<(const Entry& other) const { return at > other.at; }
    };
    struct Task {
        struct promise_type {
            Task get_return_object() { return {}; }
            std::suspend_never initial_suspend() noexcept { return {}; }
            std::suspend_never final_suspend() noexcept { return {}; }
            void return_void() {}
            void unhandled_exception() { std::abort(); }
        };
    };
    struct Sleep {
        Bare& loop;
        bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<> h) { loop.heap.push({bench::seconds() + 1, h}); }
        void await_resume() noexcept {}
    };
    Task one() {
        co_await Sleep{*this};
        ++done;
    }
    int run() {
        for (int i = 0; i < sleepers; ++i) one();
        while (!heap.empty()) {
            const double now = bench::seconds(), wait = heap.top().at - now;
            if (wait > 0) {
                const timespec t{static_cast<time_t>(wait),
                                 static_cast<long>((wait - static_cast<time_t>(wait)) * 1e9)};
                ::nanosleep(&t, nullptr);
                continue;
            }
            const auto h = heap.top().h;
            heap.pop();
            h.resume();
        }
        return done;
    }
    std::priority_queue<Entry> heap;
    int done = 0;
};

// ---- sennit

aio::Coro<> sleeper(int& done) {
    co_await aio::sleep(nap);
    ++done;
}
int with_sennit() {
    int done = 0;
    aio::run([&]() -> aio::Coro<> {
        for (int i = 0; i < sleepers; ++i) aio::create_task(sleeper(done));
        while (done < sleepers) co_await aio::sleep(std::chrono::milliseconds(1));
    });
    return done;
}

// ---- peers

asio::awaitable<void> asio_sleeper(int& done) {
    asio::steady_timer t(co_await asio::this_coro::executor, nap);
    co_await t.async_wait(asio::use_awaitable);
    ++done;
}
int with_asio() {
    asio::io_context io(1);
    int done = 0;
    for (int i = 0; i < sleepers; ++i) asio::co_spawn(io, asio_sleeper(done), asio::detached);
    io.run();
    return done;
}

int uv_done = 0;
int with_libuv() {
    std::vector<uv_timer_t> timers(sleepers);
    uv_loop_t* loop = uv_default_loop();
    for (auto& t : timers) {
        uv_timer_init(loop, &t);
        uv_timer_start(
            &t, [](uv_timer_t*) { ++uv_done; }, 1000, 0);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    return uv_done;
}

// ---- one sample

double status_bytes(const char* key) {
    char line[256];
    double kib = 0;
    if (FILE* f = std::fopen("/proc/self/status", "r")) {
        while (std::fgets(line, sizeof line, f))
            if (std::strncmp(line, key, std::strlen(key)) == 0) kib = std::atof(line + std::strlen(key) + 1);
        std::fclose(f);
    }
    return kib * 1024;
}

struct Figures {
    double bytes, seconds;
};
Figures measure(int (*contender)()) {
    int ends[2];
    if (::pipe(ends) != 0) bench::die("pipe failed");
    const pid_t child = ::fork();
    if (child < 0) bench::die("fork failed");
    if (child == 0) {
        Figures f{};
        const double before = status_bytes("VmRSS"), begin = bench::seconds();
        if (contender() != sleepers) bench::die("some did not wake up");
        f.seconds = bench::seconds() - begin;
        f.bytes = (status_bytes("VmHWM") - before) / sleepers;
        if (::write(ends[1], &f, sizeof f) != sizeof f) std::abort();
        ::_exit(0);
    }
    ::close(ends[1]);
    Figures f{};
    if (::read(ends[0], &f, sizeof f) != sizeof f) bench::die("a sample failed");
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return f;
}

} // namespace

int main(int argc, char** argv) {
    bench::Board board;
    const auto add = [&](const char* who, int (*contender)()) {
        board.add("1,000,000 sleep for 1 s: all done", who, "s", [&board, who, contender] {
            const Figures f = measure(contender);
            board.also("1,000,000 sleep for 1 s: memory", who, f.bytes, "bytes each");
            return f.seconds;
        });
    };
    add("bare coroutines and a heap (limit)", [] { return Bare().run(); });
    add("libuv timers (callbacks)", with_libuv);
    add("Asio co_spawn + steady_timer", with_asio);
    add("sennit create_task + sleep", with_sennit);
    return board.run(argc, argv);
}

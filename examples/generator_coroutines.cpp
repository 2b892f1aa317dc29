// Generators that stop at each value and go on when asked for the next one; with send(), values go both ways.
#include <sennit/asyncio.hpp>

#include <chrono>
#include <cstdio>
#include <string>

namespace asyncio = sennit::asyncio;
using namespace std::chrono_literals;

asyncio::AsyncGenerator<int> count_down(int from) {
    for (; from > 0; --from) {
        co_await asyncio::sleep(1ms); // it may wait like any coroutine
        co_yield from;
    }
}

// Takes a number with each turn and gives the mean of all so far.
asyncio::AsyncGenerator<double, int> mean() {
    double sum = 0, result = 0;
    for (int n = 1;; ++n) {
        const std::optional<int> sent = co_yield result;
        if (!sent) co_return;
        sum += *sent;
        result = sum / n;
    }
}

// Producer and consumer as two coroutines that hand the turn to each other.
asyncio::AsyncGenerator<std::string, int> consumer() {
    std::string answer;
    for (;;) {
        const std::optional<int> item = co_yield answer;
        if (!item) co_return;
        std::printf("consumer got %d\n", *item);
        answer = "ok " + std::to_string(*item);
    }
}

asyncio::Coro<> show_all() {
    auto numbers = count_down(3);
    while (auto n = co_await numbers.async_next()) std::printf("count %d\n", *n);

    auto average = mean();
    co_await average.async_next(); // to its first co_yield
    for (const int n : {10, 20, 60}) std::printf("sent %d, mean %.1f\n", n, *co_await average.asend(n));

    auto c = consumer();
    co_await c.async_next();
    for (int item = 1; item <= 2; ++item) {
        std::printf("producer sends %d\n", item);
        std::printf("producer got %s\n", (co_await c.asend(item))->c_str());
    }
    co_await c.aclose();
}

int main() { asyncio::run(show_all()); }

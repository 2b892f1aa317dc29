// What g++ 12 does right when it is made inside an expression with co_await, and the public functions take: it destroys some
// temporaries twice (docs/guides/asyncio.md), and none of these.
#include <sennit/asyncio.hpp>

#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

// Counts itself, and owns something, so that a second destruction is seen with and without a sanitizer.
class Counted {
  public:
    explicit Counted(int value) : value_(std::make_unique<int>(value)) { ++live; }
    Counted(const Counted& other) : value_(std::make_unique<int>(*other.value_)) { ++live; }
    Counted(Counted&& other) noexcept : value_(std::move(other.value_)) { ++live; }
    Counted& operator=(Counted other) noexcept {
        value_.swap(other.value_);
        return *this;
    }
    ~Counted() { --live; }
    [[nodiscard]] int value() const { return *value_; }
    static inline int live = 0;

  private:
    std::unique_ptr<int> value_;
};

Coro<int> by_value(Counted c) {
    co_await sleep(0s);
    co_return c.value();
}
Coro<int> by_reference(const Counted& c) {
    co_await sleep(0s);
    co_return c.value();
}
AsyncGenerator<int> several(Counted c) {
    for (int i = 0; i < 2; ++i) co_yield c.value() + i;
}

TEST(Temporaries, arguments_of_coroutines_and_of_calls_are_destroyed_once) {
    Counted::live = 0;
    run([]() -> Coro<> {
        EXPECT_EQ(co_await by_value(Counted(1)), 1);
        EXPECT_EQ(co_await by_reference(Counted(2)), 2);
        EXPECT_EQ(co_await create_task(by_value(Counted(3))), 3);
        EXPECT_EQ(co_await create_task(by_value, Counted(4)), 4);
        EXPECT_EQ(co_await create_task(by_reference, Counted(5)), 5) << "kept by the task";
        EXPECT_EQ(
            co_await create_task([](const Counted& c) -> Coro<int> { co_return co_await by_value(c); }, Counted(6)), 6);
        EXPECT_EQ(co_await to_thread([](const Counted& c) { return c.value(); }, Counted(7)), 7);
        EXPECT_EQ(co_await to_thread([](std::stop_token, const Counted& c) { return c.value(); }, Counted(8)), 8);
        EXPECT_EQ(co_await wait_for(by_value(Counted(9)), 1h), 9);
        EXPECT_EQ(co_await shield(by_value(Counted(10))), 10);
        EXPECT_EQ(co_await gather(by_value(Counted(11)), by_value(Counted(12))), std::make_tuple(11, 12));
        std::vector<Coro<int>> range;
        range.push_back(by_value(Counted(13)));
        EXPECT_EQ((co_await gather(std::move(range))).at(0), 13);
        auto generator = several(Counted(14));
        EXPECT_EQ(*co_await generator.async_next(), 14);
        EXPECT_EQ(*co_await generator.async_next(), 15);
        EXPECT_FALSE(co_await generator.async_next());
    });
    EXPECT_EQ(Counted::live, 0);
}

TEST(Temporaries, closures_that_have_a_name_or_refer_are_destroyed_once) {
    Counted::live = 0;
    run([]() -> Coro<> {
        const Counted one(1);
        auto coroutine = [one]() -> Coro<int> { co_return co_await by_value(one); };
        auto plain = [one] { return one.value(); };
        EXPECT_EQ(co_await create_task(coroutine), 1);
        EXPECT_EQ(co_await create_task(std::move(coroutine)), 1);
        EXPECT_EQ(co_await to_thread(plain), 1);
        EXPECT_EQ(co_await to_thread(std::move(plain)), 1);
        EXPECT_EQ(co_await create_task([&one]() -> Coro<int> { co_return one.value(); }), 1);
        EXPECT_EQ(co_await to_thread([&one] { return one.value(); }), 1);
        EXPECT_EQ(co_await TaskGroup::run(
                      [&one](TaskGroup& group) -> Coro<int> { co_return co_await group.create_task(by_value(one)); }),
                  1);
        Timeout limit(1h);
        EXPECT_EQ(co_await limit.run([&one](Timeout&) -> Coro<int> { co_return one.value(); }), 1);
        // Made in another expression than the one that awaits.
        auto task = create_task([one]() -> Coro<int> { co_return one.value(); });
        EXPECT_EQ(co_await task, 1);
        auto thread = to_thread([one] { return one.value(); });
        EXPECT_EQ(co_await std::move(thread), 1);

        auto handler = [one](StreamReader, StreamWriter writer) -> Coro<> {
            writer.write(std::to_string(one.value()));
            co_await writer.drain();
        };
        Server server = co_await start_server(handler, "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        EXPECT_EQ(co_await reader.read(), "1");
        server.close();
        co_await server.wait_closed();
    });
    EXPECT_EQ(Counted::live, 0);
}

} // namespace
} // namespace sennit::asyncio

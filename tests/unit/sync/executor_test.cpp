#include <sennit/sync/executor.hpp>

#include <gtest/gtest.h>
#include <string>

namespace sennit {
namespace {

// Runs everything in submit(): the smallest executor there can be.
class Inline final : public sync::Executor {
  public:
    using Executor::shutdown;
    void shutdown(ShutdownOptions) override { closed = true; }
    bool closed = false;

  protected:
    void enqueue(sync::Task& task) override {
        if (closed) throw UsageError("closed");
        task.run();
    }
};

TEST(Executor, submit_gives_a_future_of_what_the_callable_returns) {
    Inline here;
    sync::Executor& any = here;
    static_assert(std::is_same_v<decltype(any.submit([] { return std::string(); })), sync::Future<std::string>>);
    EXPECT_EQ(any.submit([](const std::string& s) { return s + "!"; }, "hello").result(), "hello!");
    EXPECT_THROW(any.submit([] { throw std::out_of_range("far"); }).result(), std::out_of_range);
}

TEST(Executor, submit_throws_what_enqueue_throws_and_leaves_nothing_behind) {
    Inline here;
    auto held = std::make_shared<int>(1);
    here.shutdown();
    EXPECT_THROW(here.submit([held] {}), UsageError);
    EXPECT_EQ(held.use_count(), 1);
}

TEST(Executor, callable_and_arguments_are_gone_when_the_future_is_done) {
    Inline here;
    auto held = std::make_shared<int>(1);
    auto f = here.submit([held](std::shared_ptr<int>) {}, held); // NOLINT(performance-unnecessary-value-param)
    EXPECT_TRUE(f.done());
    EXPECT_EQ(held.use_count(), 1);
}

} // namespace
} // namespace sennit

#include <sennit/threading/excepthook.hpp>

#include <sennit/threading.hpp>

#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit {
namespace {

using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;
using threading::ExceptHookArgs;
using threading::Thread;

struct OddError {};

[[gnu::noinline]] void fails() { throw std::invalid_argument("run failed"); }

class RunFails final : public Thread {
  public:
    RunFails() : Thread({.name = "excepthook thread"}) {}
    ~RunFails() override { join_if_started(); }
    void run() override { fails(); }
};

std::string printed_by(auto&& throws) {
    CaptureStderr();
    Thread t({.name = "T"}, throws);
    t.start();
    t.join();
    return GetCapturedStderr();
}

TEST(Excepthook,
     prints_thread_stack_type_and_message_and_the_process_goes_on) { // test_excepthook, test_print_exception
    CaptureStderr();
    RunFails t;
    t.start();
    EXPECT_TRUE(t.join());
    const std::string text = GetCapturedStderr();
    EXPECT_THAT(text, HasSubstr("Exception in thread excepthook thread:\n"));
    EXPECT_THAT(text, HasSubstr("\nstd::invalid_argument: run failed\n"));
#if defined(__x86_64__) || defined(__aarch64__)
    EXPECT_THAT(text, HasSubstr("\n  #0 "));
    EXPECT_THAT(text, HasSubstr("(+0x")) << "module and offset, for addr2line";
#endif
    EXPECT_FALSE(t.is_alive());
}

TEST(Excepthook, prints_whatever_was_thrown) {
    EXPECT_THAT(printed_by([] { throw 42; }), HasSubstr("\nint: 42\n"));
    EXPECT_THAT(printed_by([] { throw "text"; }), HasSubstr("\nchar const*: text\n"));
    EXPECT_THAT(printed_by([] { throw std::string("text"); }), HasSubstr("basic_string"));
    EXPECT_THAT(printed_by([] { throw OddError(); }), HasSubstr("OddError\n"));
    EXPECT_THAT(printed_by([] { throw CancelledError(); }), HasSubstr("sennit::CancelledError: cancelled\n"));
    EXPECT_THAT(printed_by([] {
                    try {
                        throw std::runtime_error("the cause");
                    } catch (...) {
                        std::throw_with_nested(std::logic_error("the effect"));
                    }
                }),
                HasSubstr("the effect\n  caused by the cause\n"));
}

TEST(Excepthook, says_nothing_when_nothing_was_thrown) {
    EXPECT_EQ(printed_by([] {}), "");
}

TEST(Excepthook, can_be_replaced_and_put_back) { // test_custom_excepthook, test_original_excepthook
    const auto original = threading::excepthook.get();
    std::vector<ExceptHookArgs> told;
    threading::excepthook = [&](const ExceptHookArgs& a) { told.push_back(a); };
    RunFails t;
    CaptureStderr();
    t.start();
    t.join();
    EXPECT_EQ(GetCapturedStderr(), "");
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].exc_type, "std::invalid_argument");
    EXPECT_EQ(told[0].message, "run failed");
    EXPECT_EQ(told[0].thread, t);
    EXPECT_THROW(std::rethrow_exception(told[0].exc_value), std::invalid_argument);

    threading::excepthook = original;
    EXPECT_THAT(printed_by([] { fails(); }), HasSubstr("std::invalid_argument: run failed"));
    threading::excepthook = [](const ExceptHookArgs&) {};
    threading::excepthook = threading::default_excepthook;
    EXPECT_THAT(printed_by([] { fails(); }), HasSubstr("std::invalid_argument: run failed"));
    threading::excepthook = nullptr;
    EXPECT_THAT(printed_by([] { fails(); }), HasSubstr("std::invalid_argument: run failed"));
}

TEST(Excepthook, that_throws_is_reported_with_the_first_exception) { // test_custom_excepthook_fail
    threading::excepthook = [](const ExceptHookArgs&) { throw std::runtime_error("threading_hook failed"); };
    const std::string text = printed_by([] { fails(); });
    threading::excepthook = nullptr;
    EXPECT_THAT(text, HasSubstr("Exception in threading.excepthook:\n"));
    EXPECT_THAT(text, HasSubstr("std::runtime_error: threading_hook failed"));
    EXPECT_THAT(text, HasSubstr("std::invalid_argument: run failed"));
}

TEST(Excepthook, can_be_called_by_hand) { // test_excepthook_thread_None
    CaptureStderr();
    threading::excepthook({std::make_exception_ptr(OddError()), "OddError", "bug", "", threading::current_thread()});
    EXPECT_EQ(GetCapturedStderr(), "Exception in thread MainThread:\nOddError: bug\n");
}

TEST(Excepthook, may_be_set_while_threads_fail) {
    atomic<int> told{0};
    threading::excepthook = [&](const ExceptHookArgs&) { told.fetch_add(1); };
    std::vector<Thread> threads;
    for (int i = 0; i < 20; ++i) {
        threads.emplace_back([] { throw 1; });
        threads.back().start();
        threading::excepthook = [&](const ExceptHookArgs&) { told.fetch_add(1); };
    }
    for (auto& t : threads) t.join();
    threading::excepthook = nullptr;
    EXPECT_EQ(told.load(), 20);
}

} // namespace
} // namespace sennit

#include <sennit/os/throw_stack.hpp>

#include <cxxabi.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <stdexcept>
#include <string>

namespace sennit {
namespace {

// Not inlined: its address is what the stack must hold.
[[gnu::noinline]] void throws_deep_down(int depth) {
    if (depth == 0) throw std::runtime_error("deep");
    throws_deep_down(depth - 1);
    asm volatile(""); // no tail call
}

bool is_within(const os::ThrowStack& stack, void (*function)(int)) {
    for (std::size_t i = 0; i < stack.count; ++i) {
        const auto at = reinterpret_cast<std::uintptr_t>(stack.frames[i]);
        const auto begin = reinterpret_cast<std::uintptr_t>(function);
        if (at > begin && at < begin + 200) return true;
    }
    return false;
}

TEST(ThrowStack, holds_the_calls_that_led_to_the_throw) {
    os::ThrowStack stack;
    EXPECT_THROW(os::call_noting_throw([](void*) { throws_deep_down(5); }, nullptr, stack), std::runtime_error);
    ASSERT_GE(stack.count, 6u);
    EXPECT_TRUE(is_within(stack, throws_deep_down));
    const std::string text = stack.describe();
    EXPECT_NE(text.find("#0 "), std::string::npos) << text;
    EXPECT_EQ(text.find("__cxa_throw"), std::string::npos) << "begins at the throw:\n" << text;
    EXPECT_NE(text.find("(+0x"), std::string::npos) << text;
}

TEST(ThrowStack, is_empty_when_nothing_is_thrown_or_it_was_caught_within) {
    os::ThrowStack stack;
    os::call_noting_throw(
        [](void*) {
            try {
                throws_deep_down(1);
            } catch (const std::exception&) {}
        },
        nullptr, stack);
    EXPECT_EQ(stack.count, 0u);
    EXPECT_EQ(stack.describe(), "");
}

TEST(ThrowStack, passes_on_values_that_are_no_exceptions) {
    os::ThrowStack stack;
    EXPECT_THROW(os::call_noting_throw([](void*) { throw 42; }, nullptr, stack), int);
    EXPECT_GT(stack.count, 0u);
}

TEST(ThrowStack, nests) {
    os::ThrowStack outer;
    os::call_noting_throw(
        [](void*) {
            os::ThrowStack inner;
            EXPECT_THROW(os::call_noting_throw([](void*) { throws_deep_down(2); }, nullptr, inner), std::runtime_error);
            EXPECT_TRUE(is_within(inner, throws_deep_down));
        },
        nullptr, outer);
    EXPECT_EQ(outer.count, 0u);
}

TEST(ThrowStack, is_noted_by_each_call_that_the_exception_leaves) {
    static os::ThrowStack inner;
    os::ThrowStack outer;
    EXPECT_THROW(
        os::call_noting_throw([](void*) { os::call_noting_throw([](void*) { throws_deep_down(2); }, nullptr, inner); },
                              nullptr, outer),
        std::runtime_error);
    EXPECT_TRUE(is_within(inner, throws_deep_down));
    EXPECT_TRUE(is_within(outer, throws_deep_down));
}

TEST(ThrowStack, lets_pthread_exit_through) {
    pthread_t thread{};
    ASSERT_EQ(::pthread_create(
                  &thread, nullptr,
                  [](void*) -> void* {
                      os::ThrowStack stack;
                      os::call_noting_throw([](void*) { ::pthread_exit(reinterpret_cast<void*>(7)); }, nullptr, stack);
                      return nullptr;
                  },
                  nullptr),
              0);
    void* result = nullptr;
    ::pthread_join(thread, &result);
    EXPECT_EQ(result, reinterpret_cast<void*>(7));
}

} // namespace
} // namespace sennit

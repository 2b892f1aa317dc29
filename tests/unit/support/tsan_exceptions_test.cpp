// What tests/support/tsan_exceptions.cpp tells ThreadSanitizer, which without it calls both of these a race.
#include <gtest/gtest.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

// Whose frames hold no share of it.
__attribute__((noinline)) std::string look_at(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    }
}

TEST(TsanExceptions, the_last_owner_may_free_what_another_thread_has_looked_at) {
    for (int i = 0; i < 20; ++i) {
        std::exception_ptr mine = std::make_exception_ptr(std::runtime_error(std::string(100, 'x')));
        std::atomic<int> looked{0};
        std::thread other([theirs = mine, &looked]() mutable {
            EXPECT_EQ(look_at(theirs).size(), 100u);
            theirs = nullptr;
            // relaxed: orders nothing, so that only the exception's own count can.
            looked.store(1, std::memory_order_relaxed);
        });
        while (looked.load(std::memory_order_relaxed) == 0) std::this_thread::yield();
        mine = nullptr; // frees it
        other.join();
    }
}

TEST(TsanExceptions, so_may_the_thread_whose_handler_ends_last) {
    for (int i = 0; i < 20; ++i) {
        std::atomic<int> handling{0}, looked{0};
        std::exception_ptr theirs;
        std::thread other([&] {
            while (handling.load(std::memory_order_acquire) == 0) std::this_thread::yield();
            EXPECT_EQ(look_at(theirs).size(), 100u);
            theirs = nullptr;
            looked.store(1, std::memory_order_relaxed); // as above
        });
        try {
            throw std::runtime_error(std::string(100, 'x'));
        } catch (...) {
            theirs = std::current_exception();
            handling.store(1, std::memory_order_release);
            while (looked.load(std::memory_order_relaxed) == 0) std::this_thread::yield();
        }
        other.join();
    }
}

} // namespace

// Coroutines that give more than one value.
//
// A generator hands back to who awaits it at each co_yield, as a Coro does at its end (PromiseBase::hand_back). Between two values its
// frame is suspended at a co_yield, in nobody's wait: there, and only there, it may be destroyed.
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/base/errors.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

/// Thrown at the co_yield of a generator that aclose() ends. Let it pass.        Python: GeneratorExit
class GeneratorExit : public Error {
  public:
    GeneratorExit() : Error("the generator is being closed") {}
};

template <class Y, class S = void>
class AsyncGenerator;

namespace detail {

class GeneratorPromiseBase : public PromiseBase {
  public:
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }

  protected:
    template <class, class>
    friend class sennit::asyncio::AsyncGenerator;
    [[noreturn]] static void throw_busy();
    [[noreturn]] static void throw_not_started();
    [[noreturn]] static void throw_ignored_exit();

    // At the co_yield, once it goes on.
    void resumed() {
        if (thrown_) [[unlikely]]
            std::rethrow_exception(std::exchange(thrown_, nullptr));
    }
    std::exception_ptr error_;  // what it ended with
    std::exception_ptr thrown_; // by athrow(), aclose(): to be thrown at the co_yield
    bool running_ = false;
    bool started_ = false;
};

template <class S>
struct Sent {
    std::optional<S> value;
    std::optional<S> take() { return std::exchange(value, std::nullopt); }
};
template <>
struct Sent<void> {
    void take() noexcept {}
};

} // namespace detail

/// A coroutine that gives values one after the other, and may wait between them.            Python: an asynchronous generator
///
///     AsyncGenerator<int> ticks(int n) {
///         for (int i = 0; i < n; ++i) { co_await sleep(1s); co_yield i; }
///     }
///     auto t = ticks(3);
///     while (auto i = co_await t.async_next()) show(*i);                         // `async for`
///     for (auto i = co_await t.begin(); i != t.end(); co_await ++i) show(*i);    // the same, as a range has it
///
/// With a second type values go both ways: `AsyncGenerator<Out, In>`: co_yield gives std::optional<In>, what asend() brought.
/// Y may be a reference: the value stays where it is until the next call.
///
/// Agents    One task at a time.
/// Cancel    Of the task, while the generator waits: CancelledError is thrown there. It ends the generator, unless it catches it.
/// Lifetime  The parameters as a Coro's. Destroyed between two values: its locals are destroyed where it stands. Not destroyed while
///           it is awaited.
/// Cost      One frame for all values; a value is no allocation and no turn of the loop.
/// Source    Python 3.13 (PEP 525)
template <class Y, class S>
class [[nodiscard]] AsyncGenerator {
    static constexpr bool is_reference = std::is_reference_v<Y>;
    using Item = std::conditional_t<is_reference, std::remove_reference_t<Y>*, Y>;

  public:
    using value_type = std::remove_cvref_t<Y>;
    /// What async_next() gives: an optional value; for references a pointer.
    using optional_type = std::conditional_t<is_reference, Item, std::optional<Y>>;

    class promise_type final : public detail::GeneratorPromiseBase {
      public:
        AsyncGenerator get_return_object() noexcept {
            return AsyncGenerator(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        struct YieldAwaiter {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
                return h.promise().hand_back();
            }
            decltype(auto) await_resume() {
                promise->resumed();
                return promise->sent_.take();
            }
            promise_type* promise;
        };
        template <class U = Y>
        requires std::is_convertible_v<U&&, Y> YieldAwaiter yield_value(U&& value) {
            if constexpr (is_reference)
                item_ = std::addressof(value);
            else
                item_.emplace(std::forward<U>(value));
            return {this};
        }

      private:
        friend class AsyncGenerator;
        optional_type item_{};
        [[no_unique_address]] detail::Sent<S> sent_;
    };

    AsyncGenerator(AsyncGenerator&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~AsyncGenerator() {
        if (handle_) handle_.destroy();
    }

    /// What it does from one value to the next. co_await it in the full expression that made it.
    class [[nodiscard]] NextAwaiter {
      public:
        explicit NextAwaiter(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
        NextAwaiter(const NextAwaiter&) = delete;
        NextAwaiter& operator=(const NextAwaiter&) = delete;
        bool await_ready() const noexcept { return !handle_ || handle_.done(); }
        template <class P>
        bool await_suspend(std::coroutine_handle<P> caller,
                           std::source_location where = std::source_location::current()) {
            auto& promise = handle_.promise();
            promise.running_ = promise.started_ = true;
            return promise.resume_for(caller, by_, where);
        }
        optional_type await_resume() {
            if (!handle_) return {};
            auto& promise = handle_.promise();
            promise.running_ = false;
            if (promise.error_) std::rethrow_exception(std::exchange(promise.error_, nullptr));
            return std::exchange(promise.item_, optional_type{});
        }

      private:
        std::coroutine_handle<promise_type> handle_;
        detail::AwaiterLink by_;
    };

    /// Goes on to the next co_yield and gives its value; nothing once the generator has ended. Throws what it throws, and UsageError
    /// while another task waits for it.
    NextAwaiter async_next() {
        check_idle();
        return NextAwaiter(handle_);
    }
    /// The same, and co_yield gives the value. Throws UsageError when it has not come to a co_yield yet.
    template <class V = S>
    requires std::is_convertible_v<V&&, S> NextAwaiter asend(V&& value) {
        check_idle();
        if (alive()) {
            if (!handle_.promise().started_) promise_type::throw_not_started();
            handle_.promise().sent_.value.emplace(std::forward<V>(value));
        }
        return NextAwaiter(handle_);
    }
    /// The same, and co_yield throws the error. One that has not begun, or has ended, throws it here.
    NextAwaiter athrow(std::exception_ptr error) {
        check_idle();
        if (!alive() || !handle_.promise().started_) {
            drop();
            std::rethrow_exception(error);
        }
        handle_.promise().thrown_ = std::move(error);
        return NextAwaiter(handle_);
    }
    template <class E>
    requires std::derived_from<std::decay_t<E>, std::exception> NextAwaiter athrow(E&& error) {
        return athrow(std::make_exception_ptr(std::forward<E>(error)));
    }
    /// Ends it: throws GeneratorExit at the co_yield and runs it to its end; it may wait on the way. Throws UsageError when it
    /// yields another value instead.
    Coro<void> aclose() {
        check_idle();
        if (!alive() || !handle_.promise().started_) {
            drop();
            co_return;
        }
        try {
            handle_.promise().thrown_ = std::make_exception_ptr(GeneratorExit());
            if (co_await NextAwaiter(handle_)) promise_type::throw_ignored_exit();
        } catch (const GeneratorExit&) {}
    }

    class iterator {
      public:
        using value_type = AsyncGenerator::value_type;
        std::remove_reference_t<Y>& operator*() const noexcept { return *item_; }
        std::remove_reference_t<Y>* operator->() const noexcept { return std::addressof(*item_); }
        class Advance {
          public:
            explicit Advance(iterator& i) : iterator_(i), next_(i.generator_->async_next()) {}
            bool await_ready() const noexcept { return next_.await_ready(); }
            template <class P>
            bool await_suspend(std::coroutine_handle<P> caller,
                               std::source_location where = std::source_location::current()) {
                return next_.await_suspend(caller, where);
            }
            iterator& await_resume() {
                iterator_.item_ = next_.await_resume();
                return iterator_;
            }

          private:
            iterator& iterator_;
            NextAwaiter next_;
        };
        Advance operator++() { return Advance(*this); }
        friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.item_; }

      private:
        friend class AsyncGenerator;
        explicit iterator(AsyncGenerator& g) noexcept : generator_(&g) {}
        AsyncGenerator* generator_;
        mutable optional_type item_{};
    };
    Coro<iterator> begin() {
        iterator first(*this);
        co_await ++first;
        co_return first;
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  private:
    explicit AsyncGenerator(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    [[nodiscard]] bool alive() const noexcept { return handle_ && !handle_.done(); }
    void check_idle() const {
        if (handle_ && handle_.promise().running_) promise_type::throw_busy();
    }
    void drop() noexcept {
        if (handle_) std::exchange(handle_, {}).destroy();
    }
    std::coroutine_handle<promise_type> handle_;
};

/// The next value of whatever has async_next(): generators, as_completed(), streams.     Python: anext
template <class G>
decltype(auto) async_next(G& source) {
    return source.async_next();
}

} // namespace sennit::asyncio

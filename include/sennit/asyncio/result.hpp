#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

/// A value, or the error that came in its place: what gather(..., {.return_exceptions = true}) gives for each.
///
///     if (page) use(*page); else report(page.exception());
template <class T>
class Result {
  public:
    using value_type = T;
    Result(T value) : value_(std::forward<T>(value)) {}                     // NOLINT(google-explicit-constructor)
    Result(std::exception_ptr error) noexcept : error_(std::move(error)) {} // NOLINT(google-explicit-constructor)

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    /// The value; throws the error.
    T& value() & {
        rethrow();
        return *value_;
    }
    const T& value() const& {
        rethrow();
        return *value_;
    }
    T value() && {
        rethrow();
        return std::move(*value_);
    }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    /// nullptr when there is a value.
    [[nodiscard]] const std::exception_ptr& exception() const noexcept { return error_; }

  private:
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }
    std::optional<T> value_;
    std::exception_ptr error_;
};

template <class T>
class Result<T&> {
  public:
    using value_type = T&;
    Result(T& value) noexcept : value_(&value) {}                           // NOLINT(google-explicit-constructor)
    Result(std::exception_ptr error) noexcept : error_(std::move(error)) {} // NOLINT(google-explicit-constructor)
    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    T& value() const {
        if (error_) std::rethrow_exception(error_);
        return *value_;
    }
    T& operator*() const { return value(); }
    [[nodiscard]] const std::exception_ptr& exception() const noexcept { return error_; }

  private:
    T* value_ = nullptr;
    std::exception_ptr error_;
};

template <>
class Result<void> {
  public:
    using value_type = void;
    Result() noexcept = default;
    Result(std::exception_ptr error) noexcept : error_(std::move(error)) {} // NOLINT(google-explicit-constructor)
    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    void value() const {
        if (error_) std::rethrow_exception(error_);
    }
    void operator*() const { value(); }
    [[nodiscard]] const std::exception_ptr& exception() const noexcept { return error_; }

  private:
    std::exception_ptr error_;
};

} // namespace sennit::asyncio

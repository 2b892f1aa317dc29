// What sennit::atomic is under the `model` preset: the interface of std::atomic, with every operation told to the model.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

/// The model: the library's real code on OS threads of which exactly one runs at a time. Which one is decided before each
/// atomic operation and each futex call; which of the stores that the C++ memory model allows a load sees is decided too.
/// A seed or an exhaustive search decides, so that every run can be had again. docs/internals/wait.md, model_scheduler.hpp
namespace sennit::model {

/// Where in the source an operation stands; told in the trace.
using Where = std::source_location;

/// True on a thread that the scheduler runs. Elsewhere atomics are plain atomics, and nothing here has an effect.
bool controlled() noexcept;

/// A full fence.
void fence(const Where& at = Where::current()) noexcept;

/// In a spin loop: does not run again before every other thread that can run has had a turn.
void yield(const Where& at = Where::current()) noexcept;

namespace detail {

/// The memory of an object. It always holds the newest value, so that code outside of the model can read it.
struct Cell {
    void* address;
    std::size_t size;
};

// Values travel as the low bytes of 64 bits. Each of these is one operation: the scheduler may switch before it.
std::uint64_t load(Cell cell, std::memory_order order, const Where& at) noexcept;
void store(Cell cell, std::uint64_t value, std::memory_order order, const Where& at) noexcept;
std::uint64_t exchange(Cell cell, std::uint64_t value, std::memory_order order, const Where& at) noexcept;
bool compare_exchange(Cell cell, std::uint64_t& expected, std::uint64_t desired, bool weak, std::memory_order success,
                      std::memory_order failure, const Where& at) noexcept;
// A read-modify-write in two halves, with no switch between them.
std::uint64_t begin_update(Cell cell, std::memory_order order, const Where& at) noexcept;
void end_update(Cell cell, std::uint64_t value) noexcept;
// Plain data: no switch, but a check that each access is ordered against each that conflicts with it.
void plain_read(Cell cell) noexcept;
void plain_write(Cell cell) noexcept;
// The beginning and the end of a lifetime. Both are accesses that must be ordered against all others.
void born(Cell cell, bool is_atomic) noexcept;
void died(Cell cell) noexcept;

template <class T>
std::uint64_t to_bits(T value) noexcept {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}
template <class T>
T from_bits(std::uint64_t bits) noexcept {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
constexpr std::memory_order failure_of(std::memory_order success) noexcept {
    if (success == std::memory_order_acq_rel) return std::memory_order_acquire;
    if (success == std::memory_order_release) return std::memory_order_relaxed;
    return success;
}

} // namespace detail

/// std::atomic under the model. The same size and layout as T, as a futex word must be.
template <class T>
class atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "the model knows atomics of up to 8 bytes");
    using Order = std::memory_order;
    static constexpr Order seq_cst = std::memory_order_seq_cst;

  public:
    using value_type = T;
    static constexpr bool is_always_lock_free = true;

    constexpr atomic() noexcept : value_() { begin_life(); }
    constexpr atomic(T value) noexcept : value_(value) {
        begin_life();
    } // NOLINT(google-explicit-constructor): as std's
    constexpr ~atomic() {
        if (!std::is_constant_evaluated()) detail::died(cell());
    }
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    [[nodiscard]] bool is_lock_free() const noexcept { return true; }

    T load(Order order = seq_cst, const Where& at = Where::current()) const noexcept {
        if (controlled()) return detail::from_bits<T>(detail::load(cell(), order, at));
        T value;
        __atomic_load(&value_, &value, __ATOMIC_SEQ_CST);
        return value;
    }
    void store(T value, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        if (controlled()) return detail::store(cell(), detail::to_bits(value), order, at);
        __atomic_store(&value_, &value, __ATOMIC_SEQ_CST);
    }
    T exchange(T value, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        if (controlled()) return detail::from_bits<T>(detail::exchange(cell(), detail::to_bits(value), order, at));
        T before;
        __atomic_exchange(&value_, &value, &before, __ATOMIC_SEQ_CST);
        return before;
    }
    bool compare_exchange_strong(T& expected, T desired, Order success, Order failure,
                                 const Where& at = Where::current()) noexcept {
        return compare_exchange(expected, desired, false, success, failure, at);
    }
    bool compare_exchange_strong(T& expected, T desired, Order order = seq_cst,
                                 const Where& at = Where::current()) noexcept {
        return compare_exchange(expected, desired, false, order, detail::failure_of(order), at);
    }
    bool compare_exchange_weak(T& expected, T desired, Order success, Order failure,
                               const Where& at = Where::current()) noexcept {
        return compare_exchange(expected, desired, true, success, failure, at);
    }
    bool compare_exchange_weak(T& expected, T desired, Order order = seq_cst,
                               const Where& at = Where::current()) noexcept {
        return compare_exchange(expected, desired, true, order, detail::failure_of(order), at);
    }

    template <class Difference>
    T fetch_add(Difference n, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        return update([n](T v) { return static_cast<T>(v + n); }, order, at);
    }
    template <class Difference>
    T fetch_sub(Difference n, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        return update([n](T v) { return static_cast<T>(v - n); }, order, at);
    }
    T fetch_and(T bits, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        return update([bits](T v) { return static_cast<T>(v & bits); }, order, at);
    }
    T fetch_or(T bits, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        return update([bits](T v) { return static_cast<T>(v | bits); }, order, at);
    }
    T fetch_xor(T bits, Order order = seq_cst, const Where& at = Where::current()) noexcept {
        return update([bits](T v) { return static_cast<T>(v ^ bits); }, order, at);
    }

    operator T() const noexcept { return load(); } // NOLINT(google-explicit-constructor): as std's
    T operator=(T value) noexcept {                // NOLINT(misc-unconventional-assign-operator): as std's
        store(value);
        return value;
    }
    T operator++() noexcept { return static_cast<T>(fetch_add(1) + 1); }
    T operator++(int) noexcept { return fetch_add(1); }
    T operator--() noexcept { return static_cast<T>(fetch_sub(1) - 1); }
    T operator--(int) noexcept { return fetch_sub(1); }
    T operator+=(T n) noexcept { return static_cast<T>(fetch_add(n) + n); }
    T operator-=(T n) noexcept { return static_cast<T>(fetch_sub(n) - n); }

  private:
    constexpr void begin_life() noexcept {
        if (!std::is_constant_evaluated()) detail::born(cell(), true);
    }
    detail::Cell cell() const noexcept { return {const_cast<T*>(&value_), sizeof(T)}; }

    bool compare_exchange(T& expected, T desired, bool weak, Order success, Order failure, const Where& at) noexcept {
        if (!controlled())
            return __atomic_compare_exchange(&value_, &expected, &desired, weak, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        std::uint64_t bits = detail::to_bits(expected);
        if (detail::compare_exchange(cell(), bits, detail::to_bits(desired), weak, success, failure, at)) return true;
        expected = detail::from_bits<T>(bits);
        return false;
    }
    template <class F>
    T update(F f, Order order, const Where& at) noexcept {
        if (controlled()) {
            const T before = detail::from_bits<T>(detail::begin_update(cell(), order, at));
            detail::end_update(cell(), detail::to_bits(f(before)));
            return before;
        }
        T before;
        __atomic_load(&value_, &before, __ATOMIC_RELAXED);
        for (;;) {
            T after = f(before);
            if (__atomic_compare_exchange(&value_, &before, &after, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
                return before;
        }
    }

    alignas(sizeof(T)) T value_;
};

/// Plain data that agents share under a lock, or by handing it over. Under the model each access must be ordered (by
/// happens-before) against every conflicting one, and lie within the object's lifetime; else the run fails and says so.
template <class T>
class var {
  public:
    constexpr var() noexcept(std::is_nothrow_default_constructible_v<T>) : value_() { begin_life(); }
    constexpr var(T value) : value_(static_cast<T&&>(value)) { begin_life(); } // NOLINT(google-explicit-constructor)
    constexpr var(const var& other) : value_(other.get()) { begin_life(); }
    var& operator=(const var& other) { return *this = other.get(); }
    constexpr ~var() {
        if (!std::is_constant_evaluated()) detail::died(cell());
    }

    constexpr const T& get() const noexcept {
        if (!std::is_constant_evaluated()) detail::plain_read(cell());
        return value_;
    }
    void set(T value) noexcept {
        detail::plain_write(cell());
        value_ = static_cast<T&&>(value);
    }
    constexpr operator const T&() const noexcept {
        return get();
    } // NOLINT(google-explicit-constructor): stands for a T
    constexpr T operator->() const noexcept requires std::is_pointer_v<T> { return get(); }
    var& operator=(T value) noexcept {
        set(static_cast<T&&>(value));
        return *this;
    }
    T operator++() noexcept { return change(1); }
    T operator--() noexcept { return change(-1); }
    T operator++(int) noexcept { return static_cast<T>(change(1) - 1); }
    T operator--(int) noexcept { return static_cast<T>(change(-1) + 1); }
    T operator+=(T n) noexcept { return change(n); }
    T operator-=(T n) noexcept { return change(-n); }

  private:
    constexpr void begin_life() noexcept {
        if (!std::is_constant_evaluated()) detail::born(cell(), false);
    }
    detail::Cell cell() const noexcept { return {const_cast<T*>(&value_), sizeof(T)}; }
    template <class D>
    T change(D n) noexcept {
        set(static_cast<T>(get() + n));
        return value_;
    }
    T value_;
};

} // namespace sennit::model

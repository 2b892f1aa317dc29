// Objects in memory that processes share.      Python: multiprocessing.Value, Array, sharedctypes
#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/rlock.hpp>
#include <sennit/multiprocessing/shared_block.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace sennit::multiprocessing {

namespace detail {
template <char Code>
struct TypeOfCode {
    static_assert(Code == '\0', "there is no such type code; Python's are c u b B h H i I l L q Q f d");
};
// clang-format off
template <> struct TypeOfCode<'c'> { using type = char; };
template <> struct TypeOfCode<'u'> { using type = wchar_t; };
template <> struct TypeOfCode<'b'> { using type = signed char; };
template <> struct TypeOfCode<'B'> { using type = unsigned char; };
template <> struct TypeOfCode<'h'> { using type = short; };
template <> struct TypeOfCode<'H'> { using type = unsigned short; };
template <> struct TypeOfCode<'i'> { using type = int; };
template <> struct TypeOfCode<'I'> { using type = unsigned int; };
template <> struct TypeOfCode<'l'> { using type = long; };
template <> struct TypeOfCode<'L'> { using type = unsigned long; };
template <> struct TypeOfCode<'q'> { using type = long long; };
template <> struct TypeOfCode<'Q'> { using type = unsigned long long; };
template <> struct TypeOfCode<'f'> { using type = float; };
template <> struct TypeOfCode<'d'> { using type = double; };
// clang-format on
} // namespace detail

/// The type of one of Python's one-letter codes: Value<TypeCode<'i'>> is Value<int>.
template <char Code>
using TypeCode = typename detail::TypeOfCode<Code>::type;

/// What may lie in memory that several processes map, each at another address, and that a killed one leaves as it is.
template <class T>
concept Shareable = std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && !std::is_pointer_v<T> &&
                    !std::is_reference_v<T> && alignof(T) <= 64;

/// n objects in shared memory, and nothing that orders who reads and writes them.      Python: RawArray
///
/// Copies are handles of one array. A contiguous range.
///
/// Agents    As plain objects: several may read at the same time; who writes is alone, for instance by a Lock.
/// Lifetime  The memory lives as long as a handle in any process does.
/// Errors    OSError; out_of_range for at().
template <Shareable T>
class RawArray {
  public:
    /// n zeroes.
    explicit RawArray(std::size_t n) : size_(n), block_(checked_bytes(n)) {
        std::uninitialized_value_construct_n(data(), n);
    }
    /// A copy of a range.
    template <std::ranges::sized_range R>
    requires std::convertible_to<std::ranges::range_reference_t<R>, T> &&
        (!std::same_as<std::remove_cvref_t<R>, RawArray>)explicit RawArray(R&& range)
        : size_(std::ranges::size(range)), block_(checked_bytes(std::ranges::size(range))) {
        T* to = data();
        for (auto&& item : range) ::new (static_cast<void*>(to++)) T(std::forward<decltype(item)>(item));
    }
    RawArray(std::initializer_list<T> items) : size_(items.size()), block_(checked_bytes(items.size())) {
        std::uninitialized_copy(items.begin(), items.end(), data());
    }
    /// The one that lives in `block`.
    RawArray(SharedBlock block, std::size_t n) : size_(n), block_(std::move(block)) {
        if (block_.size() < checked_bytes(n))
            throw UsageError("Array: a block of " + std::to_string(block_.size()) + " bytes is too small for " +
                             std::to_string(n) + " items");
    }

    [[nodiscard]] T* data() const noexcept { return static_cast<T*>(block_.data()); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    T& operator[](std::size_t i) const noexcept { return data()[i]; }
    [[nodiscard]] T& at(std::size_t i) const {
        if (i >= size_)
            throw std::out_of_range("Array: there is no item " + std::to_string(i) + " in " + std::to_string(size_));
        return data()[i];
    }
    [[nodiscard]] T* begin() const noexcept { return data(); }
    [[nodiscard]] T* end() const noexcept { return data() + size_; }
    [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }
    /// As a handle of the same array to another process.
    void pack(CargoWriter& to) const {
        block_.pack(to);
        detail::pack_number(to, size_);
    }
    static RawArray unpack(CargoReader& from) {
        SharedBlock block = SharedBlock::unpack(from);
        return RawArray(std::move(block), static_cast<std::size_t>(detail::unpack_number(from)));
    }

  private:
    static std::size_t checked_bytes(std::size_t n) {
        if (n > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
        return n == 0 ? 1 : n * sizeof(T);
    }
    std::size_t size_;
    SharedBlock block_;
};

/// One object in shared memory, and nothing that orders who reads and writes it.      Python: RawValue
template <Shareable T>
class RawValue {
  public:
    explicit RawValue(const T& value = T()) : item_({value}) {}
    /// The one that lives in `block`.
    explicit RawValue(SharedBlock block) : item_(std::move(block), 1) {}
    [[nodiscard]] T& value() const noexcept { return item_[0]; }
    T& operator*() const noexcept { return value(); }
    T* operator->() const noexcept { return &value(); }
    [[nodiscard]] const SharedBlock& block() const noexcept { return item_.block(); }
    void pack(CargoWriter& to) const { block().pack(to); }
    static RawValue unpack(CargoReader& from) { return RawValue(SharedBlock::unpack(from)); }

  private:
    RawArray<T> item_;
};

/// One object in shared memory and the lock that goes with it.      Python: multiprocessing.Value
///
///     Value<int> count(0);
///     {
///         std::scoped_lock guard(count.get_lock());
///         ++*count;                                   // several steps, so: under the lock
///     }
///     int now = count.value();                        // takes the lock for itself
///
/// Copies are handles of one value. For a counter of one process alone std::atomic does.
///
/// Agents    value(), set() at the same time from anywhere; *value by who holds the lock.
/// Death     As RLock: owner_died() of the lock tells that somebody died while he changed the value.
template <Shareable T>
class Value {
  public:
    explicit Value(const T& value = T()) : raw_(value) {}
    /// With this lock, which may be another object's as well.
    Value(const T& value, const RLock& lock) : raw_(value), lock_(lock) {}
    /// Handles of both.
    Value(const RawValue<T>& raw, const RLock& lock) : raw_(raw), lock_(lock) {}
    [[nodiscard]] RLock& get_lock() const noexcept { return lock_; }
    [[nodiscard]] const RawValue<T>& get_obj() const noexcept { return raw_; }
    [[nodiscard]] T value() const {
        const std::scoped_lock guard(lock_);
        return *raw_;
    }
    void set(const T& value) const {
        const std::scoped_lock guard(lock_);
        *raw_ = value;
    }
    T& operator*() const noexcept { return *raw_; }
    T* operator->() const noexcept { return &*raw_; }
    /// As a handle of the same value, and of its lock, to another process.
    void pack(CargoWriter& to) const {
        raw_.pack(to);
        lock_.pack(to);
    }
    static Value unpack(CargoReader& from) {
        const auto raw = RawValue<T>::unpack(from);
        return Value(raw, RLock::unpack(from));
    }

  private:
    RawValue<T> raw_;
    mutable RLock lock_;
};

/// n objects in shared memory and the lock that goes with them.      Python: multiprocessing.Array
///
/// Agents    get(), set() at the same time from anywhere; items and iterators by who holds the lock.
template <Shareable T>
class Array {
  public:
    /// n zeroes.
    explicit Array(std::size_t n) : raw_(n) {}
    /// A copy of a range.
    template <std::ranges::sized_range R>
    requires std::convertible_to<std::ranges::range_reference_t<R>, T> &&
        (!std::same_as<std::remove_cvref_t<R>, Array>)explicit Array(R&& range)
        : raw_(std::forward<R>(range)) {}
    Array(std::initializer_list<T> items) : raw_(items) {}
    Array(const RawArray<T>& raw, const RLock& lock) : raw_(raw), lock_(lock) {}
    [[nodiscard]] RLock& get_lock() const noexcept { return lock_; }
    [[nodiscard]] const RawArray<T>& get_obj() const noexcept { return raw_; }
    [[nodiscard]] T get(std::size_t i) const {
        const std::scoped_lock guard(lock_);
        return raw_.at(i);
    }
    void set(std::size_t i, const T& value) const {
        const std::scoped_lock guard(lock_);
        raw_.at(i) = value;
    }
    [[nodiscard]] std::size_t size() const noexcept { return raw_.size(); }
    T& operator[](std::size_t i) const noexcept { return raw_[i]; }
    [[nodiscard]] T* begin() const noexcept { return raw_.begin(); }
    [[nodiscard]] T* end() const noexcept { return raw_.end(); }
    /// As a handle of the same array, and of its lock, to another process.
    void pack(CargoWriter& to) const {
        raw_.pack(to);
        lock_.pack(to);
    }
    static Array unpack(CargoReader& from) {
        const auto raw = RawArray<T>::unpack(from);
        return Array(raw, RLock::unpack(from));
    }

  private:
    RawArray<T> raw_;
    mutable RLock lock_;
};

} // namespace sennit::multiprocessing

#pragma once

#include <sennit/multiprocessing/shared_memory.hpp>

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sennit::multiprocessing::shared_memory {

/// Python's None.
using None = std::monostate;
/// Python's bytes.
using Bytes = std::vector<std::byte>;

/// Any integer type but bool, which is a type of its own in a ShareableList.
template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;

/// What a ShareableList holds: None, bool, int, float, str (UTF-8) or bytes.
class Item : public std::variant<None, bool, std::int64_t, double, std::string, Bytes> {
  public:
    using Variant = std::variant<None, bool, std::int64_t, double, std::string, Bytes>;
    Item() noexcept = default;
    Item(None) noexcept {}           // NOLINT(google-explicit-constructor): a list is written as its values, as below
    Item(std::nullptr_t) noexcept {} // NOLINT(google-explicit-constructor)
    template <std::same_as<bool> T>
    Item(T value) noexcept : Variant(std::in_place_type<bool>, value) {} // NOLINT(google-explicit-constructor)
    /// An integer that no int64 can hold is refused: UsageError.
    template <Integer T>
    Item(T value) : Variant(std::in_place_type<std::int64_t>, int64_of(value)) {} // NOLINT(google-explicit-constructor)
    Item(double value) noexcept : Variant(value) {}                               // NOLINT(google-explicit-constructor)
    Item(std::string value) noexcept : Variant(std::move(value)) {}               // NOLINT(google-explicit-constructor)
    Item(std::string_view value) : Variant(std::string(value)) {}                 // NOLINT(google-explicit-constructor)
    Item(const char* value) : Variant(std::string(value)) {}                      // NOLINT(google-explicit-constructor)
    Item(Bytes value) noexcept : Variant(std::move(value)) {}                     // NOLINT(google-explicit-constructor)
    Item(std::span<const std::byte> value)
        : Variant(Bytes(value.begin(), value.end())) {} // NOLINT(google-explicit-constructor)

    [[nodiscard]] bool is_none() const noexcept { return index() == 0; }

  private:
    template <Integer T>
    static std::int64_t int64_of(T value) {
        if (std::cmp_greater(value, std::numeric_limits<std::int64_t>::max())) refuse_integer();
        return static_cast<std::int64_t>(value);
    }
    [[noreturn]] static void refuse_integer();
};
/// Equal type and equal value.
inline bool operator==(const Item& a, const Item& b) {
    return static_cast<const Item::Variant&>(a) == static_cast<const Item::Variant&>(b);
}

struct ShareableListOptions {
    /// Of the block; empty: a new one.
    std::string name;
    bool track = true;
};

/// The items of a ShareableList's image, read from bytes that anybody may have written.
///
/// Agents    Any number. Not promised: that an item is whole while another process writes it; it is then an older or newer
///           value, a mixture of two strings, or an Error.
/// Errors    InvalidStateError for an image that is none: nothing outside of the bytes is ever read.
/// Source    CPython 3.9 and later, Lib/multiprocessing/shared_memory.py.
class ShareableListView {
  public:
    explicit ShareableListView(std::span<std::byte> image);

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Throws std::out_of_range.
    [[nodiscard]] Item get(std::size_t i) const;
    /// Throws UsageError when a str or bytes is longer than its place, which never grows, or a str is no UTF-8. Nothing has
    /// changed then.
    void set(std::size_t i, const Item& value) const;
    /// As Python's: "8sdxxxxxx?x".
    [[nodiscard]] std::string format() const;
    [[nodiscard]] std::string format(std::size_t i) const;
    /// How many bytes a str or bytes at this place may have.
    [[nodiscard]] std::size_t room(std::size_t i) const { return slot(i).size(); }

    /// How many bytes the image of `items` takes, and the image. Throws UsageError for what Python could not read.
    static std::size_t image_bytes(std::span<const Item> items);
    static void write_image(std::span<const Item> items, std::span<std::byte> to);

  private:
    [[nodiscard]] std::span<std::byte> slot(std::size_t i) const;
    std::span<std::byte> image_;
    std::size_t size_ = 0;
    std::size_t data_at_ = 0, formats_at_ = 0; // offsets in the image
};

/// A list of fixed length in shared memory.       Python: multiprocessing.shared_memory.ShareableList
///
///     ShareableList list({"name", 42, 2.5, true, nullptr});
///     list[1] = 43;                                            // another process sees it
///     ShareableList same({.name = list.shm().name()});         // there, or in Python
///
/// An item may change its type; a str or bytes must fit into the place that the first value got: a multiple of 8, more than its
/// bytes. Python 3.9 and later read and write it; what ends in NULs comes back with them here, and without them there (and
/// Python then writes no more bytes over such an item than it had).
///
/// Agents    Each item at the same time from anywhere, but a reader may see half of what is just written: use a Lock.
/// Lifetime, Cost, Errors    As SharedMemory.
class ShareableList {
  public:
    /// Makes one. Throws UsageError for what Python could not read: a str that is no UTF-8, or one of 10,000,000 bytes.
    explicit ShareableList(std::span<const Item> items, const ShareableListOptions& options = {});
    ShareableList(std::initializer_list<Item> items, const ShareableListOptions& options = {})
        : ShareableList(std::span<const Item>(items.begin(), items.size()), options) {}
    /// Attaches to the one in the block `.name`. Throws InvalidStateError when there is no such list in it.
    explicit ShareableList(const ShareableListOptions& options);

    /// One item, as in a Python list.
    class Reference {
      public:
        Reference(const ShareableListView& view, std::size_t i) noexcept : view_(view), i_(i) {}
        Reference(const Reference&) = default;
        [[nodiscard]] Item get() const { return view_.get(i_); }
        operator Item() const { return get(); } // NOLINT(google-explicit-constructor): a reference is what it refers to
        const Reference& operator=(const Item& value) const {
            view_.set(i_, value);
            return *this;
        }
        const Reference& operator=(const Reference& other) const { return *this = other.get(); }
        friend bool operator==(const Reference& a, const Item& b) { return a.get() == b; }

      private:
        const ShareableListView& view_;
        std::size_t i_;
    };
    /// Negative ones count from the end. Throws std::out_of_range.
    [[nodiscard]] Reference operator[](std::ptrdiff_t i) const;

    [[nodiscard]] std::size_t size() const noexcept { return view_.size(); }
    /// The types, as Python's struct has them.
    [[nodiscard]] std::string format() const { return view_.format(); }
    /// How many items are equal to it, in type and value (as in Python, 1, 1.0 and true are equal).
    [[nodiscard]] std::size_t count(const Item& value) const;
    /// The first of them. Throws std::out_of_range when there is none (Python: ValueError).
    [[nodiscard]] std::size_t index(const Item& value) const;
    [[nodiscard]] std::vector<Item> items() const;
    /// The block that it is in: name(), close(), unlink(). After close() no item may be touched.
    [[nodiscard]] SharedMemory& shm() noexcept { return shm_; }
    [[nodiscard]] const SharedMemory& shm() const noexcept { return shm_; }
    /// As SharedMemory: its block's name.
    void pack(CargoWriter& to) const { shm_.pack(to); }
    static ShareableList unpack(CargoReader& from);

    class Iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Item;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = Item;
        Iterator() noexcept = default;
        Iterator(const ShareableListView& view, std::size_t i) noexcept : view_(&view), i_(i) {}
        Item operator*() const { return view_->get(i_); }
        Iterator& operator++() noexcept {
            ++i_;
            return *this;
        }
        Iterator operator++(int) noexcept { return {*view_, i_++}; }
        friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.i_ == b.i_; }

      private:
        const ShareableListView* view_ = nullptr;
        std::size_t i_ = 0;
    };
    [[nodiscard]] Iterator begin() const noexcept { return {view_, 0}; }
    [[nodiscard]] Iterator end() const noexcept { return {view_, size()}; }

  private:
    SharedMemory shm_;
    ShareableListView view_;
};

} // namespace sennit::multiprocessing::shared_memory

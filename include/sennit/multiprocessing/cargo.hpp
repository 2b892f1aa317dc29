// What travels between processes: bytes, and descriptors beside them. pack() makes them of an object, unpack() the object of them.
//
//     CargoWriter out;
//     pack(out, order);                              // struct Order { std::string item; std::vector<double> prices; };
//     CargoReader in(out.bytes());
//     Order same = unpack<Order>(in);
//
// What travels, in the order in which it is looked for:
//   - what has `void pack(CargoWriter&) const` and `static T unpack(CargoReader&)`: Value, Array, Lock … Barrier, SharedMemory,
//     Connection and Queue are handles of the one shared object, and so may yours be;
//   - numbers, enumerations, std::string, containers, optional, pair, tuple, variant, array, chrono, unique_ptr;
//   - what cereal serialises: serialize(), or save() and load(), as members or free functions, without any include of cereal's
//     (<sennit/multiprocessing/cereal.hpp> for private ones, versions, shared_ptr and polymorphic types);
//   - plain aggregates, member by member, without a macro;
//   - other trivially copyable classes, as bytes. (That one of them holds a pointer in a private member nobody can see.)
// Ranges of numbers and of plain structs are copied as a whole.
//
// Both processes run the same program: numbers are in the machine's order and size. Lengths are held against what is left of
// the bytes before memory is taken for them, so that no bytes make unpack() do anything but throw CargoError.
#pragma once

#include <sennit/impl/aggregate.hpp>
#include <sennit/multiprocessing/errors.hpp>
#include <sennit/os/fd.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

// cereal's wrappers, which serialize() functions may use.
namespace cereal {
template <class T>
class NameValuePair;
template <class T>
class SizeTag;
template <class T>
struct BinaryData;
template <class Base>
struct base_class;
} // namespace cereal

namespace sennit::multiprocessing {

/// Bytes and descriptors on their way out.
///
/// Agents    One at a time.
/// Lifetime  With `lend`, ranges of at least `lend_from` bytes are not copied: they stay where they are and must live and stay
///           as they are until the cargo has been sent.
/// Cost      One buffer, which grows by doubling and is kept by clear().
class CargoWriter {
  public:
    enum class Ranges : bool { copy, lend };
    static constexpr std::size_t lend_from = 16 * 1024;
    static constexpr std::size_t most_fds = 253; // the kernel's SCM_MAX_FD

    explicit CargoWriter(Ranges ranges = Ranges::copy) noexcept : lends_(ranges == Ranges::lend) {}
    CargoWriter(CargoWriter&& other) noexcept;
    CargoWriter& operator=(CargoWriter&& other) noexcept;
    ~CargoWriter();

    void write(const void* data, std::size_t bytes) {
        if (bytes > 0) std::memcpy(extend(bytes), data, bytes);
    }
    template <class T>
    requires std::is_trivially_copyable_v<T>
    void write_raw(const T& value) { std::memcpy(extend(sizeof value), std::addressof(value), sizeof value); }
    /// Room for so many more bytes, to be filled by the caller before the next call.
    std::byte* extend(std::size_t bytes) {
        if (bytes > capacity_ - used_) [[unlikely]]
            grow(bytes);
        return buffer_ + std::exchange(used_, used_ + bytes);
    }
    /// Zeroes till size() is a multiple of `alignment`.
    void align(std::size_t alignment) {
        const std::size_t over = size() % alignment;
        if (over != 0) std::memset(extend(alignment - over), 0, alignment - over);
    }
    /// write(), or a loan.
    void write_range(const void* data, std::size_t bytes) {
        if (lends_ && bytes >= lend_from)
            lend(data, bytes);
        else
            write(data, bytes);
    }

    /// Sends a copy of this descriptor along. Throws OSError; UsageError above `most_fds`.
    void attach(int fd);
    void attach(os::Fd fd);
    /// Sends this one along, which stays open as long as `keep` lives; once, however often it is attached.
    void attach(int fd, std::shared_ptr<const void> keep);

    /// All bytes in one piece. What was lent is copied now.
    [[nodiscard]] std::span<const std::byte> bytes();
    /// All bytes, in pieces, without a copy.
    template <class F>
    void for_each_piece(F&& take) const {
        std::size_t at = 0;
        for (const Loan& loan : loans_) {
            if (loan.at > at) take(std::span<const std::byte>(buffer_ + at, loan.at - at));
            take(loan.range);
            at = loan.at;
        }
        if (used_ > at) take(std::span<const std::byte>(buffer_ + at, used_ - at));
    }
    [[nodiscard]] std::size_t size() const noexcept { return used_ + lent_; }
    [[nodiscard]] std::span<const int> fds() const noexcept { return fds_; }
    void clear() noexcept;

    // How deep the object is nested: see detail::Depth.
    std::uint32_t depth = 0;

  private:
    struct Loan {
        std::size_t at; // where in the buffer
        std::span<const std::byte> range;
    };
    void grow(std::size_t more);
    void lend(const void* data, std::size_t bytes);
    void check_fds() const;

    std::byte* buffer_ = nullptr;
    std::size_t used_ = 0, capacity_ = 0, lent_ = 0;
    bool lends_;
    std::vector<Loan> loans_;
    std::vector<int> fds_;
    std::vector<std::shared_ptr<const void>> kept_; // what the descriptors live by
};

/// The same on their way in. Does not own the bytes.
///
/// Agents    One at a time.
/// Errors    CargoError when something is asked for that is not there.
class CargoReader {
  public:
    explicit CargoReader(std::span<const std::byte> bytes) noexcept : begin_(bytes.data()), all_(bytes.size()) {}
    CargoReader(std::span<const std::byte> bytes, std::vector<os::Fd> fds) noexcept : CargoReader(bytes) {
        fds_ = std::move(fds);
    }
    CargoReader(CargoReader&&) = default;

    void read(void* to, std::size_t bytes) {
        const std::byte* const from = take(bytes);
        if (bytes > 0) std::memcpy(to, from, bytes);
    }
    template <class T>
    requires std::is_trivially_copyable_v<T> T read_raw() {
        std::remove_const_t<T> value;
        std::memcpy(static_cast<void*>(std::addressof(value)), take(sizeof value), sizeof value);
        return value;
    }
    /// The next bytes, where they lie.
    const std::byte* take(std::size_t bytes) {
        if (bytes > remaining()) [[unlikely]]
            refuse(bytes);
        return begin_ + std::exchange(at_, at_ + bytes);
    }
    void align(std::size_t alignment) {
        const std::size_t over = at_ % alignment;
        if (over != 0) take(alignment - over);
    }
    /// A number of things of which each has at least so many bytes: no more than can be there.
    std::size_t read_count(std::size_t bytes_each);
    [[nodiscard]] std::size_t remaining() const noexcept { return all_ - at_; }
    /// Throws CargoError unless all has been read.
    void check_end() const;

    /// The descriptor that was attached here. Each once.
    os::Fd take_fd();
    /// The same for one that was attached with its keeper: it stays the reader's.
    int borrow_fd();
    [[nodiscard]] std::size_t fd_count() const noexcept { return fds_.size(); }

    std::uint32_t depth = 0;

  private:
    [[noreturn]] void refuse(std::size_t bytes) const;
    std::size_t fd_index();
    const std::byte* begin_;
    std::size_t all_, at_ = 0;
    std::vector<os::Fd> fds_;
};

namespace detail {

template <class T>
inline constexpr bool always_false = false;

// ---- what kind of thing a type is

template <class T>
concept PacksItself = requires(const T& value, CargoWriter& to, CargoReader& from) {
    value.pack(to);
    { T::unpack(from) } -> std::same_as<T>;
};
template <class T>
concept Number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

template <class T, template <class...> class Template>
inline constexpr bool is_a = false;
template <template <class...> class Template, class... Args>
inline constexpr bool is_a<Template<Args...>, Template> = true;

template <class T>
inline constexpr bool is_std_array = false;
template <class T, std::size_t n>
inline constexpr bool is_std_array<std::array<T, n>> = true;
template <class T>
inline constexpr bool is_view = is_a<T, std::basic_string_view>;
template <class T, std::size_t extent>
inline constexpr bool is_view<std::span<T, extent>> = true;

template <class T>
concept Container = !is_view<T> && !is_std_array<T> && std::default_initializable<T> && requires(T & t, const T& c) {
    typename T::value_type;
    typename T::size_type;
    c.begin() == c.end();
    c.size();
    t.clear();
};
template <class T>
concept Associative = Container<T> && requires(T& t, typename T::value_type&& v) {
    typename T::key_type;
    t.insert(t.end(), std::move(v));
};
template <class T>
concept Sequence = Container<T> && !Associative<T> && requires(T & t, typename T::value_type&& v) {
    t.push_back(std::move(v));
};
// Whose items lie side by side.
template <class T>
concept Contiguous = Sequence<T> && requires(const T& c) {
    { c.data() } -> std::convertible_to<const typename T::value_type*>;
    typename T::iterator;
} && !std::same_as<typename T::value_type, bool>;
template <class T>
concept SmartPointer = is_a<T, std::unique_ptr>;
template <class T>
concept TupleLike = is_a<T, std::pair> || is_a<T, std::tuple>;

// cereal's functions. Its archives are called with (), & and << or >>, and know is_saving and is_loading.
class SavingArchive;
class LoadingArchive;
template <class T>
concept HasMemberSerialize = requires(T& t, SavingArchive& to, LoadingArchive& from) {
    t.serialize(to);
    t.serialize(from);
};
template <class T>
concept HasFreeSerialize = requires(T& t, SavingArchive& to, LoadingArchive& from) {
    serialize(to, t);
    serialize(from, t);
};
template <class T>
concept HasMemberSave = requires(T& t, const T& c, SavingArchive& to, LoadingArchive& from) {
    c.save(to);
    t.load(from);
};
template <class T>
concept HasFreeSave = requires(T& t, const T& c, SavingArchive& to, LoadingArchive& from) {
    save(to, c);
    load(from, t);
};
template <class T>
concept CerealFunctions = std::is_class_v<T> && std::default_initializable<T> &&
    (HasMemberSerialize<T> || HasFreeSerialize<T> || HasMemberSave<T> || HasFreeSave<T>);

// What <sennit/multiprocessing/cereal.hpp> adds.
template <class T>
struct ThroughCereal {
    static constexpr bool value = false;
};

// What bytes can't carry though they could be copied. A type that is looked at already (a tree holds trees) is taken for good.
template <class T>
concept NeverTravels = std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_reference_v<T> ||
    std::is_void_v<T> || std::is_null_pointer_v<T> || std::is_function_v<T> || std::is_array_v<T> || is_view<T> ||
    is_a<T, std::reference_wrapper> || is_a<T, std::initializer_list> || is_a<T, std::shared_ptr> ||
    is_a<T, std::weak_ptr> || is_a<T, std::allocator> || requires {
    &T::operator();
};

template <class T, class... Seen>
consteval bool ships();

template <class T, class... Seen>
consteval bool member_ships() {
    if constexpr (std::is_array_v<T>)
        return member_ships<std::remove_all_extents_t<T>, Seen...>();
    else
        return !std::is_reference_v<T> && ships<std::remove_const_t<T>, Seen...>();
}
template <class... M, class... Seen>
consteval bool members_ship(impl::Types<M...>*, impl::Types<Seen...>*) {
    return (member_ships<M, Seen...>() && ...);
}
template <class... M, class... Seen>
consteval bool all_ship(impl::Types<Seen...>*) {
    return (ships<std::remove_const_t<M>, Seen...>() && ...);
}
template <class T>
concept PlainAggregate = std::is_class_v<T> && std::is_aggregate_v<T> && !is_std_array<T>;
template <class T>
concept Members = PlainAggregate<T> && !impl::HasBase<T> && (impl::count_members<T>() >= 0);
template <class T>
using MembersOf = decltype(impl::member_types<impl::count_members<T>()>(std::declval<T&>()));

template <class T, template <class...> class Template>
struct Arguments;
template <template <class...> class Template, class... Args>
struct Arguments<Template<Args...>, Template> {
    template <class... Seen>
    static consteval bool ship() {
        return all_ship<Args...>(static_cast<impl::Types<Seen...>*>(nullptr));
    }
};

template <class T, class... Seen>
consteval bool ships() {
    using Me = impl::Types<Seen..., T>*;
    if constexpr ((std::same_as<T, Seen> || ...)) {
        return true;
    } else if constexpr (PacksItself<T> || Number<T> || std::same_as<T, std::byte> || std::same_as<T, std::monostate>) {
        return true;
    } else if constexpr (NeverTravels<T>) {
        return ThroughCereal<T>::value;
    } else if constexpr (is_std_array<T>) {
        return ships<typename T::value_type, Seen..., T>();
    } else if constexpr (Associative<T>) {
        if constexpr (requires { typename T::mapped_type; })
            return all_ship<typename T::key_type, typename T::mapped_type>(Me(nullptr));
        else
            return ships<typename T::key_type, Seen..., T>();
    } else if constexpr (Sequence<T>) {
        return ships<typename T::value_type, Seen..., T>();
    } else if constexpr (is_a<T, std::optional>) {
        return Arguments<T, std::optional>::template ship<Seen..., T>();
    } else if constexpr (is_a<T, std::pair>) {
        return Arguments<T, std::pair>::template ship<Seen..., T>();
    } else if constexpr (is_a<T, std::tuple>) {
        return Arguments<T, std::tuple>::template ship<Seen..., T>();
    } else if constexpr (is_a<T, std::variant>) {
        return Arguments<T, std::variant>::template ship<Seen..., T>();
    } else if constexpr (is_a<T, std::unique_ptr>) {
        using Item = typename T::element_type;
        if constexpr (std::is_array_v<Item> || !std::same_as<T, std::unique_ptr<Item>>)
            return false;
        else if constexpr (std::is_polymorphic_v<Item> && !std::is_final_v<Item>)
            return ThroughCereal<T>::value;
        else
            return ships<std::remove_const_t<Item>, Seen..., T>();
    } else if constexpr (CerealFunctions<T>) {
        return true;
    } else if constexpr (Members<T>) {
        return members_ship(static_cast<MembersOf<T>>(nullptr), Me(nullptr)) || ThroughCereal<T>::value;
    } else if constexpr (std::is_trivially_copyable_v<T> && std::is_copy_constructible_v<T> && !PlainAggregate<T>) {
        return !std::is_empty_v<T> || std::is_default_constructible_v<T>;
    } else {
        return ThroughCereal<T>::value;
    }
}

// Whether the bytes of a T are all that there is to it.
template <class T>
consteval bool is_raw();
template <class... M>
consteval bool are_raw(impl::Types<M...>*) {
    return (is_raw<std::remove_all_extents_t<std::remove_const_t<M>>>() && ...);
}
template <class T>
consteval bool is_raw() {
    if constexpr (std::same_as<T, bool>)
        return false; // only two bytes are one
    else if constexpr (Number<T> || std::same_as<T, std::byte>)
        return true;
    else if constexpr (!std::is_trivially_copyable_v<T> || !std::is_copy_constructible_v<T> || std::is_empty_v<T> ||
                       PacksItself<T> || NeverTravels<T> || CerealFunctions<T> || is_a<T, std::optional> ||
                       is_a<T, std::variant> || TupleLike<T> || Container<T>)
        return false;
    else if constexpr (is_std_array<T>)
        return is_raw<typename T::value_type>();
    else if constexpr (Members<T>)
        return are_raw(static_cast<MembersOf<T>>(nullptr));
    else
        return !PlainAggregate<T>;
}
template <class T>
inline constexpr bool raw = is_raw<T>();

template <class T>
concept RawRange = Contiguous<T> && raw<typename T::value_type>;

// The least that a T takes.
template <class T>
consteval std::size_t least_bytes() {
    if constexpr (raw<T>)
        return sizeof(T);
    else
        return 1;
}

// Where a type is refused, and what to do instead.
template <class T>
consteval void explain() {
    static_assert(!std::is_reference_v<T>, "sennit: a reference can't travel to another process: pass a copy, or a "
                                           "shared object (Value, Array, SharedMemory)");
    static_assert(!std::is_function_v<std::remove_pointer_t<T>>,
                  "sennit: a function is no data: pass it as the function to call, not as an argument or a result");
    static_assert(
        !std::is_pointer_v<T> && !std::is_member_pointer_v<T> && !std::is_array_v<T>,
        "sennit: a pointer means nothing in another process: pass the object itself, a std::vector, or a shared object "
        "(Value, Array, SharedMemory)");
    static_assert(
        !is_view<T>,
        "sennit: a string_view or span owns nothing: on the other side it arrives as std::string or std::vector, so "
        "name that as the type of what is received or returned");
    static_assert(
        !is_a<T, std::reference_wrapper>,
        "sennit: a std::reference_wrapper is a pointer: pass a copy, or a shared object (Value, Array, SharedMemory)");
    static_assert(
        !is_a<T, std::shared_ptr> && !is_a<T, std::weak_ptr>,
        "sennit: a std::shared_ptr shares within one process: pass the object or a std::unique_ptr, share memory by "
        "Value or Array, or include <sennit/multiprocessing/cereal.hpp>, which sends copies");
    static_assert(
        !requires {
            typename T::result_type;
            typename T::_Invoker_type;
        } && !requires { &T::operator(); },
        "sennit: a std::function or another function object is no data: pass a function or a lambda as the function to "
        "call, with what it needs as arguments");
    static_assert(
        !requires(T & t) {
            t.lock();
            t.unlock();
        },
        "sennit: a lock of one process means nothing in another: use multiprocessing::Lock, which is sent as a handle");
    static_assert(!(PlainAggregate<T> && impl::HasBase<T>),
                  "sennit: this aggregate has a base class, whose members can't be told from its own: give it "
                  "serialize(Archive&), or pack() and unpack()");
    static_assert(
        ships<T>(),
        "sennit: this type can't travel to another process: a member of it can't (a pointer, a reference, a lock, a "
        "function), or nothing says how. Give it `template <class A> void serialize(A& a) { a(x, y); }`, or "
        "`void pack(CargoWriter&) const` and `static T unpack(CargoReader&)`, or make it a plain aggregate of at most "
        "32 "
        "members");
}

} // namespace detail

/// What can be sent to another process and is there what it was here.
template <class T>
concept Shippable = detail::ships<std::remove_const_t<T>>();

/// As what a T arrives: views and string literals as what owns their contents, all else as itself.
template <class T>
struct Arrival {
    using type = T;
};
template <class C, class Traits>
struct Arrival<std::basic_string_view<C, Traits>> {
    using type = std::basic_string<C, Traits>;
};
template <class T, std::size_t extent>
struct Arrival<std::span<T, extent>> {
    using type = std::vector<std::remove_const_t<T>>;
};
template <>
struct Arrival<const char*> {
    using type = std::string;
};
template <>
struct Arrival<char*> {
    using type = std::string;
};
template <class T>
using arrival_t = typename Arrival<std::decay_t<T>>::type;

template <class T>
void pack(CargoWriter& to, const T& value);
template <class T>
T unpack(CargoReader& from);

namespace detail {

// Objects in objects: a bound, so that bytes can't make unpack() overflow the stack.
inline constexpr std::uint32_t most_depth = 256;
[[noreturn]] void refuse_depth(bool packing);
[[noreturn]] void refuse_value(const char* what, std::uint64_t value);
template <class Cargo>
class Depth {
  public:
    explicit Depth(Cargo& cargo) : cargo_(cargo) {
        if (++cargo.depth > most_depth) [[unlikely]] {
            --cargo.depth;
            refuse_depth(std::same_as<Cargo, CargoWriter>);
        }
    }
    ~Depth() { --cargo_.depth; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

  private:
    Cargo& cargo_;
};

template <class T>
void pack_range(CargoWriter& to, const T* items, std::size_t n) {
    to.write_raw(static_cast<std::uint64_t>(n));
    to.align(alignof(T));
    to.write_range(items, n * sizeof(T));
}

// cereal's interface. Its wrappers are told by their type.
class SavingArchive {
  public:
    using is_saving = std::true_type;
    using is_loading = std::false_type;
    explicit SavingArchive(CargoWriter& to) noexcept : to_(to) {}
    template <class... T>
    SavingArchive& operator()(T&&... values) {
        (one(values), ...);
        return *this;
    }
    template <class T>
    SavingArchive& operator&(T&& value) {
        return (*this)(value);
    }
    template <class T>
    SavingArchive& operator<<(T&& value) {
        return (*this)(value);
    }
    void saveBinary(const void* data, std::size_t bytes) { to_.write(data, bytes); }

  private:
    template <class T>
    void one(const T& value) {
        if constexpr (is_a<T, cereal::NameValuePair>)
            one(value.value);
        else if constexpr (is_a<T, cereal::SizeTag>)
            to_.write_raw(static_cast<std::uint64_t>(value.size));
        else if constexpr (is_a<T, cereal::BinaryData>)
            to_.write(value.data, static_cast<std::size_t>(value.size));
        else if constexpr (is_a<T, cereal::base_class>)
            one(*value.base_ptr);
        else if constexpr (std::is_array_v<T>)
            for (const auto& item : value) one(item);
        else
            pack(to_, value);
    }
    CargoWriter& to_;
};
class LoadingArchive {
  public:
    using is_saving = std::false_type;
    using is_loading = std::true_type;
    explicit LoadingArchive(CargoReader& from) noexcept : from_(from) {}
    template <class... T>
    LoadingArchive& operator()(T&&... values) {
        (one(values), ...);
        return *this;
    }
    template <class T>
    LoadingArchive& operator&(T&& value) {
        return (*this)(value);
    }
    template <class T>
    LoadingArchive& operator>>(T&& value) {
        return (*this)(value);
    }
    void loadBinary(void* data, std::size_t bytes) { from_.read(data, bytes); }

  private:
    template <class T>
    void one(T& value) {
        if constexpr (is_a<T, cereal::NameValuePair>)
            one(value.value);
        else if constexpr (is_a<T, cereal::SizeTag>)
            value.size = static_cast<std::remove_reference_t<decltype(value.size)>>(from_.read_count(1));
        else if constexpr (is_a<T, cereal::BinaryData>)
            from_.read(value.data, static_cast<std::size_t>(value.size));
        else if constexpr (is_a<T, cereal::base_class>)
            one(*value.base_ptr);
        else if constexpr (std::is_array_v<T>)
            for (auto& item : value) one(item);
        else
            value = unpack<T>(from_);
    }
    CargoReader& from_;
};

template <class T>
void pack_members(CargoWriter& to, const T& value);
template <class T>
void pack_member(CargoWriter& to, const T& value) {
    if constexpr (std::is_array_v<T>)
        for (const auto& item : value) pack_member(to, item);
    else
        pack(to, value);
}
template <class T>
void unpack_member(CargoReader& from, T& value) {
    if constexpr (std::is_array_v<T>) {
        for (auto& item : value) unpack_member(from, item);
    } else if constexpr (std::is_const_v<T>) {
        using Plain = std::remove_const_t<T>;
        auto made = unpack<Plain>(from);
        Plain* const place = const_cast<Plain*>(std::addressof(value)); // a member of an object that is not const
        std::destroy_at(place);
        std::construct_at(place, std::move(made));
    } else {
        value = unpack<T>(from);
    }
}
template <class... M>
inline constexpr bool any_is_array = (std::is_array_v<M> || ...);
template <class T, class... M>
T unpack_members(CargoReader& from, impl::Types<M...>*) {
    if constexpr (any_is_array<M...>) {
        T value{};
        impl::with_members<sizeof...(M)>(value, [&](auto&... member) { (unpack_member(from, member), ...); });
        return value;
    } else {
        return T{unpack<std::remove_const_t<M>>(from)...};
    }
}

template <class T>
T unpack_contiguous(CargoReader& from) {
    using Item = typename T::value_type;
    const std::size_t n = from.read_count(sizeof(Item));
    from.align(alignof(Item));
    const std::byte* const bytes = from.take(n * sizeof(Item));
    if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(Item) == 0) [[likely]] {
        // The bytes are the objects that the other process had: they are copied as a whole, and the memory is written once.
        const Item* const items = reinterpret_cast<const Item*>(bytes);
        return T(items, items + n);
    }
    T result;
    result.resize(n);
    if (n > 0) std::memcpy(static_cast<void*>(result.data()), bytes, n * sizeof(Item));
    return result;
}

template <class T, std::size_t... i>
T unpack_array(CargoReader& from, std::index_sequence<i...>) {
    return T{{(static_cast<void>(i), unpack<typename T::value_type>(from))...}};
}
template <class Pair, std::size_t... i>
Pair unpack_tuple(CargoReader& from, std::index_sequence<i...>) {
    // Braces: in this order.
    return Pair{unpack<std::remove_const_t<std::tuple_element_t<i, Pair>>>(from)...};
}
template <class Variant, std::size_t i = 0>
Variant unpack_variant(CargoReader& from, std::size_t which) {
    if constexpr (i < std::variant_size_v<Variant>) {
        if (which == i) return Variant(std::in_place_index<i>, unpack<std::variant_alternative_t<i, Variant>>(from));
        return unpack_variant<Variant, i + 1>(from, which);
    } else {
        refuse_value("the alternative of a std::variant", which);
    }
}

} // namespace detail

/// Appends what it takes to make `value` anew. Throws what its own functions throw, UsageError where objects are nested over 256
/// deep, bad_alloc. What has been appended by then is of no use.
template <class T>
void pack(CargoWriter& to, const T& value) {
    using namespace detail;
    if constexpr (is_a<T, std::basic_string_view>) {
        pack_range(to, value.data(), value.size());
    } else if constexpr (is_view<T>) {
        using Item = std::remove_const_t<typename T::element_type>;
        if constexpr (raw<Item>) {
            pack_range(to, value.data(), value.size());
        } else {
            explain<Item>();
            to.write_raw(static_cast<std::uint64_t>(value.size()));
            for (const Item& item : value) pack(to, item);
        }
    } else if constexpr (std::same_as<std::decay_t<T>, const char*> || std::same_as<std::decay_t<T>, char*>) {
        pack(to, std::string_view(value));
    } else if constexpr (!ships<T>()) {
        explain<T>();
    } else if constexpr (PacksItself<T>) {
        value.pack(to);
    } else if constexpr (std::same_as<T, bool>) {
        to.write_raw(static_cast<std::uint8_t>(value));
    } else if constexpr (raw<T>) {
        to.write_raw(value);
    } else if constexpr (is_std_array<T>) {
        for (const auto& item : value) pack(to, item);
        if constexpr (std::tuple_size_v<T> == 0) to.write_raw(std::uint8_t{0});
    } else if constexpr (RawRange<T>) {
        pack_range(to, value.data(), value.size());
    } else if constexpr (Container<T>) {
        const Depth deeper(to);
        to.write_raw(static_cast<std::uint64_t>(value.size()));
        for (auto&& item : value) {
            if constexpr (requires { typename T::mapped_type; }) {
                pack(to, item.first);
                pack(to, item.second);
            } else {
                pack<typename T::value_type>(to, item);
            }
        }
    } else if constexpr (is_a<T, std::optional> || is_a<T, std::unique_ptr>) {
        const Depth deeper(to);
        to.write_raw(static_cast<std::uint8_t>(value ? 1 : 0));
        if (value) pack(to, *value);
    } else if constexpr (TupleLike<T>) {
        const Depth deeper(to);
        std::apply([&to](const auto&... item) { (pack(to, item), ...); }, value);
        if constexpr (std::tuple_size_v<T> == 0) to.write_raw(std::uint8_t{0});
    } else if constexpr (is_a<T, std::variant>) {
        const Depth deeper(to);
        to.write_raw(static_cast<std::uint64_t>(value.index()));
        std::visit([&to](const auto& item) { pack(to, item); }, value); // throws bad_variant_access for a valueless one
    } else if constexpr (CerealFunctions<T>) {
        const Depth deeper(to);
        SavingArchive archive(to);
        if constexpr (HasMemberSerialize<T>)
            const_cast<T&>(value).serialize(archive); // as cereal does: saving changes nothing
        else if constexpr (HasFreeSerialize<T>)
            serialize(archive, const_cast<T&>(value));
        else if constexpr (HasMemberSave<T>)
            value.save(archive);
        else
            save(archive, value);
    } else if constexpr (Members<T>) {
        const Depth deeper(to);
        constexpr int n = impl::count_members<T>();
        if constexpr (n == 0)
            to.write_raw(std::uint8_t{0}); // nothing takes no bytes, lest a few bytes stand for very many
        else
            impl::with_members<n>(value, [&to](const auto&... member) { (pack_member(to, member), ...); });
    } else if constexpr (std::is_empty_v<T> || std::same_as<T, std::monostate>) {
        to.write_raw(std::uint8_t{0});
    } else {
        const Depth deeper(to);
        ThroughCereal<T>::pack(to, value);
    }
}

/// Makes the next object. Throws CargoError where the bytes are none of a T, what the object's own functions throw, bad_alloc.
template <class T>
T unpack(CargoReader& from) {
    using namespace detail;
    static_assert(!std::is_const_v<T>);
    if constexpr (!ships<T>()) {
        explain<T>();
    } else if constexpr (PacksItself<T>) {
        const Depth deeper(from);
        return T::unpack(from);
    } else if constexpr (std::same_as<T, bool>) {
        const auto value = from.read_raw<std::uint8_t>();
        if (value > 1) refuse_value("a bool", value);
        return value != 0;
    } else if constexpr (raw<T>) {
        return from.read_raw<T>();
    } else if constexpr (is_std_array<T>) {
        if constexpr (std::tuple_size_v<T> == 0) {
            from.read_raw<std::uint8_t>();
            return T{};
        } else if constexpr (std::tuple_size_v<T> <= 16) {
            return unpack_array<T>(from, std::make_index_sequence<std::tuple_size_v<T>>());
        } else {
            T result;
            for (auto& item : result) item = unpack<typename T::value_type>(from);
            return result;
        }
    } else if constexpr (RawRange<T>) {
        return unpack_contiguous<T>(from);
    } else if constexpr (Container<T>) {
        const Depth deeper(from);
        T result;
        if constexpr (Associative<T>) {
            for (std::size_t n = from.read_count(least_bytes<typename T::key_type>()); n > 0; --n) {
                auto key = unpack<typename T::key_type>(from);
                if constexpr (requires { typename T::mapped_type; })
                    result.emplace_hint(result.end(), std::move(key), unpack<typename T::mapped_type>(from));
                else
                    result.emplace_hint(result.end(), std::move(key));
            }
        } else {
            using Item = typename T::value_type;
            std::size_t n = from.read_count(least_bytes<Item>());
            if constexpr (requires { result.reserve(n); })
                if (n <= from.remaining() / sizeof(Item) || n <= 16) result.reserve(n);
            for (; n > 0; --n) result.push_back(unpack<Item>(from));
        }
        return result;
    } else if constexpr (is_a<T, std::optional> || is_a<T, std::unique_ptr>) {
        const Depth deeper(from);
        const auto there = from.read_raw<std::uint8_t>();
        if (there > 1) refuse_value("whether an optional object is there", there);
        if (there == 0) return T{};
        if constexpr (is_a<T, std::optional>)
            return T(std::in_place, unpack<typename T::value_type>(from));
        else
            return T(new typename T::element_type(unpack<std::remove_const_t<typename T::element_type>>(from)));
    } else if constexpr (TupleLike<T>) {
        const Depth deeper(from);
        if constexpr (std::tuple_size_v<T> == 0) from.read_raw<std::uint8_t>();
        return unpack_tuple<T>(from, std::make_index_sequence<std::tuple_size_v<T>>());
    } else if constexpr (is_a<T, std::variant>) {
        const Depth deeper(from);
        return unpack_variant<T>(from, static_cast<std::size_t>(from.read_raw<std::uint64_t>()));
    } else if constexpr (CerealFunctions<T>) {
        const Depth deeper(from);
        T value{};
        LoadingArchive archive(from);
        if constexpr (HasMemberSerialize<T>)
            value.serialize(archive);
        else if constexpr (HasFreeSerialize<T>)
            serialize(archive, value);
        else if constexpr (HasMemberSave<T>)
            value.load(archive);
        else
            load(archive, value);
        return value;
    } else if constexpr (Members<T>) {
        const Depth deeper(from);
        if constexpr (impl::count_members<T>() == 0) from.read_raw<std::uint8_t>();
        return unpack_members<T>(from, static_cast<MembersOf<T>>(nullptr));
    } else if constexpr (std::is_empty_v<T> || std::same_as<T, std::monostate>) {
        from.read_raw<std::uint8_t>();
        return T{};
    } else {
        const Depth deeper(from);
        return ThroughCereal<T>::unpack(from);
    }
}

/// One object as a cargo of its own.
template <class T>
CargoWriter packed(const T& value) {
    CargoWriter to;
    pack(to, value);
    return to;
}

/// The exception with its type, text, this process and `stack` (where it was thrown; os::call_noting_throw has it). One that came
/// from another process keeps what it says of that. Throws bad_alloc alone.
void pack_exception(CargoWriter& to, const std::exception_ptr& error, const std::string& stack = {});
/// The same type with the same text where it is the standard's or sennit's own, and what came with it nested (remote_cause());
/// else a RemoteError.
std::exception_ptr unpack_exception(CargoReader& from);

} // namespace sennit::multiprocessing

// Code that travels: the place of a function in a module of the program, which is another address in each process.
//
// What travels as the function of a process or a job, F:
//   - function pointers, and pointers to member functions: as a place;
//   - lambdas without captures, and other empty function objects: as nothing at all;
//   - function objects and lambdas that are trivially copyable: as their bytes. A capture by reference, or of a pointer, is such a
//     byte as well, and means nothing in the other process: nobody can see that from outside of a lambda;
//   - function objects that travel as data do (cargo.hpp).
// A lambda that captures a std::string does not: pass the string as an argument.
#pragma once

#include <sennit/multiprocessing/cargo.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sennit::multiprocessing {

/// What runs in the other process: reads the function and its arguments from `in`, calls, and writes the result to `out`. What the
/// function throws goes on to the caller.
using Entry = void (*)(CargoReader& in, CargoWriter& out);

/// The place of a function: which module, by its build id, and where in it. Made once for each address; comparing and writing it
/// costs nanoseconds.
///
/// A module without a build id (ld --build-id=none) is known by its file's name, size and inode instead.
///
/// Throws    UsageError for an address that is in no module: code made at run time.
void pack_code(CargoWriter& to, const void* address);
/// The address here. Throws CargoError when no module of this program has that build id, or its place is no code.
const void* unpack_code(CargoReader& from);

inline void pack_entry(CargoWriter& to, Entry entry) { pack_code(to, reinterpret_cast<const void*>(entry)); }
inline Entry unpack_entry(CargoReader& from) { return reinterpret_cast<Entry>(const_cast<void*>(unpack_code(from))); }

namespace detail {

template <class F>
inline constexpr bool is_function_pointer = std::is_pointer_v<F>&& std::is_function_v<std::remove_pointer_t<F>>;

// Function objects, which are no data to cargo.hpp: plain aggregates, and those with serialize().
template <class F>
consteval bool members_travel() {
    if constexpr (Members<F>)
        return members_ship(static_cast<MembersOf<F>>(nullptr), static_cast<impl::Types<>*>(nullptr));
    else
        return false;
}
template <class F>
concept FunctionAggregate = std::is_class_v<F> && PlainAggregate<F> && !std::is_empty_v<F> && members_travel<F>();
template <class F>
concept SerializedFunction = std::is_class_v<F> && std::default_initializable<F> && HasMemberSerialize<F>;
template <class F>
concept ClosureBytes = std::is_class_v<F> && std::is_trivially_copyable_v<F> && std::is_trivially_destructible_v<F> &&
    (std::is_empty_v<F> || !PlainAggregate<F>);

// A pointer to a member function in the Itanium C++ ABI: an address, or for a virtual one a place in the table, and an offset to
// `this`.
struct MemberPointer {
    std::uintptr_t function;
    std::intptr_t adjust;
    [[nodiscard]] bool is_virtual() const noexcept {
#if defined(__aarch64__) || defined(__arm__)
        return (adjust & 1) != 0;
#else
        return (function & 1) != 0;
#endif
    }
};

// A text of a const char*, for functions that take it as one, as a string or as a view.
class ShippedText : public std::string {
  public:
    ShippedText() = default;
    explicit ShippedText(std::string text) noexcept : std::string(std::move(text)) {}
    operator const char*() const noexcept { return c_str(); } // NOLINT(google-explicit-constructor)
    void pack(CargoWriter& to) const { multiprocessing::pack<std::string>(to, *this); }
    static ShippedText unpack(CargoReader& from) { return ShippedText(multiprocessing::unpack<std::string>(from)); }
};

template <class T>
struct ShippedAs {
    using Type = T;
};
template <>
struct ShippedAs<const char*> {
    using Type = ShippedText;
};
template <>
struct ShippedAs<char*> {
    using Type = ShippedText;
};
template <>
struct ShippedAs<std::string_view> {
    using Type = ShippedText;
};

} // namespace detail

/// As what an argument travels: a copy; a text as a string.
template <class T>
using Shipped = typename detail::ShippedAs<std::decay_t<T>>::Type;

/// An argument as it is packed: itself, so that nothing is copied twice and what can't be copied (a Connection) travels; or as a string.
template <class T>
decltype(auto) as_shipped(const T& argument) {
    if constexpr (std::is_same_v<Shipped<T>, T>)
        return (argument);
    else
        return Shipped<T>(argument);
}

template <class F>
concept ShippableFunction = detail::is_function_pointer<F> || std::is_member_function_pointer_v<F> || Shippable<F> ||
    detail::SerializedFunction<F> || detail::FunctionAggregate<F> || detail::ClosureBytes<F>;

/// An argument travels as data does, or as a function.
template <class T>
concept ShippableArgument = Shippable<T> || detail::is_function_pointer<T> || std::is_member_function_pointer_v<T>;

template <class F>
void pack_function(CargoWriter& to, const F& function) {
    if constexpr (detail::is_function_pointer<F>) {
        pack_code(to, reinterpret_cast<const void*>(function));
    } else if constexpr (std::is_member_function_pointer_v<F>) {
        detail::MemberPointer parts;
        static_assert(sizeof parts == sizeof function, "pointers to members of another ABI");
        std::memcpy(&parts, &function, sizeof parts);
        to.write_raw(static_cast<std::uint8_t>(parts.is_virtual()));
        if (parts.is_virtual())
            to.write_raw(parts.function);
        else
            pack_code(to, reinterpret_cast<const void*>(parts.function));
        to.write_raw(parts.adjust);
    } else if constexpr (Shippable<F>) {
        pack(to, function);
    } else if constexpr (detail::SerializedFunction<F>) {
        const detail::Depth deeper(to);
        detail::SavingArchive archive(to);
        const_cast<F&>(function).serialize(archive);
    } else if constexpr (detail::FunctionAggregate<F>) {
        const detail::Depth deeper(to);
        impl::with_members<impl::count_members<F>()>(
            function, [&to](const auto&... member) { (detail::pack_member(to, member), ...); });
    } else if constexpr (!std::is_empty_v<F>) {
        to.write(&function, sizeof function);
    }
}

namespace detail {

template <class F>
union RawFunction {
    unsigned char bytes[sizeof(F)];
    F function;
    RawFunction() noexcept : bytes{} {}
};

} // namespace detail

template <class F>
F unpack_function(CargoReader& from) {
    if constexpr (detail::is_function_pointer<F>) {
        return reinterpret_cast<F>(const_cast<void*>(unpack_code(from)));
    } else if constexpr (std::is_member_function_pointer_v<F>) {
        detail::MemberPointer parts{};
        if (from.read_raw<std::uint8_t>() != 0)
            parts.function = from.read_raw<std::uintptr_t>();
        else
            parts.function = reinterpret_cast<std::uintptr_t>(unpack_code(from));
        parts.adjust = from.read_raw<std::intptr_t>();
        F function;
        std::memcpy(&function, &parts, sizeof parts);
        return function;
    } else if constexpr (Shippable<F>) {
        return unpack<F>(from);
    } else if constexpr (detail::SerializedFunction<F>) {
        const detail::Depth deeper(from);
        F function{};
        detail::LoadingArchive archive(from);
        function.serialize(archive);
        return function;
    } else if constexpr (detail::FunctionAggregate<F>) {
        const detail::Depth deeper(from);
        return detail::unpack_members<F>(from, static_cast<detail::MembersOf<F>>(nullptr));
    } else {
        detail::RawFunction<F> raw; // its bytes are the object: it is trivially copyable
        if constexpr (!std::is_empty_v<F>) from.read(raw.bytes, sizeof raw.bytes);
        return raw.function;
    }
}

namespace detail {

template <class T>
void pack_argument(CargoWriter& to, const T& value) {
    if constexpr (Shippable<T>)
        pack(to, value);
    else
        pack_function(to, value);
}

template <class T>
T unpack_argument(CargoReader& from) {
    if constexpr (Shippable<T>)
        return unpack<T>(from);
    else
        return unpack_function<T>(from);
}

template <class F, class... Args>
consteval void check_call() {
    static_assert(ShippableFunction<F>, "this function can't travel to another process: give a function, a lambda that "
                                        "captures nothing or only trivially "
                                        "copyable values, or a function object that can be packed. What a lambda "
                                        "captures otherwise (a std::string, say), "
                                        "pass as an argument");
    static_assert(
        (ShippableArgument<Args> && ...),
        "one of the arguments can't travel to another process: pass numbers, strings, containers, plain aggregates, "
        "what "
        "cereal serialises, or shared objects (Value, Array, Lock, Queue, Connection); no pointers and no references");
    static_assert(
        std::is_invocable_v<F, Args...>,
        "the function can't be called with these arguments. They are copies in the other process, passed as rvalues: a "
        "parameter of type T& takes none; for what both processes change take a Value, an Array or a Queue");
}

} // namespace detail

/// One call in another process. F and Args are decayed (Shipped<Args>).
///
///     CargoWriter cargo;
///     Call<F, Args...>::pack_call(cargo, f, args...);        // here
///     Call<F, Args...>::run(in, out);                        // there: this is the Entry
template <class F, class... Args>
struct Call {
    using Result = std::invoke_result_t<F, Args...>;

    static void pack_call(CargoWriter& to, const F& function, const Args&... args) {
        detail::check_call<F, Args...>();
        pack_function(to, function);
        (detail::pack_argument<Args>(to, args), ...);
    }
    static void run(CargoReader& in, CargoWriter& out) {
        F function = unpack_function<F>(in);
        // A braced list: the arguments are read in their order.
        std::tuple<Args...> args{detail::unpack_argument<Args>(in)...};
        if constexpr (std::is_void_v<Result>) {
            std::apply([&](Args&... arg) { std::invoke(function, std::move(arg)...); }, args);
        } else {
            static_assert(
                std::is_same_v<Result, void> || Shippable<std::decay_t<Result>>,
                "the result of this function can't travel back from the other process: give back numbers, strings, "
                "containers, plain aggregates or shared objects; no pointers and no references to what lives there");
            pack<std::decay_t<Result>>(
                out,
                std::apply([&](Args&... arg) -> decltype(auto) { return std::invoke(function, std::move(arg)...); },
                           args));
        }
    }
};

/// The same, and the result stays there: for Process.
template <class F, class... Args>
struct CallAndForget {
    static void run(CargoReader& in, CargoWriter&) {
        F function = unpack_function<F>(in);
        std::tuple<Args...> args{detail::unpack_argument<Args>(in)...};
        std::apply([&](Args&... arg) { static_cast<void>(std::invoke(function, std::move(arg)...)); }, args);
    }
};

/// The Entry of a call of F with Args.
template <class F, class... Args>
constexpr Entry entry_of() noexcept {
    return &Call<F, Args...>::run;
}

} // namespace sennit::multiprocessing

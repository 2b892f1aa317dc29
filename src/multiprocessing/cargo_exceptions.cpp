// Exceptions as cargo: the place of their type in a table (0: not in it), type, text, process and stack, and what the type has
// besides.
#include <sennit/multiprocessing/cargo.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/exception_group.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/os/resolve.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/subprocess/errors.hpp>

#include "base/type_name.hpp"

#include <cxxabi.h>
#include <functional>
#include <ios>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <typeinfo>

namespace sennit::multiprocessing {
namespace {

// E, and the RemoteError that it came with nested in it. Made while that is handled.
template <class E>
class FromAfar final : public E, public std::nested_exception {
  public:
    template <class... Args>
    explicit FromAfar(Args&&... args) : E(std::forward<Args>(args)...) {}
};

template <class E, class... Args>
std::exception_ptr make(const std::exception_ptr& cause, Args&&... args) {
    try {
        std::rethrow_exception(cause);
    } catch (...) {
        return std::make_exception_ptr(FromAfar<E>(std::forward<Args>(args)...));
    }
}

// What the constructor of E added to the text it was given.
std::string without(std::string text, const std::string& added) {
    if (text.ends_with(added)) text.resize(text.size() - added.size());
    return text;
}

template <class E>
struct WithText {
    static void pack(CargoWriter&, const E&) {}
    static std::exception_ptr unpack(CargoReader&, const std::string& text, const std::exception_ptr& cause) {
        return make<E>(cause, text);
    }
};
template <class E>
struct Fixed {
    static void pack(CargoWriter&, const E&) {}
    static std::exception_ptr unpack(CargoReader&, const std::string&, const std::exception_ptr& cause) {
        return make<E>(cause);
    }
};
struct WithErrno {
    static void pack(CargoWriter& to, const OSError& e) { to.write_raw(e.code()); }
    static std::exception_ptr unpack(CargoReader& from, const std::string& text, const std::exception_ptr& cause) {
        const int code = from.read_raw<int>();
        // Its constructor adds the kernel's text.
        const std::string added = OSError(code, "").what();
        return make<OSError>(cause, code, without(text, added));
    }
};
struct Resolve {
    static void pack(CargoWriter& to, const os::ResolveError& e) { to.write_raw(e.code()); }
    static std::exception_ptr unpack(CargoReader& from, const std::string& text, const std::exception_ptr& cause) {
        const int code = from.read_raw<int>();
        return make<os::ResolveError>(cause, code, text);
    }
};
template <class E>
struct WithErrorCode {
    static void pack(CargoWriter& to, const E& e) {
        to.write_raw(e.code().value());
        multiprocessing::pack(to, std::string_view(e.code().category().name()));
    }
    static std::exception_ptr unpack(CargoReader& from, const std::string& text, const std::exception_ptr& cause) {
        const int value = from.read_raw<int>();
        const auto name = multiprocessing::unpack<std::string>(from);
        const std::error_category& category = name == "generic"    ? std::generic_category()
                                              : name == "iostream" ? std::iostream_category()
                                                                   : std::system_category();
        // Another category's number means nothing here.
        const bool known = name == "generic" || name == "iostream" || name == "system";
        if (!known) return cause;
        const std::error_code code(value, category);
        if constexpr (std::same_as<E, std::system_error>) {
            if (text == code.message()) return make<E>(cause, code);
            return make<E>(cause, code, without(text, ": " + code.message()));
        } else {
            return make<E>(cause, without(text, ": " + code.message()), code);
        }
    }
};
struct TooShort {
    static void pack(CargoWriter& to, const BufferTooShort& e) {
        multiprocessing::pack(to, e.buffer_bytes());
        multiprocessing::pack(to, e.message());
    }
    static std::exception_ptr unpack(CargoReader& from, const std::string&, const std::exception_ptr& cause) {
        const auto bytes = multiprocessing::unpack<std::size_t>(from);
        return make<BufferTooShort>(cause, bytes, multiprocessing::unpack<std::vector<std::byte>>(from));
    }
};
struct Died {
    static void pack(CargoWriter& to, const WorkerDied& e) { multiprocessing::pack(to, e.death()); }
    static std::exception_ptr unpack(CargoReader& from, const std::string&, const std::exception_ptr& cause) {
        return make<WorkerDied>(cause, multiprocessing::unpack<WorkerDeath>(from));
    }
};
struct Group {
    static void pack(CargoWriter& to, const ExceptionGroup& e) {
        const detail::Depth deeper(to);
        multiprocessing::pack(to, e.message());
        to.write_raw(static_cast<std::uint64_t>(e.exceptions().size()));
        for (const std::exception_ptr& error : e.exceptions()) pack_exception(to, error);
    }
    static std::exception_ptr unpack(CargoReader& from, const std::string&, const std::exception_ptr& cause) {
        const detail::Depth deeper(from);
        auto message = multiprocessing::unpack<std::string>(from);
        std::vector<std::exception_ptr> errors;
        std::size_t n = from.read_count(1);
        if (n == 0) detail::refuse_value("how many exceptions are in a group", n);
        for (; n > 0; --n) errors.push_back(unpack_exception(from));
        return make<ExceptionGroup>(cause, std::move(message), std::move(errors));
    }
};
template <class E>
struct OfSubprocess {
    static void pack(CargoWriter& to, const E& e) {
        if constexpr (std::same_as<E, subprocess::TimeoutExpired>)
            to.write_raw(e.timeout());
        else
            to.write_raw(e.returncode());
        multiprocessing::pack(to, e.cmd().is_string());
        multiprocessing::pack(to, e.cmd().list());
        multiprocessing::pack(to, e.output());
        multiprocessing::pack(to, e.std_err());
    }
    static std::exception_ptr unpack(CargoReader& from, const std::string&, const std::exception_ptr& cause) {
        using Number = std::conditional_t<std::same_as<E, subprocess::TimeoutExpired>, double, int>;
        const auto number = from.read_raw<Number>();
        const bool is_string = multiprocessing::unpack<bool>(from);
        auto list = multiprocessing::unpack<std::vector<std::string>>(from);
        if (is_string && list.size() != 1) detail::refuse_value("the length of a command in one string", list.size());
        auto output = multiprocessing::unpack<std::string>(from);
        auto errors = multiprocessing::unpack<std::string>(from);
        subprocess::Args cmd = is_string ? subprocess::Args(std::move(list[0])) : subprocess::Args(std::move(list));
        if constexpr (std::same_as<E, subprocess::TimeoutExpired>)
            return make<E>(cause, std::move(cmd), number, std::move(output), std::move(errors));
        else
            return make<E>(cause, number, std::move(cmd), std::move(output), std::move(errors));
    }
};

struct Known {
    const std::type_info& type;
    const std::type_info& from_afar;
    void (*pack)(CargoWriter&, const std::exception&);
    std::exception_ptr (*unpack)(CargoReader&, const std::string&, const std::exception_ptr&);
};
template <class E, class How>
constexpr Known known() {
    return {typeid(E), typeid(FromAfar<E>),
            [](CargoWriter& to, const std::exception& e) { How::pack(to, dynamic_cast<const E&>(e)); }, &How::unpack};
}
template <class E>
constexpr Known text() {
    return known<E, WithText<E>>();
}
template <class E>
constexpr Known fixed() {
    return known<E, Fixed<E>>();
}

// Both sides run the same program: a place in it is the type.
constinit const Known table[] = {
    text<std::runtime_error>(),
    text<std::logic_error>(),
    text<std::invalid_argument>(),
    text<std::domain_error>(),
    text<std::length_error>(),
    text<std::out_of_range>(),
    text<std::range_error>(),
    text<std::overflow_error>(),
    text<std::underflow_error>(),
    fixed<std::exception>(),
    fixed<std::bad_alloc>(),
    fixed<std::bad_array_new_length>(),
    fixed<std::bad_cast>(),
    fixed<std::bad_typeid>(),
    fixed<std::bad_exception>(),
    fixed<std::bad_function_call>(),
    fixed<std::bad_optional_access>(),
    fixed<std::bad_variant_access>(),
    fixed<std::bad_weak_ptr>(),
    known<std::system_error, WithErrorCode<std::system_error>>(),
    known<std::ios_base::failure, WithErrorCode<std::ios_base::failure>>(),
    text<Error>(),
    text<TimeoutError>(),
    text<CancelledError>(),
    text<InvalidStateError>(),
    text<BrokenBarrierError>(),
    text<BrokenExecutor>(),
    text<UsageError>(),
    text<queue::Empty>(),
    text<queue::Full>(),
    text<queue::ShutDown>(),
    known<OSError, WithErrno>(),
    known<os::ResolveError, Resolve>(),
    known<ExceptionGroup, Group>(),
    text<LockGivenUp>(),
    text<AuthenticationError>(),
    text<EndOfFile>(),
    text<CargoError>(),
    known<BufferTooShort, TooShort>(),
    known<WorkerDied, Died>(),
    known<subprocess::CalledProcessError, OfSubprocess<subprocess::CalledProcessError>>(),
    known<subprocess::TimeoutExpired, OfSubprocess<subprocess::TimeoutExpired>>(),
};

struct Told {
    std::string type, message;
    int pid;
    std::string stack;
};
void write(CargoWriter& to, std::size_t place, const Told& told) {
    to.write_raw(static_cast<std::uint8_t>(place));
    pack(to, told);
}

} // namespace

void pack_exception(CargoWriter& to, const std::exception_ptr& error, const std::string& stack) {
    static_assert(std::size(table) < 255);
    if (!error)
        throw UsageError("pack_exception: there is no exception; pass one, as std::current_exception() gives it");
    try {
        std::rethrow_exception(error);
    } catch (const RemoteError& e) {
        write(to, 0, {e.type(), e.message(), e.pid(), e.stack()});
    } catch (const std::exception& e) {
        const auto cause = remote_cause(e);
        std::size_t place = 0;
        while (place < std::size(table) && table[place].type != typeid(e) && table[place].from_afar != typeid(e))
            ++place;
        const bool is_known = place < std::size(table);
        const Told told = {cause ? cause->type() : base::readable_type_name(typeid(e).name()), e.what(),
                           cause ? cause->pid() : os::process_id(), cause ? cause->stack() : stack};
        write(to, is_known ? place + 1 : 0, told);
        if (is_known) table[place].pack(to, e);
    } catch (...) {
        const std::type_info* const type = abi::__cxa_current_exception_type();
        write(to, 0,
              {type ? base::readable_type_name(type->name()) : "an exception of another language",
               base::text_of_current_exception(), os::process_id(), stack});
    }
}

std::exception_ptr unpack_exception(CargoReader& from) {
    const std::size_t place = from.read_raw<std::uint8_t>();
    if (place > std::size(table)) detail::refuse_value("the type of an exception", place);
    Told told = unpack<Told>(from);
    const std::string text = told.message;
    const auto cause = std::make_exception_ptr(
        RemoteError(std::move(told.type), std::move(told.message), told.pid, std::move(told.stack)));
    return place == 0 ? cause : table[place - 1].unpack(from, text, cause);
}

} // namespace sennit::multiprocessing

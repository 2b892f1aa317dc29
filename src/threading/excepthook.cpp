#include <sennit/threading/excepthook.hpp>

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/wait/registry.hpp>

#include "base/type_name.hpp"
#include "report.hpp"
#include "threads.hpp"

#include <cstdio>
#include <cxxabi.h>
#include <memory>
#include <string_view>
#include <typeinfo>

namespace sennit::threading {
namespace {

using SharedHook = std::shared_ptr<const ExceptHook::Function>;

// nullptr: the default. Guarded by the lock of Threads, which forks respect. Never destroyed: daemons may need it at the end.
SharedHook& hook() noexcept {
    alignas(SharedHook) static unsigned char storage[sizeof(SharedHook)];
    static auto* const it = ::new (static_cast<void*>(storage)) SharedHook;
    return *it;
}

// The text of an exception, with those nested in it.
std::string message_of(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        std::string text = e.what();
        if (const auto* nested = dynamic_cast<const std::nested_exception*>(&e); nested && nested->nested_ptr())
            text += "\n  caused by " + message_of(nested->nested_ptr());
        return text;
    } catch (...) {
        return base::text_of_current_exception();
    }
}

std::string as_text(const ExceptHookArgs& args) {
    std::string text = "Exception in thread " + args.thread.name() + ":\n";
    std::string_view rest = args.exc_traceback;
    while (!rest.empty()) {
        const auto end = rest.find('\n');
        (text += "  ").append(rest.substr(0, end)) += '\n';
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    text += args.exc_type;
    if (!args.message.empty()) (text += ": ") += args.message;
    return text += '\n';
}

void print(const std::string& text) noexcept { std::fwrite(text.data(), 1, text.size(), stderr); }

// In a catch block.
ExceptHookArgs args_of_current(const ThreadRef& thread, std::string stack) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    std::exception_ptr error = std::current_exception();
    std::string message = message_of(error);
    return {std::move(error), type ? base::readable_type_name(type->name()) : "an exception of another language",
            std::move(message), std::move(stack), thread};
}

void call_hook(const ExceptHookArgs& args) noexcept {
    try {
        try {
            excepthook(args);
        } catch (...) {
            print("Exception in threading.excepthook:\n" + as_text(args_of_current(args.thread, "")) +
                  "while it was told of this:\n" + as_text(args));
        }
    } catch (...) {
        std::fputs("sennit: an exception in a thread, and no memory left to say which\n", stderr);
    }
}

} // namespace

void default_excepthook(const ExceptHookArgs& args) { print(as_text(args)); }

const ExceptHook& ExceptHook::operator=(Function function) const { // NOLINT(misc-unconventional-assign-operator)
    SharedHook next = function ? std::make_shared<const Function>(std::move(function)) : nullptr;
    SharedHook& current = hook();
    os::MutexGuard guard(detail::Threads::lock);
    current.swap(next);
    return *this; // the former one dies after the guard
}

ExceptHook::Function ExceptHook::get() const {
    SharedHook now;
    {
        SharedHook& current = hook();
        os::MutexGuard guard(detail::Threads::lock);
        now = current;
    }
    return now ? *now : Function(default_excepthook);
}

void ExceptHook::operator()(const ExceptHookArgs& args) const {
    SharedHook now;
    {
        SharedHook& current = hook();
        os::MutexGuard guard(detail::Threads::lock);
        now = current;
    }
    now ? (*now)(args) : default_excepthook(args);
}

namespace detail {

void report_exception(const ThreadRef& thread, const os::ThrowStack& stack) noexcept {
    try {
        call_hook(args_of_current(thread, stack.describe()));
    } catch (...) {
        std::fputs("sennit: an exception in a thread, and no memory left to say which\n", stderr);
    }
}

void report_unseen_error(std::exception_ptr error, const char* what) noexcept {
    try {
        try {
            std::rethrow_exception(std::move(error));
        } catch (...) {
            ExceptHookArgs args = args_of_current(current_thread(), "");
            args.message = std::string("in ") + what + (args.message.empty() ? "" : ": ") + args.message;
            call_hook(args);
        }
    } catch (...) {
        std::fprintf(stderr, "sennit: an exception in %s, and no memory left to say which\n", what);
    }
}

void report_misuse(const ThreadRef& thread, const std::string& message) noexcept {
    try {
        call_hook({std::make_exception_ptr(UsageError(message)), "sennit::UsageError", message, "", thread});
    } catch (...) {
        std::fputs("sennit: a thread was misused, and no memory left to say how\n", stderr);
    }
}

void report_long_wait(const char* who, const ThreadRef& thread, const wait::Agent* agent) noexcept {
    try {
        std::string doing = "; it runs";
        for (const auto& a : wait::Registry::snapshot())
            if (a.agent == agent && a.site) {
                char seconds[32];
                std::snprintf(seconds, sizeof seconds, "%.1f",
                              static_cast<double>(base::monotonic_ns() - a.since_ns) / 1e9);
                doing = std::string("; it waits in ") + a.site->object + '.' + a.site->call + ", for " + seconds + " s";
            }
        print(std::string("sennit: ") + who + " has waited for 5 s for thread \"" + thread.name() + "\" (tid " +
              std::to_string(thread.native_id()) + ")" + doing + "\n");
    } catch (...) {
        std::fputs("sennit: a thread does not end, and no memory left to say which\n", stderr);
    }
}

} // namespace detail
} // namespace sennit::threading

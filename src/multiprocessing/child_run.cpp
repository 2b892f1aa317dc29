#include "child_run.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/fork.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/throw_stack.hpp>

#include "../threading/threads.hpp"
#include "base/type_name.hpp"
#include "this_process.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <optional>
#include <string>
#include <typeinfo>

namespace sennit::multiprocessing::detail {
namespace {

constexpr int code_of_flush_failure = 120; // as Python's

void describe_exception(std::string& text, const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        text += base::readable_type_name(typeid(e).name()) + ": " + e.what() + '\n';
        if (const auto* nested = dynamic_cast<const std::nested_exception*>(&e); nested && nested->nested_ptr()) {
            text += "  caused by ";
            describe_exception(text, nested->nested_ptr());
        }
    } catch (...) {
        const std::type_info* const type = abi::__cxa_current_exception_type();
        text += (type ? base::readable_type_name(type->name()) : "an exception of another language") + '\n';
    }
}

// In a catch block.
void print_exception(const os::ThrowStack& stack) noexcept {
    try {
        std::string text = "Process " + ThisProcess::get().name + ":\n";
        const std::string calls = stack.describe();
        for (std::size_t at = 0; at < calls.size();) {
            const std::size_t end = std::min(calls.find('\n', at), calls.size());
            text += "  " + calls.substr(at, end - at) + '\n';
            at = end + 1;
        }
        describe_exception(text, std::current_exception());
        std::fflush(stdout);
        std::fwrite(text.data(), 1, text.size(), stderr);
        std::fflush(stderr);
    } catch (...) {
        std::fputs("sennit: an exception in a process, and no memory left to say which\n", stderr);
    }
}

// What make_preparation() wrote.
struct Preparation {
    std::string name, identity, authkey, parent_name;
    bool daemon, ignore_interrupt;
    StartMethod method;
    Entry entry;
};

Preparation read_preparation(CargoReader& from) {
    Preparation p{};
    for (std::string* text : {&p.name, &p.identity, &p.authkey, &p.parent_name}) *text = unpack<std::string>(from);
    p.daemon = from.read_raw<std::uint8_t>() != 0;
    p.ignore_interrupt = from.read_raw<std::uint8_t>() != 0;
    p.method = from.read_raw<StartMethod>();
    p.entry = unpack_entry(from);
    return p;
}

// What is written is seen to have been written: a full disk is no success.
int flush(int code) noexcept {
    std::fflush(stderr);
    if (std::fflush(stdout) == 0) return code;
    std::fprintf(stderr, "Process %s: cannot write its output: %s\n", ThisProcess::get().name.c_str(),
                 std::strerror(errno));
    std::fflush(stderr);
    return code == 0 ? code_of_flush_failure : code;
}

// A copy of a program in its midst: its atexit functions and static objects are the parent's to end.
[[noreturn]] void end_copy(int code) {
    threading::detail::Threads::end_of_process();
    end_children();
    if (forkserver_pid() != 0) stop_forkserver();
    code = flush(code);
    std::fflush(nullptr);
    os::exit_now(code);
}

void call_entry(Entry entry, CargoReader& cargo, os::ThrowStack& stack) {
    struct Run {
        Entry entry;
        CargoReader& cargo;
    } run{entry, cargo};
    os::call_noting_throw(
        [](void* argument) {
            auto& what = *static_cast<Run*>(argument);
            CargoWriter result;
            what.entry(what.cargo, result);
        },
        &run, stack);
}

} // namespace

CargoWriter make_preparation(const ChildOptions& options, Entry entry) {
    ThisProcess& me = ThisProcess::get();
    CargoWriter to;
    const std::string identity = options.identity.empty() ? me.next_identity() : options.identity;
    pack<std::string>(to, options.name.empty() ? "Process-" + identity : options.name);
    pack<std::string>(to, identity);
    pack<std::string>(to, options.authkey.empty() ? me.key() : options.authkey);
    {
        const os::MutexGuard guard(me.mutex);
        pack<std::string>(to, me.name);
    }
    to.write_raw(static_cast<std::uint8_t>(options.daemon));
    to.write_raw(static_cast<std::uint8_t>(options.ignore_interrupt));
    to.write_raw(default_start_method());
    pack_entry(to, entry);
    return to;
}

void rehearse() noexcept {
    try {
        ChildOptions options;
        options.name = options.identity = "rehearsal";
        options.authkey.assign(32, '-');
        const Entry nothing = [](CargoReader&, CargoWriter&) {};
        CargoWriter packed = make_preparation(options, nothing);
        CargoReader preparation(packed.bytes());
        CargoReader cargo(packed.bytes().first(0), {});
        os::ThrowStack stack{};
        call_entry(read_preparation(preparation).entry, cargo, stack);
        static_cast<void>(forkserver_pid());
    } catch (...) { // each child does it for itself
    }
}

void run_child(Start start, bool by_fork) {
    int code = 1;
    os::ThrowStack stack{};
    std::optional<os::IgnoredSignal> ignored; // till the end of the process
    try {
        CargoReader from(start.body.first(start.header.preparation_bytes));
        Preparation preparation = read_preparation(from);
        ThisProcess& me = ThisProcess::get();
        me.name = std::move(preparation.name);
        me.identity = std::move(preparation.identity);
        me.authkey = std::move(preparation.authkey);
        me.parent_name = std::move(preparation.parent_name);
        me.daemon = preparation.daemon;
        me.children = 0;
        me.is_child = true;
        me.by_fork = by_fork;
        me.parent = start.header.parent;
        if (by_fork) os::at_exit_with_code(end_copy); // exit() comes here first
        inherit_start_method(preparation.method);
        if (preparation.ignore_interrupt) ignored.emplace(SIGINT);
        CargoReader cargo(start.body.subspan(start.header.preparation_bytes, start.header.cargo_bytes),
                          std::move(start.fds));
        call_entry(preparation.entry, cargo, stack);
        code = 0;
    } catch (...) {
        print_exception(stack);
    }
    if (!by_fork) std::exit(flush(code)); // threads, atexit, children, the rest of the output: P25
    end_copy(code);
}

} // namespace sennit::multiprocessing::detail

#include <sennit/multiprocessing/start_method.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>

namespace sennit::multiprocessing {
namespace {

// The method, and whether it is fixed. relaxed: a setting; who depends on it has set it before.
constexpr unsigned fixed = 4;
constinit atomic<unsigned> setting{static_cast<unsigned>(StartMethod::forkserver)};

} // namespace

std::string_view to_string(StartMethod method) noexcept {
    switch (method) {
    case StartMethod::forkserver:
        return "forkserver";
    case StartMethod::spawn:
        return "spawn";
    case StartMethod::fork:
        break;
    }
    return "fork";
}

StartMethod start_method_of(std::string_view name) {
    for (const auto method : {StartMethod::forkserver, StartMethod::spawn, StartMethod::fork})
        if (name == to_string(method)) return method;
    throw UsageError("there is no start method '" + std::string(name) +
                     "': take \"forkserver\", \"spawn\" or \"fork\"");
}

void set_start_method(std::string_view name, bool force) {
    const auto method = static_cast<unsigned>(start_method_of(name));
    unsigned now = setting.load(memory_order_relaxed);
    do {
        if ((now & fixed) != 0 && !force)
            throw UsageError("set_start_method(\"" + std::string(name) + "\"): the start method is \"" +
                             std::string(to_string(static_cast<StartMethod>(now & ~fixed))) +
                             "\" already; set it once, before the first process is started, or take get_context()");
    } while (!setting.compare_exchange_weak(now, method | fixed, memory_order_relaxed, memory_order_relaxed));
}

std::string get_start_method() {
    detail::fix_start_method();
    return std::string(to_string(detail::default_start_method()));
}

std::vector<std::string> get_all_start_methods() { return {"forkserver", "spawn", "fork"}; }

namespace detail {

StartMethod default_start_method() noexcept {
    return static_cast<StartMethod>(setting.load(memory_order_relaxed) & ~fixed);
}

void fix_start_method() noexcept { setting.fetch_or(fixed, memory_order_relaxed); }

void inherit_start_method(StartMethod method) noexcept {
    if (default_start_method() == method) return; // what is not written need not be copied
    setting.store(static_cast<unsigned>(method), memory_order_relaxed);
}

} // namespace detail
} // namespace sennit::multiprocessing

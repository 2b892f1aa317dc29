// The order in which a process ends (P25), after the user's atexit functions: terminate the daemons among the children, join the others,
// end the zygote. atexit functions run newest first, and ours is registered before the program's static objects exist.
#include "this_process.hpp"

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/child.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/thread.hpp>

#include <cstdlib>
#include <new>

namespace sennit::multiprocessing::detail {
namespace {

constinit atomic<void (*)() noexcept> end_of_children{nullptr};

[[gnu::constructor(101)]] void prepare_the_end() noexcept {
    std::atexit([] {
        end_children();
        if (forkserver_pid() != 0) stop_forkserver();
    });
}

} // namespace

ThisProcess& ThisProcess::get() noexcept {
    static ThisProcess* const it = [] {
        static auto* const made = new ThisProcess;
        os::at_fork([]() SENNIT_NO_TSA noexcept { made->mutex.lock(); },
                    []() SENNIT_NO_TSA noexcept { made->mutex.unlock(); },
                    []() noexcept { made->mutex.reset_after_fork(); });
        return made;
    }();
    return *it;
}

std::string ThisProcess::next_identity() {
    const os::MutexGuard guard(mutex);
    const std::string number = std::to_string(++children);
    return identity.empty() ? number : identity + ':' + number;
}

std::string ThisProcess::key() {
    const os::MutexGuard guard(mutex);
    if (authkey.empty()) {
        std::string made(32, '\0');
        os::random_bytes(made.data(), made.size());
        authkey = std::move(made);
    }
    return authkey;
}

void check_may_start() {
    if (takeover_is_pending())
        throw UsageError("a process is started before this process, which was started itself, has begun its work: by a "
                         "static object of the "
                         "program, whose constructor runs in every child as well, or by main(), which should not run "
                         "here at all. Start "
                         "processes from main() or later; in a program that is linked in an exotic way, call "
                         "multiprocessing::freeze_support() in its first line");
}

void at_end_of_children(void (*run)() noexcept) noexcept {
    end_of_children.store(run, memory_order_release); // meets end_children()
}

void end_children() noexcept {
    if (auto* const run = end_of_children.load(memory_order_acquire)) run(); // meets at_end_of_children()
}

} // namespace sennit::multiprocessing::detail

// Cancels a coroutine at its 1st, 2nd, ... n-th suspension, each time in a loop of its own, and looks at what it leaves behind.
#pragma once

#include "snapshot.hpp"

#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>

#include <chrono>
#include <gtest/gtest.h>
#include <string>

namespace sennit::testing {

/// Runs main() -> Coro<> again and again; in the n-th run its task is cancelled in its n-th wait; until a run comes to its end
/// before that. Each time it must end within H, with CancelledError if with an error at all, and leave nothing behind: files,
/// children, frames, agents. Gives how many suspensions there were.
///
/// `after()` is called after each run, before the look.
///
/// How it hits each: it looks once a turn of the loop, before what the kernel brings in that turn. A wait that somebody has ended
/// by then takes no notice, and the request comes at the next one: that race is in it, too.
template <class Main, class After = void (*)()>
int cancel_everywhere(
    Main main, After after = [] {}, int most = 200) {
    wait::current_agent();
    for (int n = 1; n <= most; ++n) {
        SCOPED_TRACE("cancelled at suspension " + std::to_string(n));
        bool reached = false;
        const NothingLeaks leaks;
        try {
            asyncio::Runner runner;
            runner.run([&]() -> asyncio::Coro<> {
                asyncio::Task<void> task = asyncio::create_task(main);
                const Deadline limit{std::chrono::seconds(20)};
                while (!task.done()) {
                    const auto s = task.base().snapshot();
                    if (!reached && s.site && s.wait >= static_cast<std::uint64_t>(n)) {
                        reached = true;
                        task.cancel();
                    }
                    if (limit.has_passed()) {
                        ADD_FAILURE() << "it hangs: " << task.describe();
                        task.print_stack();
                        std::abort();
                    }
                    co_await asyncio::sleep(std::chrono::seconds(0));
                }
                if (!task.cancelled())
                    if (const std::exception_ptr error = task.exception()) std::rethrow_exception(error);
            });
            runner.close();
        } catch (const std::exception& e) {
            ADD_FAILURE() << "it ended with " << e.what();
        }
        after();
        if (!reached) return n - 1;
    }
    ADD_FAILURE() << "it has more than " << most << " suspensions";
    return most;
}

} // namespace sennit::testing

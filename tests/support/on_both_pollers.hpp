// Runs a coroutine on a loop of each poller, with a look at what it leaves behind.
#pragma once

#include "snapshot.hpp"

#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>

#include <chrono>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>

namespace sennit::testing {

/// main() -> Coro<>, once on epoll and once on io_uring where the kernel has it. What it throws fails the test.
template <class Main>
void on_both_pollers(Main main) {
    const char* const before = std::getenv("SENNIT_POLLER");
    const std::string kept = before ? before : "";
    for (const char* poller : {"epoll", "io_uring"}) {
        if (before && kept != poller) continue; // the environment has chosen
        SCOPED_TRACE(poller);
        ::setenv("SENNIT_POLLER", poller, 1);
        wait::current_agent(); // from now on: it would count as left behind
        try {
            const NothingLeaks leaks;
            asyncio::Runner runner;
            runner.run(main);
            runner.close();
        } catch (const OSError& e) {
            if (std::string(poller) == "epoll" || std::string(e.what()).find("io_uring") == std::string::npos)
                ADD_FAILURE() << e.what();
        } catch (const std::exception& e) {
            ADD_FAILURE() << e.what();
        }
    }
    before ? ::setenv("SENNIT_POLLER", kept.c_str(), 1) : ::unsetenv("SENNIT_POLLER");
}

} // namespace sennit::testing

// Scenarios under the model: written as a function, run under many seeded schedules, or under all with few preemptions.
#pragma once

#include <sennit/impl/model_scheduler.hpp>

#include "support/test_loop.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>

namespace sennit::model {

/// How to search.
struct Plan {
    /// Seeded schedules: a third each uniformly random, starving a subset, with priorities (PCT, depth 3).
    std::size_t schedules = 0;
    /// Every schedule that has at most so many surprises, each of which is a switch away from a thread that could go on, a
    /// deadline that passes while somebody can run, an older value seen, or a needless wake-up. -1: no such search.
    int surprises = -1;
    /// In that search the clock may jump, which is a surprise, too. (By seed it always may.)
    bool jumps = false;
};

/// What came of it.
struct Finding {
    std::string report; // empty: nothing found
    std::size_t schedules = 0;
    std::size_t most_operations = 0;
};

/// Searches in a child process, so that a failure ends that alone. SENNIT_MODEL_REPLAY repeats one run, told whole.
Finding explore(const std::function<void()>& scenario, Plan plan = {});

/// The body of SCENARIO. At SENNIT_FAULT_TIER 1, 2, 3: 2,000, 20,000, 100,000 seeded schedules, then the exhaustive search if the
/// plan has one; from tier 2 on with a surprise more.
void expect_nothing_found(const std::function<void()>& scenario, Plan plan);

/// A controlled thread that is an agent from its beginning until it is joined: becoming one is not part of the scenario, and
/// others may cancel it at any time between.
class agent_thread {
  public:
    explicit agent_thread(std::function<void()> body);
    ~agent_thread() { join(); }
    void join();
    wait::Agent& agent() const;

  private:
    struct Slot {
        sennit::atomic<wait::Agent*> agent{nullptr};
        os::FutexWord may_end{0};
    };
    std::shared_ptr<Slot> slot_;
    thread thread_;
};

} // namespace sennit::model

/// A test: SCENARIO(Lock, excludes) { ...the code of the first thread... }, with a Plan if need be.
#define SCENARIO(suite, name, ...)                                                                         \
    static void suite##_##name##_scenario();                                                               \
    TEST(suite, name) { ::sennit::model::expect_nothing_found(suite##_##name##_scenario, {__VA_ARGS__}); } \
    static void suite##_##name##_scenario()

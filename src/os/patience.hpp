#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace sennit::os {

/// How long a thread looks for something imminent before it sleeps: at most about what a sleep and a wake-up cost, and less, down
/// to nothing, when that was in vain the last times: what it waits for takes longer, or there is no core for who is to bring it.
///
///     if (!patience.look([&] { return done(); })) {
///         sleep();
///         patience.learn(slept_ns);
///     }
///
/// A sleep that was short, two wake-ups and a little, shows that looking would have paid: then it looks again the next time; and
/// so it does once in a while. Between its looks it pauses ever longer: who brings many things one by one is not to lose the
/// line to who looks at each. Where others wanted the core it rests for a number of looks, each time a larger one. It ends when more
/// threads are known to run than there are cores: those that look, and workers.
///
/// Agents    One thread's own.
/// Source    Karlin et al., "Empirical studies of competitive spinning for a shared-memory multiprocessor", SOSP 1991.
class Patience {
  public:
    constexpr Patience() noexcept = default;

    /// Threads that run, and are known as long: the workers of pools.
    class Running {
      public:
        Running() noexcept { begin(); }
        ~Running() { end(); }
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;
        /// What a Running does, for who sleeps in between.
        static void begin() noexcept;
        static void end() noexcept;
    };

    /// Looks until `came()` or the patience ends; says whether it came. `known`: the thread has a Running.
    template <class Came>
    bool look(bool known, Came came) noexcept {
        if (came()) return true;
        if (rest_ > 0) {
            --rest_;
            return false;
        }
        if (budget_ns_ < least_ns) {
            if (++refused_ % retry_each != 0) return false;
            budget_ns_ = most_ns;
        }
        if (!known) Running::begin();
        const bool found = look_for(came);
        if (!known) Running::end();
        return found;
    }
    /// Having slept after that, for so long.
    void learn(std::int64_t slept_ns) noexcept {
        if (slept_ns < worth_ns) budget_ns_ = most_ns;
    }
    [[nodiscard]] std::int64_t budget_ns_for_test() const noexcept { return budget_ns_; }

    static constexpr std::int64_t most_ns = 30'000, least_ns = 1'000, worth_ns = 5 * most_ns;

  private:
    // A clock that stands still (a test's) ends it, too. Under the model one turn: its schedules are to come to the sleep.
    static constexpr unsigned most_rounds = 2'000, most_pauses = 16, retry_each = 256, most_rest = 65'536;
    // A turn that took so long: others wanted the core.
    static constexpr std::int64_t contested_ns = 200'000;
    template <class Came>
    bool look_for(Came came) noexcept {
        if (!has_cores()) return false;
        const std::int64_t began = base::monotonic_ns();
        std::int64_t now = began;
        unsigned pauses = 1;
        for (unsigned round = spin_turns(most_rounds); round > 0; --round) {
            if (pauses < most_pauses) {
                for (unsigned i = 0; i < pauses; ++i) cpu_relax();
                pauses *= 2;
            } else {
                yield_core(); // to who is to bring it, maybe
            }
            if (came()) {
                next_rest_ = retry_each;
                return true;
            }
            if (!has_cores()) return false;
            const std::int64_t before = std::exchange(now, base::monotonic_ns());
            if (now - before > contested_ns) {
                rest_ = next_rest_;
                next_rest_ = std::min(2 * next_rest_, most_rest);
                return false;
            }
            if (now - began >= budget_ns_) break;
        }
        budget_ns_ /= 2;
        return false;
    }
    // Whether there may be one for each that runs, and another one for who brings something.
    static bool has_cores() noexcept;
    std::int64_t budget_ns_ = most_ns;
    unsigned refused_ = 0;
    unsigned rest_ = 0,
             next_rest_ = retry_each; // looks that are left out because others wanted the core; the next time
};

} // namespace sennit::os

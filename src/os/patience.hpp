#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace sennit::os {

/// How long a thread looks for something imminent before it sleeps: about what a sleep and a wake-up cost, and less, down to
/// nothing, when that was in vain the last times: what it waits for takes longer, or there is no core for who is to bring it.
///
///     if (!patience.look(false, [&] { return done(); })) {
///         sleep();
///         patience.learn(slept_ns);
///     }
///
/// A sleep that was short, up to some wake-ups, shows that looking would have paid: then the next look is as long as that sleep
/// was. (Two that look for less than a wake-up takes, and wake each other, would never meet: each sleeps when the other comes.)
/// Once in a while it looks all the same. Between its looks it pauses ever longer: who brings many things one by one is not to
/// lose the line to who looks at each; an eager one, to whom one thing is handed at a time, begins to do so later.
///
/// Where others wanted the core it rests for a number of looks, each time a larger one; for a few alone, if it had found much since.
/// It ends when more threads are known to run than there are cores: those that look, and workers.
///
/// Agents    One thread's own.
/// Source    Karlin et al., "Empirical studies of competitive spinning for a shared-memory multiprocessor", SOSP 1991.
class Patience {
  public:
    constexpr Patience() noexcept = default;
    enum class Pace : bool { usual, eager };
    explicit constexpr Patience(Pace pace) noexcept : eager_(pace == Pace::eager) {}

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

    /// Looks until `came()` or the patience ends; says whether it came. `known`: the thread has a Running. `elsewhere`: who is to
    /// bring it, of another process, runs on another core than the caller, though this process may have one alone.
    template <class Came>
    bool look(bool known, Came came, bool elsewhere = false) noexcept {
        if (came()) return true;
        if (rest_ > 0) {
            --rest_;
            return false;
        }
        if (budget_ns_ < least_ns) {
            if (++refused_ % retry_each != 0) return false;
            budget_ns_ = first_ns;
        }
        if (!known) Running::begin();
        const bool found = look_for(came, elsewhere);
        if (!known) Running::end();
        return found;
    }
    /// Having slept after that, for so long.
    void learn(std::int64_t slept_ns) noexcept {
        if (slept_ns < worth_ns) budget_ns_ = std::max(slept_ns, first_ns);
    }
    /// The core that the caller runs on, as a number that is not 0; 0 when the system does not say. Old news at once.
    static std::uint32_t core_here() noexcept;
    [[nodiscard]] std::int64_t budget_ns_for_test() const noexcept { return budget_ns_; }

    static constexpr std::int64_t first_ns = 30'000, least_ns = 1'000, worth_ns = 5 * first_ns;
    /// Who has found so much between two moments at which others wanted the core rests for a few looks alone.
    static constexpr unsigned found_much = 256, few = 4;

  private:
    // A clock that stands still (a test's) ends it, too. Under the model one turn: its schedules are to come to the sleep.
    static constexpr unsigned most_rounds = 4'000, eager_rounds = 64, most_pauses = 16, retry_each = 256,
                              most_rest = 65'536;
    // A turn that took so long: others wanted the core.
    static constexpr std::int64_t contested_ns = 200'000;
    template <class Came>
    bool look_for(Came came, bool elsewhere) noexcept {
        if (!has_cores(elsewhere)) return false;
        const std::int64_t began = base::monotonic_ns();
        std::int64_t now = began;
        unsigned pauses = 1, eager = eager_ ? spin_turns(eager_rounds) : 0;
        for (unsigned round = spin_turns(most_rounds); round > 0; --round) {
            if (eager > 0) {
                --eager;
                cpu_relax();
            } else if (pauses < most_pauses) {
                for (unsigned i = 0; i < pauses; ++i) cpu_relax();
                pauses *= 2;
            } else {
                yield_core(); // to who is to bring it, maybe
            }
            if (came()) {
                ++found_;
                next_rest_ = retry_each;
                return true;
            }
            if (!has_cores(elsewhere)) return false;
            const std::int64_t before = std::exchange(now, base::monotonic_ns());
            if (now - before > contested_ns) {
                if (std::exchange(found_, 0) >= found_much) {
                    rest_ = few;
                } else {
                    rest_ = next_rest_;
                    next_rest_ = std::min(2 * next_rest_, most_rest);
                }
                return false;
            }
            if (now - began >= budget_ns_) break;
        }
        budget_ns_ /= 2;
        return false;
    }
    // Whether there may be one for each that runs, and another one for who brings something.
    static bool has_cores(bool elsewhere) noexcept;
    std::int64_t budget_ns_ = first_ns;
    bool eager_ = false;
    unsigned refused_ = 0;
    unsigned found_ = 0; // since others last wanted the core
    unsigned rest_ = 0,
             next_rest_ = retry_each; // looks that are left out because others wanted the core; the next time
};

} // namespace sennit::os

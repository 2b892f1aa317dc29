// Named places in the real code where a test can make things go wrong: FAULT_POINT("lock.unlocked_before_wake");
//
// Empty unless SENNIT_FAULT_POINTS is defined, as the presets dev, asan and tsan do. Then a table, set by arm_faults() or
// by the environment variable SENNIT_FAULTS, says what happens there. An entry is POINT=ACTION[:ARGUMENT][@N[+]][%P], and
// entries are separated by semicolons:
//
//     lock.listed=delay:200us            sleep so long, each time           (ns us ms s)
//     lock.cas_won=yield%30              give the core away, in 30 % of the passes, by seed
//     spawn.clone=fail:EAGAIN@3          FAULT_POINT_ERROR("spawn.clone") is EAGAIN in the third pass
//     pool.publish.before=kill@2+        SIGKILL the process in the second pass (and each later one)
//     stop  abort  exit:3                SIGSTOP, abort(), _Exit(3)
//     throw                              throws FaultInjected, where the code around it may throw
//     a=wait:b                           whoever comes to a waits until b has been passed once more than the table began with
//
// SENNIT_FAULT_REPORT=FILE makes a program append the name of each point to FILE when it is first passed.
#pragma once

#if !defined(SENNIT_FAULT_POINTS)

#define FAULT_POINT(name) static_cast<void>(0)
#define FAULT_POINT_ERROR(name) 0

#else

#include <cstddef>
#include <cstdint>
#include <stdexcept>

/// A place where a test can delay, yield, kill, stop, throw, or wait for another place.
#define FAULT_POINT(name) static_cast<void>(::sennit::base::FaultPointNamed<name>::pass())
/// The same as an expression: 0, or the errno that the table tells to fail with.
#define FAULT_POINT_ERROR(name) (::sennit::base::FaultPointNamed<name>::pass())

namespace sennit::base {

/// One point. All of them are on a list before main() begins.
struct FaultPoint {
    const char* name;
    FaultPoint* next = nullptr;
    // Bits: `reached` once passed, `armed` while the table has an entry for it. Not a sennit::atomic: under the model
    // preset the points are no part of what is scheduled.
    unsigned char state = 0;
    static constexpr unsigned char reached = 1, armed = 2;

    int pass() {
        // relaxed: a switch; who arms it starts the agents later, or doesn't mind a pass more or less.
        if (__atomic_load_n(&state, __ATOMIC_RELAXED) == reached) [[likely]]
            return 0;
        return pass_slow();
    }
    [[nodiscard]] bool was_reached() const noexcept { return __atomic_load_n(&state, __ATOMIC_RELAXED) & reached; }

  private:
    int pass_slow();
};

namespace impl {

template <std::size_t N>
struct FaultName {
    char text[N];
    consteval FaultName(const char (&name)[N]) { // NOLINT(google-explicit-constructor): a template argument
        for (std::size_t i = 0; i < N; ++i) text[i] = name[i];
    }
};

struct FaultPointListed {
    explicit FaultPointListed(FaultPoint& point) noexcept;
};

} // namespace impl

template <impl::FaultName name>
struct FaultPointNamed {
    static int pass() {
        static_cast<void>(&listed); // instantiates it: the list is complete though nobody passes here
        return point.pass();
    }
    static inline constinit FaultPoint point{name.text};
    static inline const impl::FaultPointListed listed{point};
};

/// What the action `throw` throws.
class FaultInjected : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The first of all points of this program; go on with `next`.
FaultPoint* all_fault_points() noexcept;
/// Adds the entries of `table` (see above). Throws std::invalid_argument with a sentence about the entry that is wrong.
void arm_faults(const char* table, std::uint64_t seed = 1);
/// Empties the table. Passes that wait go on.
void disarm_faults() noexcept;
/// How often the table has done something since it was armed.
std::uint64_t faults_injected() noexcept;
/// How often an armed point (one that the table names, on either side) has been passed since.
std::uint64_t fault_point_passes(const char* name) noexcept;

} // namespace sennit::base

#endif

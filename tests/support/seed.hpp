// Every random choice of a test comes from one seed, which is printed and replays: SENNIT_SEED=N ./test ...
#pragma once

#include <cstdint>

namespace sennit::testing {

/// The seed of the running test: from SENNIT_SEED, else new in every run. Printed when a test asks for it first.
std::uint64_t seed();

/// What SENNIT_SEED must be to replay this run.
std::uint64_t base_seed();

/// A small generator: splitmix64. Not thread-safe: one an agent, seeded with seed() + its number.
class Random {
  public:
    explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t operator()() noexcept {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    /// 0 ... n - 1.
    std::uint64_t below(std::uint64_t n) noexcept { return (*this)() % n; }
    bool percent(unsigned p) noexcept { return below(100) < p; }

    using result_type = std::uint64_t;
    static constexpr result_type min() noexcept { return 0; }
    static constexpr result_type max() noexcept { return ~result_type{0}; }

  private:
    std::uint64_t state_;
};

namespace detail {
/// By main(), at the start of each test: another number for each test of one run.
void begin_test_seed(const char* test_name) noexcept;
} // namespace detail

} // namespace sennit::testing

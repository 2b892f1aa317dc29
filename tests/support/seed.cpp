#include "seed.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace sennit::testing {
namespace {

bool given = false;
std::atomic<std::uint64_t> of_test{0};
std::atomic<bool> printed{false};

} // namespace

std::uint64_t base_seed() {
    static const std::uint64_t it = [] {
        if (const char* text = std::getenv("SENNIT_SEED")) {
            given = true;
            return static_cast<std::uint64_t>(std::strtoull(text, nullptr, 0));
        }
        std::random_device device;
        return (static_cast<std::uint64_t>(device()) << 16 ^ device()) & 0xffff'ffff'ffffu;
    }();
    return it;
}

std::uint64_t seed() {
    const std::uint64_t base = base_seed();
    if (!printed.exchange(true))
        std::printf("[   SEED   ] SENNIT_SEED=%llu%s\n", static_cast<unsigned long long>(base),
                    given ? " (given)" : "");
    return base ^ of_test.load();
}

void detail::begin_test_seed(const char* test_name) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325u; // FNV-1a: each test draws its own numbers from one seed
    for (const char* c = test_name; *c; ++c) hash = (hash ^ static_cast<unsigned char>(*c)) * 0x100000001b3u;
    of_test = hash;
    printed = false;
}

} // namespace sennit::testing

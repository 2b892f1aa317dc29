// Fuzz target: what makes objects of bytes that come from another process. Any bytes are a cargo; whatever they are, what comes is
// an object or a CargoError, nothing outside of them is read, and no more memory is taken than a small multiple of them.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include <sennit/multiprocessing/cargo.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace {

using namespace sennit::multiprocessing;

struct Leaf {
    int number;
    double grid[2];
    bool operator==(const Leaf&) const = default;
};
struct Node {
    std::string name;
    std::vector<Leaf> leaves;
    std::vector<Node> branches;
    std::optional<std::map<std::string, std::deque<bool>>> words;
    std::variant<std::monostate, int, std::string, std::vector<std::string>> any;
    std::set<std::int64_t> numbers;
    std::unique_ptr<Node> next;
};

void must(bool holds) {
    if (!holds) std::abort();
}

void run(const std::uint8_t* data, std::size_t size) {
    // A copy of its own size: AddressSanitizer sees each byte beyond.
    std::unique_ptr<std::byte[]> bytes(new std::byte[size]);
    if (size > 0) std::memcpy(bytes.get(), data, size);
    try {
        CargoReader from({bytes.get(), size});
        const Node node = unpack<Node>(from);
        // What was read can be made again, and is the same bytes then.
        CargoWriter once, twice;
        pack(once, node);
        CargoReader again(once.bytes());
        pack(twice, unpack<Node>(again));
        must(once.size() == twice.size() && std::memcmp(once.bytes().data(), twice.bytes().data(), once.size()) == 0);
    } catch (const CargoError&) {}
    try {
        CargoReader from({bytes.get(), size});
        must(unpack_exception(from) != nullptr);
    } catch (const CargoError&) {}
}

} // namespace

#if defined(SENNIT_LIBFUZZER)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    run(data, size);
    return 0;
}
#else

#include "support/damaged.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"

#include <gtest/gtest.h>
#include <random>
#include <stdexcept>

namespace sennit::testing {
namespace {

TEST(F40Fuzz, any_bytes_as_a_cargo_are_read_within_their_bounds) {
    std::mt19937_64 random(seed());
    std::vector<CargoWriter> good;
    {
        Node node{"root",    {{1, {2, 3}}, {4, {5, 6}}}, {}, {{{"a", {true, false}}, {"b", {}}}}, std::string("any"),
                  {1, 2, 3}, std::make_unique<Node>()};
        node.branches.resize(2);
        node.branches[0].any = std::vector<std::string>{"x", "y"};
        good.push_back(packed(node));
        good.emplace_back();
        pack_exception(good.back(), std::make_exception_ptr(std::out_of_range("text")), "stack");
        good.emplace_back();
        pack_exception(good.back(), std::make_exception_ptr(sennit::OSError(2, "text")));
        good.emplace_back();
        WorkerDeath death;
        death.exitcode = -9;
        pack_exception(good.back(), std::make_exception_ptr(WorkerDied(death)));
    }
    const std::int64_t n = by_tier(sanitized() ? 10'000 : 60'000, 1'000'000, 10'000'000);
    for (std::int64_t i = 0; i < n; ++i) {
        static constexpr std::uint8_t odd[] = {0, 1, 2, 3, 8, 0x10, 0x7f, 0x80, 0xff, 42, 38, 20};
        const auto bytes = damaged(good[random() % good.size()].bytes(), odd, random);
        run(bytes.data(), bytes.size());
    }
}

} // namespace
} // namespace sennit::testing
#endif

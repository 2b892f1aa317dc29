// Fuzz target: the reader of a ShareableList's image. Any bytes are an image; whatever they are, nothing outside of them is read
// or written, and what is written can be read.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/shareable_list.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace sennit::multiprocessing::shared_memory;

void must(bool holds) {
    if (!holds) std::abort();
}

void run(const std::uint8_t* data, std::size_t size) {
    // A copy of its own size: AddressSanitizer sees each byte beyond.
    Bytes image(size);
    if (size) std::memcpy(image.data(), data, size);
    try {
        const ShareableListView view(image);
        std::vector<Item> read;
        for (std::size_t i = 0; i < view.size(); ++i) {
            try {
                read.push_back(view.get(i));
            } catch (const sennit::InvalidStateError&) {}
            for (const Item& value :
                 {Item("ab"), Item(std::string_view("a\0", 2)), Item(7), Item(nullptr), Item(true)}) {
                try {
                    view.set(i, value);
                } catch (const sennit::UsageError&) {
                    continue;
                } // no room
                catch (const sennit::InvalidStateError&) {
                    break;
                }
                if (view.room(i) >= 8) must(view.get(i) == value);
            }
        }
        try {
            static_cast<void>(view.format());
        } catch (const sennit::InvalidStateError&) {}
        // What was read can be made again, and says the same.
        Bytes made(ShareableListView::image_bytes(read));
        ShareableListView::write_image(read, made);
        const ShareableListView again(made);
        must(again.size() == read.size());
        for (std::size_t i = 0; i < read.size(); ++i) must(again.get(i) == read[i] || read[i] != read[i]); // NaN
    } catch (const sennit::InvalidStateError&) {}
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

namespace sennit::testing {
namespace {

TEST(F40Fuzz, any_bytes_as_a_shareable_list_are_read_within_their_bounds) {
    std::mt19937_64 random(seed());
    const std::vector<Item> items = {1, "two", 2.5, nullptr, true, Bytes(9), std::string_view("x\0", 2)};
    Bytes image(ShareableListView::image_bytes(items));
    ShareableListView::write_image(items, image);
    const std::int64_t n = by_tier(sanitized() ? 10'000 : 50'000, 1'000'000, 10'000'000);
    for (std::int64_t i = 0; i < n; ++i) {
        static constexpr std::uint8_t odd[] = {0, 1, 8, 0x10, 0x7f, 0x80, 0xff, 's', 'q', 'x', '9', '1'};
        const auto bytes = damaged(image, odd, random);
        run(bytes.data(), bytes.size());
    }
}

} // namespace
} // namespace sennit::testing
#endif

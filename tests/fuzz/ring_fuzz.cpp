// Fuzz target: both ends of a ring whose other end writes what it likes: over the bytes, over the two words, and at any moment.
// Whatever it does, what a reader gives lies in the ring and behind its tail, what a writer gives has the room that was asked for,
// both come to an end, and what was once found broken stays so.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include "multiprocessing/ring.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace {

using namespace sennit::multiprocessing::detail;

void must(bool holds) {
    if (!holds) std::abort();
}

// What the other end does, taken from the input.
class Script {
  public:
    Script(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
    [[nodiscard]] bool over() const { return at_ == end_; }
    unsigned byte() { return over() ? 0 : *at_++; }
    std::uint32_t word() { return byte() | byte() << 8 | byte() << 16 | byte() << 24; }

  private:
    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

void run(const std::uint8_t* data, std::size_t size) {
    Script script(data, size);
    const std::size_t capacity = std::size_t{256} << script.byte() % 3;
    // Of its own size: AddressSanitizer sees each byte beyond.
    const std::unique_ptr<std::byte[]> memory(new std::byte[capacity]());
    RingWords words;
    RingWriter writer(words, memory.get(), capacity);
    RingReader reader(words, memory.get(), capacity);
    const auto inside = [&](const std::byte* at, std::size_t bytes) {
        return at >= memory.get() && bytes <= capacity && at <= memory.get() + (capacity - bytes);
    };
    // relaxed, here and below: one thread is both ends.
    const auto move = [&script](auto& word) {
        const std::uint64_t now = word.load(sennit::memory_order_relaxed);
        const unsigned how = script.byte();
        word.store(how == 0xff  ? std::uint64_t{script.word()} << 32 | script.word()
                   : how >= 128 ? now - 16 * (how - 128)
                                : now + (how % 8 == 7 ? how : 16 * how),
                   sennit::memory_order_relaxed);
    };
    std::uint64_t released = 0, shown = 0; // up to where the reader may read: the highest tail that can be one
    while (!script.over()) {
        switch (script.byte() % 8) {
        case 0: {
            const std::size_t place = script.word() % capacity;
            memory[place] = static_cast<std::byte>(script.byte());
            break;
        }
        case 1: {
            RecordHeader lie;
            lie.bytes = script.byte() < 200 ? script.byte() * 8 : script.word();
            lie.kind = script.byte() % 2 ? padding_kind : 1;
            std::memcpy(memory.get() + script.byte() * 16 % capacity, &lie, sizeof lie);
            break;
        }
        case 2:
            move(words.tail);
            break;
        case 3:
            move(words.head);
            break;
        case 4:
        case 5: {
            const std::size_t bytes = script.byte() * 4;
            const bool was_broken = writer.broken();
            std::byte* const room = writer.reserve(bytes);
            must(!(was_broken && (room || !writer.broken())));
            if (!room) break;
            must(inside(room, bytes));
            std::memset(room, 'w', bytes);
            const std::size_t fewer = script.byte() % (bytes + 1);
            writer.commit({.bytes = static_cast<std::uint32_t>(fewer), .kind = 1});
            if (script.byte() % 2) writer.publish();
            break;
        }
        case 6:
            reader.release();
            released = reader.position();
            break;
        default: {
            const bool was_broken = reader.broken();
            const std::uint64_t began = reader.position();
            const std::uint64_t tail = words.tail.load(sennit::memory_order_relaxed);
            if (tail <= released + capacity) shown = std::max(shown, tail);
            RingReader::Record record;
            // Each step takes a header's place at least, and all of them together a ring.
            for (std::size_t steps = 0;; ++steps) {
                must(steps <= capacity / sizeof(RecordHeader));
                const std::uint64_t before = reader.position();
                const auto got = reader.next(record);
                must(!was_broken || got == RingReader::Got::broken);
                must(reader.broken() == (got == RingReader::Got::broken));
                if (got != RingReader::Got::record) break;
                must(record.header.kind != padding_kind && record.payload.size() == record.header.bytes);
                must(inside(record.payload.data(), record.payload.size()));
                must(reader.position() > before && reader.position() - began <= capacity && reader.position() <= shown);
                unsigned sum = 0;
                for (const std::byte b : record.payload) sum += static_cast<unsigned>(b);
                must(sum <= 255 * capacity);
            }
            must(!reader.broken() || !reader.has_more());
        }
        }
    }
}

} // namespace

#if defined(SENNIT_LIBFUZZER)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    run(data, size);
    return 0;
}
#else

#include "support/seed.hpp"
#include "support/tier.hpp"

#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace sennit::testing {
namespace {

TEST(F40Fuzz, any_bytes_and_words_of_a_ring_are_read_and_written_within_their_bounds) {
    std::mt19937_64 random(seed());
    const std::int64_t n = by_tier(sanitized() ? 10'000 : 60'000, 1'000'000, 10'000'000);
    std::vector<std::uint8_t> script;
    for (std::int64_t i = 0; i < n; ++i) {
        script.resize(random() % 120);
        // Seldom a lie: else a ring is broken before it has gone round.
        const unsigned lies = random() % 4 == 0 ? 50 : 3;
        for (std::uint8_t& b : script)
            b = static_cast<std::uint8_t>(random() % 100 < lies ? random() : 4 + random() % 4);
        run(script.data(), script.size());
    }
}

} // namespace
} // namespace sennit::testing
#endif

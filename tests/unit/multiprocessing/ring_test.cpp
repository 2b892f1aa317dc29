#include "multiprocessing/ring.hpp"

#include "support/seed.hpp"
#include "support/tier.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace sennit::multiprocessing::detail {
namespace {

struct Both {
    explicit Both(std::size_t capacity = 1024) : memory(capacity) {}
    std::vector<std::byte> memory;
    RingWords words;
    RingWriter writer{words, memory.data(), memory.size()};
    RingReader reader{words, memory.data(), memory.size()};

    bool put(const std::string& text, std::uint32_t id) {
        std::byte* const room = writer.reserve(text.size());
        if (!room) return false;
        std::memcpy(room, text.data(), text.size());
        writer.commit({.bytes = static_cast<std::uint32_t>(text.size()), .kind = 1, .id = id});
        return true;
    }
};

std::string text_of(const RingReader::Record& r) {
    return {reinterpret_cast<const char*>(r.payload.data()), r.payload.size()};
}

TEST(Ring, records_come_as_they_were_written_in_their_order_over_many_laps) {
    Both b;
    RingReader::Record r;
    std::uint32_t put = 0, got = 0;
    while (got < 5000) {
        while (put < 5000 && b.put(std::string(put % 200, static_cast<char>('a' + put % 26)), put)) ++put;
        b.writer.publish();
        while (b.reader.next(r) == RingReader::Got::record) {
            ASSERT_EQ(r.header.id, got);
            ASSERT_EQ(text_of(r), std::string(got % 200, static_cast<char>('a' + got % 26)));
            ++got;
        }
        b.reader.release();
    }
    EXPECT_FALSE(b.reader.broken());
    EXPECT_FALSE(b.writer.broken());
}

TEST(Ring, what_was_not_published_does_not_exist) {
    Both b;
    RingReader::Record r;
    ASSERT_TRUE(b.put("half", 1));
    EXPECT_EQ(b.reader.next(r), RingReader::Got::nothing);
    EXPECT_TRUE(b.writer.publish());
    EXPECT_FALSE(b.writer.publish()) << "nothing new";
    ASSERT_EQ(b.reader.next(r), RingReader::Got::record);
    EXPECT_EQ(text_of(r), "half");
}

TEST(Ring, a_full_ring_has_no_room_until_the_reader_has_released_some) {
    Both b;
    std::uint32_t n = 0;
    while (b.put(std::string(48, 'x'), n)) ++n;
    EXPECT_EQ(n, 1024U / record_bytes(48));
    b.writer.publish();
    RingReader::Record r;
    ASSERT_EQ(b.reader.next(r), RingReader::Got::record);
    EXPECT_FALSE(b.put(std::string(48, 'x'), n)) << "read, but not released";
    EXPECT_TRUE(b.reader.release());
    EXPECT_TRUE(b.put(std::string(48, 'x'), n));
    EXPECT_FALSE(b.put(std::string(48, 'x'), n));
}

TEST(Ring, the_largest_record_fits_and_a_larger_one_never) {
    Both b;
    EXPECT_EQ(b.writer.reserve(b.memory.size()), nullptr);
    RingReader::Record r;
    for (std::uint32_t lap = 0; lap < 9; ++lap) {
        ASSERT_TRUE(b.put(std::string(b.writer.most_payload(), 'y'), lap));
        ASSERT_TRUE(b.put("", lap));
        b.writer.publish();
        ASSERT_EQ(b.reader.next(r), RingReader::Got::record);
        ASSERT_EQ(r.payload.size(), b.writer.most_payload());
        ASSERT_EQ(b.reader.next(r), RingReader::Got::record);
        ASSERT_TRUE(r.payload.empty());
        b.reader.release();
    }
}

TEST(Ring, two_threads_pass_a_million_bytes_of_records) {
    Both b(4096);
    const auto n = static_cast<std::uint32_t>(testing::by_tier(20'000, 1'000'000, 10'000'000));
    std::thread writes([&] {
        for (std::uint32_t i = 0; i < n; ++i) {
            while (!b.put(std::string(i % 61, static_cast<char>(i)), i)) std::this_thread::yield();
            if (i % 3 == 0 || i + 1 == n) b.writer.publish();
            if (i % 64 == 0) b.writer.publish();
        }
        b.writer.publish();
    });
    RingReader::Record r;
    for (std::uint32_t i = 0; i < n;) {
        const auto got = b.reader.next(r);
        if (got != RingReader::Got::record) {
            ASSERT_EQ(got, RingReader::Got::nothing);
            b.reader.release();
            std::this_thread::yield();
            continue;
        }
        ASSERT_EQ(r.header.id, i);
        ASSERT_EQ(text_of(r), std::string(i % 61, static_cast<char>(i)));
        ++i;
    }
    writes.join();
}

// ---- the other end is hostile

TEST(Ring, a_tail_that_goes_back_or_is_too_far_or_crooked_is_broken_for_ever) {
    for (const std::uint64_t tail :
         {std::uint64_t{1} << 40, std::uint64_t{1024 + 16}, std::uint64_t{24}, ~std::uint64_t{0}}) {
        Both b;
        RingReader::Record r;
        b.words.tail = tail;
        EXPECT_EQ(b.reader.next(r), RingReader::Got::broken) << tail;
        b.words.tail = 0;
        EXPECT_EQ(b.reader.next(r), RingReader::Got::broken) << tail;
    }
    Both b;
    RingReader::Record r;
    ASSERT_TRUE(b.put("x", 0));
    b.writer.publish();
    ASSERT_EQ(b.reader.next(r), RingReader::Got::record);
    b.words.tail = 0;
    EXPECT_EQ(b.reader.next(r), RingReader::Got::broken);
}

TEST(Ring, a_record_that_reaches_beyond_the_tail_or_the_end_is_broken) {
    for (const std::uint32_t bytes : {17U, 1009U, 0x7fffffffU, 0xffffffffU, 0xfffffff0U}) {
        Both b;
        RingReader::Record r;
        ASSERT_TRUE(b.put("0123456789", 0)); // takes 32 bytes
        RecordHeader lie{.bytes = bytes, .kind = 1};
        std::memcpy(b.memory.data(), &lie, sizeof lie);
        b.writer.publish();
        EXPECT_EQ(b.reader.next(r), RingReader::Got::broken) << bytes;
    }
    // Padding that does not end where the memory ends.
    Both b;
    RingReader::Record r;
    ASSERT_TRUE(b.put("0123456789", 0));
    RecordHeader lie{.bytes = 10, .kind = padding_kind};
    std::memcpy(b.memory.data(), &lie, sizeof lie);
    b.writer.publish();
    EXPECT_EQ(b.reader.next(r), RingReader::Got::broken);
}

TEST(Ring, a_head_that_goes_back_or_passes_the_tail_is_broken) {
    for (const bool back : {true, false}) {
        Both b;
        RingReader::Record r;
        for (int lap = 0; lap < 3; ++lap) {
            while (b.put(std::string(100, 'z'), 0)) {}
            b.writer.publish();
            while (b.reader.next(r) == RingReader::Got::record) {}
            b.reader.release();
        }
        while (b.put(std::string(100, 'z'), 0)) {}
        b.writer.publish();
        b.words.head = back ? 0 : b.words.tail + 16;
        EXPECT_EQ(b.writer.reserve(400), nullptr);
        EXPECT_TRUE(b.writer.broken());
    }
}

TEST(Ring, whatever_is_scribbled_over_it_nothing_outside_is_read) {
    testing::Random random(testing::seed());
    const auto trials = testing::by_tier(2'000, 200'000, 2'000'000);
    for (std::int64_t t = 0; t < trials; ++t) {
        // Of its own size: AddressSanitizer sees each byte beyond.
        auto memory = std::make_unique<std::byte[]>(256);
        auto words = std::make_unique<RingWords>();
        RingWriter writer(*words, memory.get(), 256);
        RingReader reader(*words, memory.get(), 256);
        RingReader::Record r;
        std::uint64_t sum = 0;
        for (int step = 0; step < 12; ++step) {
            if (auto* room = writer.reserve(random.below(80))) {
                std::memset(room, 1, 1);
                writer.commit({.bytes = 1, .kind = 1});
                writer.publish();
            }
            switch (random.below(4)) {
            case 0:
                memory[random.below(256)] = static_cast<std::byte>(random.below(256));
                break;
            case 1:
                words->tail = words->tail + 16 * random.below(20);
                break;
            case 2: {
                RecordHeader lie{.bytes = static_cast<std::uint32_t>(random.below(300)),
                                 .kind = static_cast<std::uint8_t>(random.below(2) ? 1 : padding_kind)};
                std::memcpy(memory.get() + 16 * random.below(16), &lie, sizeof lie);
                break;
            }
            default:
                words->head = words->head + 16 * random.below(3);
            }
            for (int n = 0; n < 40 && reader.next(r) == RingReader::Got::record; ++n)
                for (const std::byte b : r.payload) sum += static_cast<std::uint64_t>(b);
            reader.release();
        }
        ASSERT_LT(sum, std::uint64_t{1} << 40);
    }
}

} // namespace
} // namespace sennit::multiprocessing::detail

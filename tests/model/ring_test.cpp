// A worker's page: records that pass from one process to the other, bells, and jobs that are begun or taken back. Two threads
// stand for the two processes.
#include "model/explore.hpp"
#include "multiprocessing/ring.hpp"
#include "multiprocessing/worker_page.hpp"

#include <cstring>

namespace sennit {
namespace {

using model::expect;
using multiprocessing::detail::begin_job;
using multiprocessing::detail::bell_asleep;
using multiprocessing::detail::bell_awake;
using multiprocessing::detail::bell_for_room;
using multiprocessing::detail::claim_revoked;
using multiprocessing::detail::RecordHeader;
using multiprocessing::detail::ring_for_room;
using multiprocessing::detail::ring_futex;
using multiprocessing::detail::RingReader;
using multiprocessing::detail::RingWords;
using multiprocessing::detail::RingWriter;
using multiprocessing::detail::sleep_on_bell;
using multiprocessing::detail::take_jobs_back;

// A ring in which two records have room; a third one only once the reader has released.
struct OneWay {
    static constexpr std::size_t capacity = 256, payload = 100;
    static constexpr std::size_t places = capacity / 64;

    RingWords words;
    alignas(64) std::byte memory[capacity] = {};
    // What the model knows of the bytes: who writes a record's place has to come after who has read what was there.
    model::var<int> shadow[places];
    RingWriter writer{words, memory, capacity};
    RingReader reader{words, memory, capacity};

    model::var<int>& shadow_of(const std::byte* at) noexcept {
        return shadow[static_cast<std::size_t>(at - memory) / 64];
    }
    bool put(int number) noexcept {
        std::byte* const room = writer.reserve(payload);
        if (!room) return false;
        shadow_of(room) = number;
        std::memset(room, number, payload);
        writer.commit({.bytes = payload, .kind = 1, .id = static_cast<std::uint32_t>(number)});
        return true;
    }
    // 0: there is none now.
    int get() noexcept {
        RingReader::Record record;
        const auto got = reader.next(record);
        expect(got != RingReader::Got::broken, "a ring that is whole");
        if (got == RingReader::Got::nothing) return 0;
        const int number = static_cast<int>(record.header.id);
        expect(record.header.bytes == payload, "its length");
        expect(shadow_of(record.payload.data()) == number, "the record that was written there");
        for (const std::byte b : record.payload) expect(b == static_cast<std::byte>(number), "whole");
        return number;
    }
};

SCENARIO(RingModel, a_record_that_is_seen_is_whole, .surprises = 3) {
    OneWay ring;
    model::thread reader([&] {
        for (int last = 0, looks = 0; looks < 3; ++looks)
            if (const int number = ring.get()) expect(number == ++last, "in their order");
    });
    for (int i = 1; i <= 2; ++i) {
        ring.put(i);
        ring.writer.publish();
    }
    reader.join();
}

SCENARIO(RingModel, what_is_published_at_once_is_seen_at_once, .surprises = 3) {
    OneWay ring;
    model::thread reader([&] {
        if (ring.get() == 1) expect(ring.get() == 2, "the second one as well");
    });
    ring.put(1);
    ring.put(2);
    ring.writer.publish();
    reader.join();
}

SCENARIO(RingModel, room_is_used_again_only_after_it_was_read, .surprises = 2) {
    OneWay ring;
    model::thread reader([&] {
        for (int looks = 0; looks < 4; ++looks) {
            ring.get();
            ring.reader.release();
        }
    });
    for (int i = 1; i <= 5; ++i) {
        ring.put(i);
        ring.writer.publish();
    }
    expect(!ring.writer.broken(), "a writer that finds its reader in order");
    reader.join();
}

// A worker that waits for jobs.
SCENARIO(RingModel, who_sleeps_for_a_record_is_rung_for_each, .surprises = 2) {
    OneWay ring;
    os::FutexWord bell{bell_awake};
    model::thread reader([&] {
        for (int next = 1; next <= 2; ++next) {
            sleep_on_bell(bell, bell_asleep, [&] { return ring.reader.has_more(); });
            expect(ring.get() == next, "in their order");
        }
    });
    for (int i = 1; i <= 2; ++i) {
        ring.put(i);
        if (ring.writer.publish()) ring_futex(bell);
    }
    reader.join();
}

// A worker that has no room for its results.
SCENARIO(RingModel, who_sleeps_for_room_is_rung_when_there_is_some, .surprises = 2) {
    OneWay ring;
    os::FutexWord bell{bell_awake};
    ring.put(1);
    ring.put(2);
    ring.writer.publish();
    model::thread reader([&] {
        for (int next = 1; next <= 2; ++next) {
            expect(ring.get() == next, "in their order");
            if (ring.reader.release()) ring_for_room(bell);
        }
    });
    sleep_on_bell(bell, bell_for_room, [&] { return ring.put(3); });
    ring.writer.publish();
    reader.join();
    expect(ring.get() == 3, "what waited for room");
}

// The worker has three jobs, and the parent takes back what it has not begun; then it hands out one more.
SCENARIO(RingModel, a_job_is_begun_or_taken_back_and_never_both, .surprises = 3) {
    atomic<std::uint64_t> claim{0};
    model::var<int> runs[4];
    model::thread worker([&] {
        std::uint64_t begun = 0;
        while (begun < 3 && begin_job(claim, begun)) ++runs[begun++];
        if (begun < 3) {
            begun = 3; // passes over them
            claim.store(begun, memory_order_release);
        }
    });
    std::uint64_t begun = take_jobs_back(claim);
    expect(!(begun & claim_revoked) && begun <= 3, "a claim that makes sense");
    for (std::uint64_t n = begun; n < 3; ++n) ++runs[n];
    if (begun == 3) claim.store(3, memory_order_release);
    worker.join();
    expect(claim.load(memory_order_acquire) == 3, "both know how far they are");
    expect(begin_job(claim, 3), "the next one can be begun");
    for (int n = 0; n < 3; ++n) expect(runs[n] == 1, "each job once");
}

} // namespace
} // namespace sennit

// A stream of records from one process to one other, in memory that both have mapped.
//
//   writer                                          reader
//   w1  load head            acquire                r1  load tail            acquire
//   w2  write the record                            r2  read the record
//   w3  store tail           release                r3  store head           release
//   w4  exchange the bell                           r4  exchange the bell
//
// w3 meets r1: whoever sees the new tail sees the records before it, whole; who dies before w3 has written nothing.
// r3 meets w1: the room behind the head is read, and may be written again.
// Both ends keep their own position, and look at the other's word alone. A position counts bytes from the beginning of time and
// never wraps; the place of a record is its position modulo the capacity. A record lies in one piece: where the end of the memory
// is too near, a record of kind `padding` fills it.
//
// The other end may be a process that writes what it likes there. So each end checks what it loads: a head lies between the former
// one and the own position, a tail at most a capacity ahead; a record lies between position and tail, and in one piece. The
// header is copied before it is looked at; what it says is believed once. `broken` is the answer to everything else, and from then
// on the only one. Who reads the payload copies it, or reads each byte once.
#pragma once

#include <sennit/base/atomic.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sennit::multiprocessing::detail {

/// The two words of a ring, in shared memory, on a cache line each. Zeroes are an empty ring.
struct RingWords {
    alignas(64) atomic<std::uint64_t> tail{0}; // the writer's
    alignas(64) atomic<std::uint64_t> head{0}; // the reader's
};

struct RecordHeader {
    std::uint32_t bytes = 0; // of the payload
    std::uint8_t kind = 0;
    std::uint8_t flags = 0;
    std::uint16_t fds = 0;
    std::uint32_t entry = 0;
    std::uint32_t id = 0;
};
static_assert(sizeof(RecordHeader) == 16);

inline constexpr std::uint8_t padding_kind = 0xff;
inline constexpr std::size_t record_alignment = 16;
/// What a record takes in the ring.
constexpr std::size_t record_bytes(std::size_t payload) noexcept {
    return sizeof(RecordHeader) + (payload + record_alignment - 1) / record_alignment * record_alignment;
}

/// The end that writes. One agent at a time.
class RingWriter {
  public:
    RingWriter() noexcept = default;
    /// `capacity` bytes at `data`: a power of two, at least 256.
    RingWriter(RingWords& words, std::byte* data, std::size_t capacity) noexcept
        : words_(&words), data_(data), capacity_(capacity) {}

    /// Room for a record with so many bytes; nullptr when there is none now, or the ring is broken. What was reserved last and not
    /// committed is given up.
    std::byte* reserve(std::size_t payload) noexcept;
    /// The record reserved last gets this header, and `header.bytes` (at most what was reserved) of what was written there.
    void commit(const RecordHeader& header) noexcept;
    /// Shows the reader all that was committed. True when there was anything.
    bool publish() noexcept;
    [[nodiscard]] bool broken() const noexcept { return broken_; }
    /// The most that one record may carry, so that several fit.
    [[nodiscard]] std::size_t most_payload() const noexcept { return capacity_ / 4 - sizeof(RecordHeader); }
    /// Whether the reader has read everything that was published. As it says.
    [[nodiscard]] bool drained() const noexcept { return words_->head.load(memory_order_acquire) == published_; }

  private:
    bool has_room(std::size_t bytes) noexcept;
    RingWords* words_ = nullptr;
    std::byte* data_ = nullptr;
    std::size_t capacity_ = 0;
    std::uint64_t at_ = 0, published_ = 0, head_ = 0; // head_: as it was last seen
    std::size_t pad_ = 0;                             // before the reserved record
    bool broken_ = false;
};

/// The end that reads. One agent at a time.
class RingReader {
  public:
    RingReader() noexcept = default;
    RingReader(RingWords& words, const std::byte* data, std::size_t capacity) noexcept
        : words_(&words), data_(data), capacity_(capacity) {}

    struct Record {
        RecordHeader header;
        std::span<const std::byte> payload; // in the ring, till release()
    };
    enum class Got : std::uint8_t { nothing, record, broken };
    Got next(Record& record) noexcept;
    /// Gives the writer the room of the records read so far. True when there were any.
    bool release() noexcept;
    /// Whether there is something to read. A look at the writer's word.
    [[nodiscard]] bool has_more() const noexcept {
        return !broken_ && (at_ != tail_ || words_->tail.load(memory_order_acquire) != tail_); // w3
    }
    [[nodiscard]] bool broken() const noexcept { return broken_; }
    /// Up to where it has read: where the writer's word stands when there is no more.
    [[nodiscard]] std::uint64_t position() const noexcept { return at_; }

  private:
    Got give_up() noexcept {
        broken_ = true;
        return Got::broken;
    }
    RingWords* words_ = nullptr;
    const std::byte* data_ = nullptr;
    std::size_t capacity_ = 0;
    std::uint64_t at_ = 0, released_ = 0, tail_ = 0; // tail_: as it was last seen
    bool broken_ = false;
};

} // namespace sennit::multiprocessing::detail

#include "multiprocessing/ring.hpp"

#include <cstring>

namespace sennit::multiprocessing::detail {

bool RingWriter::has_room(std::size_t bytes) noexcept {
    if (at_ + bytes - head_ <= capacity_) return true;
    const std::uint64_t head = words_->head.load(memory_order_acquire); // r3: what lies behind it was read
    if (head < head_ || head > published_) {
        broken_ = true;
        return false;
    }
    head_ = head;
    return at_ + bytes - head_ <= capacity_;
}

std::byte* RingWriter::reserve(std::size_t payload) noexcept {
    if (broken_ || payload > capacity_ / 2 - sizeof(RecordHeader)) return nullptr;
    const std::size_t bytes = record_bytes(payload), place = at_ & (capacity_ - 1);
    pad_ = bytes > capacity_ - place ? capacity_ - place : 0;
    if (!has_room(pad_ + bytes)) return nullptr;
    return data_ + ((at_ + pad_) & (capacity_ - 1)) + sizeof(RecordHeader);
}

void RingWriter::commit(const RecordHeader& header) noexcept {
    if (pad_ > 0) {
        RecordHeader padding;
        padding.kind = padding_kind;
        padding.bytes = static_cast<std::uint32_t>(pad_ - sizeof(RecordHeader));
        std::memcpy(data_ + (at_ & (capacity_ - 1)), &padding, sizeof padding);
        at_ += pad_;
        pad_ = 0;
    }
    std::memcpy(data_ + (at_ & (capacity_ - 1)), &header, sizeof header);
    at_ += record_bytes(header.bytes);
}

bool RingWriter::publish() noexcept {
    if (published_ == at_) return false;
    published_ = at_;
    words_->tail.store(at_, memory_order_release); // w3; meets the load in RingReader::next
    return true;
}

RingReader::Got RingReader::next(Record& record) noexcept {
    if (broken_) return Got::broken;
    for (;;) {
        if (at_ == tail_) {
            const std::uint64_t tail = words_->tail.load(memory_order_acquire); // r1; meets publish()
            if (tail == tail_) return Got::nothing;
            if (tail < tail_ || tail - released_ > capacity_ || tail % record_alignment != 0) return give_up();
            tail_ = tail;
        }
        // A position is a multiple of the alignment, so that a header is always in one piece and before the tail.
        const std::size_t place = at_ & (capacity_ - 1);
        RecordHeader header;
        std::memcpy(&header, data_ + place, sizeof header);
        const std::size_t bytes = record_bytes(header.bytes);
        if (bytes > tail_ - at_ || bytes > capacity_ - place) return give_up();
        at_ += bytes;
        if (header.kind == padding_kind) {
            if (place + bytes != capacity_) return give_up();
            continue;
        }
        record.header = header;
        record.payload = {data_ + place + sizeof header, header.bytes};
        return Got::record;
    }
}

bool RingReader::release() noexcept {
    if (released_ == at_) return false;
    released_ = at_;
    words_->head.store(at_, memory_order_release); // r3; meets has_room()
    return true;
}

} // namespace sennit::multiprocessing::detail

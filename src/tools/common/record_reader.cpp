#include "tools/common/record_reader.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/io.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sennit::tools {

RecordReader::State RecordReader::next(std::string& record, bool& cut) {
    for (;;) {
        const char* const data = buffer_.data();
        const auto* found = static_cast<const char*>(
            scanned_ < buffer_.size() ? std::memchr(data + scanned_, separator_, buffer_.size() - scanned_) : nullptr);
        const std::size_t end = found != nullptr ? static_cast<std::size_t>(found - data) : buffer_.size();
        if (skipping_) {
            if (found == nullptr) {
                buffer_.clear();
                begin_ = scanned_ = 0;
                return ended_ ? State::end : State::need_data;
            }
            skipping_ = false;
            --separators_;
            begin_ = scanned_ = end + 1;
            continue;
        }
        const std::size_t length = end - begin_;
        if (length > longest_record) {
            record.assign(data + begin_, longest_record);
            cut = true;
            begin_ += longest_record;
            scanned_ = begin_;
            skipping_ = true;
            return State::record;
        }
        if (found == nullptr && !ended_) {
            scanned_ = buffer_.size();
            return State::need_data;
        }
        if (found == nullptr && length == 0) return State::end;
        record.assign(data + begin_, length);
        cut = false;
        if (found != nullptr) --separators_;
        begin_ = scanned_ = std::min(end + 1, buffer_.size());
        return State::record;
    }
}

void RecordReader::feed(std::string_view piece) {
    if (piece.empty()) {
        ended_ = true;
        return;
    }
    if (begin_ == buffer_.size()) {
        buffer_.clear();
        begin_ = scanned_ = 0;
    } else if (begin_ > buffer_.size() / 2) {
        buffer_.erase(0, begin_);
        scanned_ -= begin_;
        begin_ = 0;
    }
    separators_ += static_cast<std::uint64_t>(std::count(piece.begin(), piece.end(), separator_));
    buffer_ += piece;
}

void RecordReader::fill() {
    char piece[64 * 1024];
    const ssize_t n = os::read_some(fd_.get(), piece, sizeof piece);
    if (n == -EAGAIN) return;
    if (n < 0) throw OSError(static_cast<int>(-n), "cannot read the inputs from " + name_);
    feed({piece, static_cast<std::size_t>(n)});
}

std::uint64_t RecordReader::buffered_records() const noexcept {
    const bool tail =
        ended_ && begin_ < buffer_.size() && buffer_.back() != separator_ && !(skipping_ && separators_ == 0);
    return separators_ - (skipping_ && separators_ > 0 ? 1 : 0) + (tail ? 1 : 0);
}

} // namespace sennit::tools

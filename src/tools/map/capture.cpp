#include "tools/map/capture.hpp"

#include "tools/common/quoting.hpp"

#include <algorithm>
#include <cstring>

namespace sennit::tools {

void Capture::append(std::string_view bytes) {
    const bool fits = memory_.size() + bytes.size() <= Spool::memory_of_one &&
                      spool_->memory_used + bytes.size() <= Spool::memory_of_all;
    if (fits) {
        memory_ += bytes;
        spool_->memory_used += bytes.size();
        return;
    }
    if (!memory_.empty()) {
        spill(memory_);
        spool_->memory_used -= memory_.size();
        memory_.clear();
    }
    spill(bytes);
}

void Capture::spill(std::string_view bytes) {
    const Spool::Extent extent = spool_->write(bytes);
    on_disk_ += extent.bytes;
    if (!extents_.empty() && extents_.back().at + extents_.back().bytes == extent.at)
        extents_.back().bytes += extent.bytes;
    else
        extents_.push_back(extent);
}

void Capture::clear() noexcept {
    if (memory_.empty() && extents_.empty()) return;
    spool_->memory_used -= memory_.size();
    memory_.clear();
    for (const Spool::Extent& extent : extents_) spool_->release(extent);
    extents_.clear();
    on_disk_ = 0;
}

std::size_t Capture::Reader::read(char* to, std::size_t room) {
    while (extent_ < capture_->extents_.size()) {
        const std::size_t n = capture_->spool_->read(capture_->extents_[extent_], offset_, to, room);
        offset_ += static_cast<std::int64_t>(n);
        if (n > 0) return n;
        ++extent_;
        offset_ = 0;
    }
    const std::string_view rest = capture_->memory().substr(static_cast<std::size_t>(offset_));
    const std::size_t n = std::min(room, rest.size());
    std::memcpy(to, rest.data(), n);
    offset_ += static_cast<std::int64_t>(n);
    return n;
}

bool is_utf8(const Capture& capture) {
    if (capture.in_memory()) return is_utf8(capture.memory());
    Capture::Reader reader(capture);
    std::string piece; // begins with what the piece before left over: at most three bytes
    for (;;) {
        const std::size_t kept = piece.size();
        constexpr std::size_t step = 64 * 1024;
        piece.resize(kept + step);
        const std::size_t n = reader.read(piece.data() + kept, step);
        piece.resize(kept + n);
        if (n == 0) return piece.empty();
        std::string_view rest = piece;
        while (!rest.empty()) {
            const std::size_t length = utf8_character(rest);
            if (length == 0) {
                if (rest.size() > 3) return false;
                break;
            }
            rest.remove_prefix(length);
        }
        piece.erase(0, piece.size() - rest.size());
    }
}

} // namespace sennit::tools

#pragma once

#include "tools/map/spool.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sennit::tools {

/// What one job wrote to one of its streams: in memory while it is little, on disk when it is much.
///
/// Lifetime  The spool outlives it.
class Capture {
  public:
    explicit Capture(Spool& spool) noexcept : spool_(&spool) {}
    Capture(Capture&& other) noexcept
        : spool_(other.spool_),
          memory_(std::move(other.memory_)),
          extents_(std::move(other.extents_)),
          on_disk_(std::exchange(other.on_disk_, 0)) {
        other.memory_.clear();
        other.extents_.clear();
    }
    Capture& operator=(Capture&& other) noexcept {
        if (this != &other) {
            clear();
            spool_ = other.spool_;
            memory_.swap(other.memory_);
            extents_.swap(other.extents_);
            on_disk_ = std::exchange(other.on_disk_, 0);
        }
        return *this;
    }
    ~Capture() { clear(); }

    /// Throws OSError when the disk is full; what was there before stays.
    void append(std::string_view bytes);
    /// Empties it; the memory is kept for the next job.
    void clear() noexcept;

    [[nodiscard]] std::int64_t size() const noexcept { return on_disk_ + static_cast<std::int64_t>(memory_.size()); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] bool in_memory() const noexcept { return extents_.empty(); }
    /// What is in memory: all of it if in_memory(), else the end.
    [[nodiscard]] std::string_view memory() const noexcept { return memory_; }

    /// Reads a capture piece by piece, from the beginning, as often as one likes.
    class Reader {
      public:
        explicit Reader(const Capture& capture) noexcept : capture_(&capture) {}
        /// Up to `room` bytes; 0 at the end. Throws OSError.
        std::size_t read(char* to, std::size_t room);

      private:
        const Capture* capture_;
        std::size_t extent_ = 0;
        std::int64_t offset_ = 0; // in the extent, then in memory
    };

  private:
    void spill(std::string_view bytes);

    Spool* spool_;
    std::string memory_;
    std::vector<Spool::Extent> extents_; // before memory_
    std::int64_t on_disk_ = 0;
};

/// True when the whole capture is UTF-8. Throws OSError.
bool is_utf8(const Capture& capture);

} // namespace sennit::tools

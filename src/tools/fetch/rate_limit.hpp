#pragma once

#include <algorithm>
#include <cstdint>

namespace sennit::tools {

/// So many bytes a second, of all downloads together. What comes in one piece may exceed what is left; the debt is waited for.
class RateLimit {
  public:
    /// 0: no limit.
    explicit RateLimit(std::int64_t bytes_per_second) noexcept : rate_(static_cast<double>(bytes_per_second)) {}

    [[nodiscard]] bool is_set() const noexcept { return rate_ > 0; }
    /// True when `bytes` may be taken now; then they are.
    bool take(std::int64_t bytes, std::int64_t now_ns) noexcept {
        refill(now_ns);
        if (left_ <= 0) return false;
        left_ -= static_cast<double>(bytes);
        return true;
    }
    /// When take() is to be tried again.
    [[nodiscard]] std::int64_t next_ns(std::int64_t now_ns) noexcept {
        refill(now_ns);
        return left_ > 0 ? now_ns : now_ns + 1 + static_cast<std::int64_t>(-left_ / rate_ * 1e9);
    }

  private:
    void refill(std::int64_t now_ns) noexcept {
        if (last_ns_ == 0) last_ns_ = now_ns;
        // What is not used is lost, but for a twentieth of a second's worth: a pause makes no burst.
        left_ = std::min(left_ + static_cast<double>(now_ns - last_ns_) / 1e9 * rate_, rate_ / 20);
        last_ns_ = now_ns;
    }
    double rate_, left_ = 1;
    std::int64_t last_ns_ = 0;
};

} // namespace sennit::tools

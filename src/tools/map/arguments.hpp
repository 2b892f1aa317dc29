#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::tools {

/// The argument list of one command, in one piece of memory that is used again for the next.
class Arguments {
  public:
    void clear() noexcept {
        bytes_.clear();
        ends_.clear();
    }
    /// Adds to the argument in the making.
    void append(std::string_view part) { bytes_ += part; }
    void append(char c) { bytes_ += c; }
    /// Ends the argument in the making.
    void finish() {
        bytes_ += '\0';
        ends_.push_back(bytes_.size());
    }
    void add(std::string_view whole) {
        append(whole);
        finish();
    }

    [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept {
        const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
        return std::string_view(bytes_).substr(begin, ends_[i] - 1 - begin);
    }
    /// Bytes of all, the final NULs included.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.size(); }

    /// Null-terminated, for exec. Valid until the list changes.
    [[nodiscard]] const char* const* pointers() {
        pointers_.clear();
        std::size_t begin = 0;
        for (const std::size_t end : ends_) {
            pointers_.push_back(bytes_.data() + begin);
            begin = end;
        }
        pointers_.push_back(nullptr);
        return pointers_.data();
    }

  private:
    std::string bytes_;
    std::vector<std::size_t> ends_;
    std::vector<const char*> pointers_;
};

} // namespace sennit::tools

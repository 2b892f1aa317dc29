#pragma once

#include <sennit/os/fd.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace sennit::tools {

/// Splits a stream into records: lines, or what stands between NUL bytes. Reads only when told to, and a bounded piece at a
/// time, so that who owns it can wait for the descriptor meanwhile and memory stays bounded on endless streams.
///
/// What follows the last separator is a record as well, unless it is empty. A record longer than `longest_record` bytes (far
/// more than any argument may have) is cut there and marked; the rest of it is passed over.
class RecordReader {
  public:
    static constexpr std::size_t longest_record = 256 * 1024;

    enum class State : std::uint8_t { record, need_data, end };

    /// Takes `fd`; -1 for none: then feed() is how data comes. `name` is for messages.
    RecordReader(os::Fd fd, std::string name, char separator)
        : fd_(std::move(fd)), name_(std::move(name)), separator_(separator) {}

    /// The next record, if what was read so far holds one. `cut` tells that it was too long.
    State next(std::string& record, bool& cut);
    /// Reads once. Blocks if the descriptor has nothing and is not non-blocking. Throws OSError.
    void fill();
    /// What fill() does with what it read; an empty piece is the end.
    void feed(std::string_view piece);

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool at_end() const noexcept { return ended_; }
    /// Bytes read and not yet given out.
    [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size() - begin_; }
    /// Records read and not yet given out; exact once at_end().
    [[nodiscard]] std::uint64_t buffered_records() const noexcept;

  private:
    os::Fd fd_;
    std::string name_;
    char separator_;
    std::string buffer_;
    std::size_t begin_ = 0;   // of what was not given out
    std::size_t scanned_ = 0; // no separator in [begin_, scanned_)
    std::uint64_t separators_ = 0;
    bool skipping_ = false; // inside the rest of a record that was cut
    bool ended_ = false;
};

} // namespace sennit::tools

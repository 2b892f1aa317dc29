#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/os/fd.hpp>

#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

namespace sennit::subprocess {

/// The end of a pipe that one reads what a child writes from.      Python: Popen.stdout, Popen.stderr
///
/// Bytes as they are: no encoding, no translation of line ends. To read two pipes of one child, or to write and read at the
/// same time, take Popen::communicate(): a child that fills the pipe nobody reads stops for ever.
///
///     for (const std::string& line : child.std_out()) ...      // each with its '\n'
///
/// Agents    One at a time. Blocks: the OS thread, until the deadline; then TimeoutError, and nothing that came is lost: the
///           next read has it. Errors: OSError; UsageError after close().
class PipeReader {
  public:
    PipeReader() noexcept = default;
    explicit PipeReader(os::Fd fd) noexcept : fd_(std::move(fd)) {}

    /// Up to and including the next '\n'; without one, what is left; "" at the end.
    std::string readline(Deadline deadline = forever);
    /// `bytes` of them; fewer only at the end.
    std::string read(std::size_t bytes, Deadline deadline = forever);
    /// What is there, at least one byte and at most `at_most`; "" at the end.
    std::string read_some(std::size_t at_most = 65536, Deadline deadline = forever);
    /// All that comes until the end: until the child and all that inherited the pipe have closed it.
    std::string read_all(Deadline deadline = forever);

    /// Drops what was not read. A child that goes on writing gets SIGPIPE. Twice: nothing.
    void close() noexcept;
    [[nodiscard]] bool closed() const noexcept { return !fd_; }
    /// For poll and its like. What was read ahead by readline() is no longer in there.
    int fileno() const;

    class Lines;
    [[nodiscard]] Lines begin();
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  private:
    friend class Popen;
    bool fill(Deadline deadline);
    template <class Enough>
    void fill_until(Enough enough, Deadline deadline);
    [[noreturn]] static void throw_timeout();
    std::string take(std::size_t bytes);
    std::string take_all();
    void require_open(const char* call) const;
    std::size_t available() const noexcept { return buffer_.size() - begin_; }

    os::Fd fd_;
    std::string buffer_; // from begin_ on: read ahead
    std::size_t begin_ = 0;
    bool at_end_ = false;
};

/// The lines of a PipeReader, one at a time.
class PipeReader::Lines {
  public:
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    explicit Lines(PipeReader& reader) : reader_(&reader), line_(reader.readline()) {}
    const std::string& operator*() const noexcept { return line_; }
    Lines& operator++() {
        line_ = reader_->readline();
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Lines& lines, std::default_sentinel_t) noexcept { return lines.line_.empty(); }

  private:
    PipeReader* reader_;
    std::string line_;
};

inline PipeReader::Lines PipeReader::begin() { return Lines(*this); }

} // namespace sennit::subprocess

#pragma once

#include "tools/common/out_stream.hpp"
#include "tools/map/capture.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace sennit::tools {

/// Standard output or error could not be written.
class OutputError : public std::runtime_error {
  public:
    OutputError(int code, bool standard_error);
    /// The errno. EPIPE: nobody reads any more.
    [[nodiscard]] int code() const noexcept { return code_; }

  private:
    int code_;
};

/// Writes what jobs have said, one after the other, as fast as the readers take it and never waiting for them.
///
/// Order     First in, first out, over both streams: so on a terminal a job's standard error stands right behind its output.
class Printer {
  public:
    enum class Stream : unsigned char { out, err };
    enum class Form : unsigned char { raw, json_text, base64 };

    explicit Printer(int out = 1, int err = 2) : out_(out), err_(err) {}

    void print(Stream stream, std::string_view bytes);
    void print(Stream stream, Capture&& capture, Form form = Form::raw);
    /// `then` is called once all that stands before it is written: so that a log never tells of output that was not.
    void after(std::function<void()> then);

    /// Writes as much as goes. True when nothing is left; false when the reader of wait_fd() must be waited for (EPOLLOUT).
    /// Throws OutputError, and OSError when a capture can't be read back.
    bool flush();
    [[nodiscard]] int wait_fd() const noexcept { return blocked_on_; }

    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    /// Bytes that wait, and how many things they are.
    [[nodiscard]] std::int64_t backlog_bytes() const noexcept { return backlog_; }
    [[nodiscard]] std::size_t backlog_items() const noexcept { return items_.size(); }
    /// Forgets what waits.
    void drop() noexcept;

    /// The last byte that each terminal got was a newline (or there was none): the cursor is at the left.
    [[nodiscard]] bool at_line_start() const noexcept { return at_line_start_; }
    /// Called before bytes go to a terminal, to take a progress bar away.
    std::function<void()> before_terminal;

  private:
    struct Item {
        Stream stream = Stream::out;
        Form form = Form::raw;
        std::string bytes;
        std::size_t written = 0; // of bytes
        Capture capture;
        Capture::Reader reader;
        bool captured = false;
        std::string carry; // base64 takes three bytes at a time
        std::function<void()> then;
        explicit Item(Spool& none) : capture(none), reader(capture) {}
    };
    bool refill(Item& item);
    bool write(Item& item);

    OutStream out_, err_;
    Spool no_spool_{""};
    std::deque<Item> items_;
    std::int64_t backlog_ = 0;
    int blocked_on_ = -1;
    bool at_line_start_ = true;
};

} // namespace sennit::tools

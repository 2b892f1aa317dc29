#include "tools/map/printer.hpp"

#include "tools/common/quoting.hpp"

#include <cerrno>
#include <system_error>

namespace sennit::tools {

OutputError::OutputError(int code, bool standard_error)
    : std::runtime_error(std::string("cannot write to standard ") + (standard_error ? "error" : "output") + ": " +
                         std::system_category().message(code)),
      code_(code) {}

void Printer::print(Stream stream, std::string_view bytes) {
    if (bytes.empty()) return;
    // Joins what waits for the same stream, so that many small outputs take few system calls.
    if (items_.empty() || items_.back().stream != stream || items_.back().captured || items_.back().then ||
        items_.back().bytes.size() > 64 * 1024) {
        items_.emplace_back(no_spool_);
        items_.back().stream = stream;
    }
    items_.back().bytes += bytes;
    backlog_ += static_cast<std::int64_t>(bytes.size());
}

void Printer::print(Stream stream, Capture&& capture, Form form) {
    if (capture.empty()) return;
    if (capture.in_memory() && form == Form::raw) {
        print(stream, capture.memory());
        capture.clear();
        return;
    }
    items_.emplace_back(no_spool_);
    Item& item = items_.back();
    item.stream = stream;
    item.form = form;
    item.capture = std::move(capture);
    item.captured = true;
    backlog_ += item.capture.size();
}

void Printer::after(std::function<void()> then) {
    if (items_.empty()) return then();
    items_.emplace_back(no_spool_);
    items_.back().then = std::move(then);
}

// Takes the next piece of a capture into item.bytes. False at its end.
bool Printer::refill(Item& item) {
    char piece[48 * 1024];
    const std::size_t n = item.reader.read(piece, sizeof piece);
    backlog_ -= static_cast<std::int64_t>(n);
    item.bytes.clear();
    item.written = 0;
    const std::string_view read(piece, n);
    switch (item.form) {
    case Form::raw:
        item.bytes = read;
        break;
    case Form::json_text:
        append_json_escaped(item.bytes, read);
        break;
    case Form::base64: {
        item.carry += read;
        const std::size_t whole = n == 0 ? item.carry.size() : item.carry.size() / 3 * 3;
        append_base64(item.bytes, std::string_view(item.carry).substr(0, whole));
        item.carry.erase(0, whole);
        break;
    }
    }
    backlog_ += static_cast<std::int64_t>(item.bytes.size());
    return n > 0 || !item.bytes.empty();
}

bool Printer::write(Item& item) {
    OutStream& stream = item.stream == Stream::out ? out_ : err_;
    for (;;) {
        while (item.written < item.bytes.size()) {
            if (stream.is_terminal() && before_terminal) before_terminal();
            const ssize_t n = stream.write(item.bytes.data() + item.written, item.bytes.size() - item.written);
            if (n == 0) {
                blocked_on_ = stream.wait_fd();
                return false;
            }
            if (n < 0) throw OutputError(static_cast<int>(-n), item.stream == Stream::err);
            item.written += static_cast<std::size_t>(n);
            backlog_ -= n;
            if (stream.is_terminal()) at_line_start_ = item.bytes[item.written - 1] == '\n';
        }
        if (!item.captured || !refill(item)) return true;
    }
}

bool Printer::flush() {
    while (!items_.empty()) {
        Item& item = items_.front();
        if (item.then) {
            const std::function<void()> then = std::move(item.then);
            items_.pop_front();
            then();
            continue;
        }
        if (!write(item)) return false;
        items_.pop_front();
    }
    blocked_on_ = -1;
    return true;
}

void Printer::drop() noexcept {
    items_.clear();
    backlog_ = 0;
    blocked_on_ = -1;
}

} // namespace sennit::tools

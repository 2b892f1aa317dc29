#include <sennit/subprocess/pipe_reader.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>

#include <algorithm>

namespace sennit::subprocess {
namespace {

constexpr std::size_t chunk_bytes = 65536; // a pipe's usual capacity

} // namespace

void PipeReader::require_open(const char* call) const {
    if (!fd_)
        throw UsageError(std::string(call) +
                         " on a pipe of a child that is closed; read before close(), or let communicate() "
                         "return the output");
}

int PipeReader::fileno() const {
    require_open("fileno()");
    return fd_.get();
}

void PipeReader::close() noexcept {
    fd_.reset();
    buffer_.clear();
    begin_ = 0;
    at_end_ = true;
}

// Waits for bytes and appends them to the buffer. False at the end.
bool PipeReader::fill(Deadline deadline) {
    if (at_end_) return false;
    if (begin_ > 0 && begin_ == buffer_.size()) buffer_.clear(), begin_ = 0;
    const std::size_t had = buffer_.size();
    if (buffer_.capacity() < had + chunk_bytes) buffer_.reserve(std::max(had + chunk_bytes, had * 2));
    buffer_.resize(had + chunk_bytes); // before reading: a refused allocation loses nothing
    ssize_t n = 0;
    bool timed_out = false;
    if (!deadline.is_forever()) {
        pollfd ready{fd_.get(), POLLIN, 0};
        const int count = os::poll_fds({&ready, 1}, deadline);
        timed_out = count == 0;
        if (count < 0) n = count;
    }
    if (n == 0 && !timed_out) n = os::read_some(fd_.get(), buffer_.data() + had, chunk_bytes);
    buffer_.resize(had + (n > 0 ? static_cast<std::size_t>(n) : 0));
    if (timed_out) throw_timeout();
    if (n < 0) throw OSError(static_cast<int>(-n), "read: cannot read from a child's pipe");
    if (n == 0) at_end_ = true;
    return n > 0;
}

void PipeReader::throw_timeout() {
    throw TimeoutError(
        "the child has not written what was asked for by the deadline; what came is kept for the next read");
}

// Reads until `enough()` or the end. At the deadline it throws, also if bytes never stop coming.
template <class Enough>
void PipeReader::fill_until(Enough enough, Deadline deadline) {
    for (bool again = false; !enough(); again = true) {
        if (again && deadline.has_passed()) throw_timeout();
        if (!fill(deadline)) return;
    }
}

std::string PipeReader::take(std::size_t bytes) {
    std::string taken = buffer_.substr(begin_, bytes);
    begin_ += taken.size();
    // Moves the rest to the front only when that is the smaller part: reading lines stays linear.
    if (begin_ > buffer_.size() / 2) {
        buffer_.erase(0, begin_);
        begin_ = 0;
    }
    return taken;
}

std::string PipeReader::take_all() {
    if (begin_ > 0) return take(available());
    return std::exchange(buffer_, {});
}

std::string PipeReader::readline(Deadline deadline) {
    require_open("readline()");
    std::size_t length = 0, searched = 0;
    const auto has_line = [&] {
        const std::size_t at = buffer_.find('\n', begin_ + searched);
        searched = available();
        length = at == std::string::npos ? searched : at + 1 - begin_;
        return at != std::string::npos;
    };
    fill_until(has_line, deadline);
    return take(length);
}

std::string PipeReader::read(std::size_t bytes, Deadline deadline) {
    require_open("read()");
    fill_until([&] { return available() >= bytes; }, deadline);
    return take(bytes);
}

std::string PipeReader::read_some(std::size_t at_most, Deadline deadline) {
    require_open("read_some()");
    if (available() == 0 && at_most > 0) fill(deadline);
    return take(at_most);
}

std::string PipeReader::read_all(Deadline deadline) {
    require_open("read_all()");
    fill_until([] { return false; }, deadline);
    return take_all();
}

} // namespace sennit::subprocess

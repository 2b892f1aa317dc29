#include <sennit/asyncio/stream_buffer.hpp>

#include <algorithm>
#include <cstring>

namespace sennit::asyncio {
namespace {

constexpr std::size_t smallest_capacity = 4096;

[[noreturn]] void throw_overrun(std::size_t limit, std::size_t consumed, bool found) {
    throw LimitOverrunError(
        (found ? "the separator comes only after the stream's limit of "
               : "there is no separator within the stream's limit of ") +
            std::to_string(limit) +
            " bytes; give open_connection or start_server a higher .limit, or read what is there with read()",
        consumed);
}

} // namespace

Separators::Separators(std::span<const std::string_view> several) : list_(several.begin(), several.end()) {
    if (list_.empty()) throw UsageError("readuntil: no separator to look for; pass at least one");
    shortest_ = list_[0].size();
    for (const std::string& one : list_) {
        if (one.empty()) throw UsageError("readuntil: an empty separator is everywhere; pass at least one byte");
        shortest_ = std::min(shortest_, one.size());
        longest_ = std::max(longest_, one.size());
    }
}

StreamBuffer::StreamBuffer(std::size_t limit) : limit_(limit) {
    if (limit == 0) throw UsageError("a stream's limit must be at least 1 byte; leave it out for 64 KiB");
}

std::span<char> StreamBuffer::prepare(std::size_t bytes) {
    if (capacity_ - end_ < bytes) {
        const std::size_t held = size();
        // Moved to the front where that is cheap, that is: where it is paid for by what was read since the last time.
        if (begin_ >= held && capacity_ - held >= bytes) {
            std::memcpy(data_.get(), data_.get() + begin_, held);
        } else {
            const std::size_t capacity = std::max({smallest_capacity, held + bytes, held * 2});
            std::unique_ptr<char[]> data(new char[capacity]);
            if (held != 0) std::memcpy(data.get(), data_.get() + begin_, held);
            data_ = std::move(data);
            capacity_ = capacity;
        }
        begin_ = 0;
        end_ = held;
    }
    lent_ = true;
    return {data_.get() + end_, capacity_ - end_};
}

void StreamBuffer::feed(std::string_view data) {
    if (data.empty()) return;
    std::memcpy(prepare(data.size()).data(), data.data(), data.size());
    commit(data.size());
}

void StreamBuffer::release_if_empty(std::size_t kept) noexcept {
    if (!empty() || lent_ || capacity_ <= kept) return;
    data_.reset();
    capacity_ = begin_ = end_ = 0;
}

void StreamBuffer::consume(std::size_t bytes) noexcept {
    begin_ += bytes;
    if (begin_ == end_ && !lent_) begin_ = end_ = 0;
}

std::string StreamBuffer::take(std::size_t bytes) {
    std::string result(view().substr(0, bytes));
    consume(result.size());
    return result;
}

std::optional<std::string> StreamBuffer::take_some(std::size_t n) {
    if (empty() && !eof_ && n != 0) return std::nullopt;
    return take(n);
}

std::optional<std::string> StreamBuffer::take_all() {
    if (!eof_) return std::nullopt;
    return take(size());
}

std::optional<std::string> StreamBuffer::take_exactly(std::size_t n) {
    if (size() >= n) return take(n);
    if (!eof_) return std::nullopt;
    throw IncompleteReadError(take(size()), n);
}

// The end of the match that ends first. As in Python, a match may end beyond the limit, but not begin there.
std::optional<std::size_t> StreamBuffer::find(const Separators& separators, Search& search) const {
    const std::string_view held = view();
    if (held.size() < search.offset + separators.shortest()) return std::nullopt;
    std::size_t start = std::string_view::npos;
    std::size_t end = std::string_view::npos;
    for (const std::string& one : separators.list()) {
        const std::size_t at = held.find(one, search.offset);
        if (at != std::string_view::npos && at + one.size() < end) {
            start = at;
            end = at + one.size();
        }
    }
    if (start != std::string_view::npos) {
        if (start > limit_) throw_overrun(limit_, start, true);
        return end;
    }
    // A separator may have begun in the last bytes.
    search.offset = held.size() + 1 > separators.longest() ? held.size() + 1 - separators.longest() : 0;
    if (search.offset > limit_) throw_overrun(limit_, search.offset, false);
    return std::nullopt;
}

std::optional<std::string> StreamBuffer::take_until(const Separators& separators, Search& search) {
    if (const auto end = find(separators, search)) return take(*end);
    if (eof_) throw IncompleteReadError(take(size()), std::nullopt);
    return std::nullopt;
}

std::optional<std::string> StreamBuffer::take_line(Search& search) {
    static const Separators newline("\n");
    try {
        if (const auto end = find(newline, search)) return take(*end);
    } catch (const LimitOverrunError& e) {
        const bool found = view().substr(e.consumed()).starts_with('\n');
        consume(found ? e.consumed() + 1 : size());
        throw;
    }
    if (eof_) return take(size());
    return std::nullopt;
}

} // namespace sennit::asyncio

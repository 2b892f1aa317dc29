#pragma once

#include <sennit/asyncio/stream_errors.hpp>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::asyncio {

/// 64 KiB: how far a line or a chunk may reach, unless another limit is given.      Python: streams._DEFAULT_LIMIT
inline constexpr std::size_t default_limit = std::size_t{1} << 16;

/// What readuntil looks for: one separator, or several, of which the one whose match ends first counts.
class Separators {
  public:
    Separators(std::string_view one) : Separators(std::span(&one, 1)) {}      // NOLINT(google-explicit-constructor)
    Separators(const char* one) : Separators(std::string_view(one)) {}        // NOLINT(google-explicit-constructor)
    Separators(const std::string& one) : Separators(std::string_view(one)) {} // NOLINT(google-explicit-constructor)
    Separators(std::initializer_list<std::string_view> several)
        : Separators(std::span(several.begin(), several.size())) {}
    /// UsageError for none, or for an empty one.
    explicit Separators(std::span<const std::string_view> several);

    [[nodiscard]] const std::vector<std::string>& list() const noexcept { return list_; }
    [[nodiscard]] std::size_t shortest() const noexcept { return shortest_; }
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

  private:
    std::vector<std::string> list_;
    std::size_t shortest_ = 0;
    std::size_t longest_ = 0;
};

/// The bytes that have come and that nobody has read yet, and the rules of reading them: StreamReader without its input.
///
/// Each take_…() gives its result once it can be had, nothing while more has to come, and throws as Python's StreamReader
/// does; a result has been taken out. Nothing here waits.
///
/// Agents    One at a time.
/// Cost      One contiguous buffer. A separator is looked for once in every byte, however small the pieces that come.
/// Source    Python 3.13: Lib/asyncio/streams.py, StreamReader.
class StreamBuffer {
  public:
    /// `limit`: how far ahead of a separator readuntil and readline look. UsageError for 0.
    explicit StreamBuffer(std::size_t limit = default_limit);
    StreamBuffer(StreamBuffer&&) = delete;

    // ---- who receives

    /// Room for at least `bytes` more, contiguous. It stays where it is until commit(), whatever is taken out meanwhile.
    std::span<char> prepare(std::size_t bytes);
    /// So much of what prepare() gave has been filled.
    void commit(std::size_t bytes) noexcept {
        end_ += bytes;
        lent_ = false;
        consume(0);
    }
    /// Not between prepare() and commit().
    void feed(std::string_view data);
    /// Nothing comes after this.
    void feed_eof() noexcept { eof_ = true; }
    /// More than twice the limit is here: do not receive unless a reader waits for more.
    [[nodiscard]] bool is_full() const noexcept { return size() > 2 * limit_; }
    /// Gives the memory back if there is nothing in it and it is more than `kept`.
    void release_if_empty(std::size_t kept = 0) noexcept;

    // ---- who reads

    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
    [[nodiscard]] bool eof() const noexcept { return eof_; }
    /// The end has come and all before it was read.
    [[nodiscard]] bool at_eof() const noexcept { return eof_ && empty(); }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::string_view view() const noexcept { return {data_.get() + begin_, size()}; }
    /// Takes the first `bytes` out; at most size().
    void consume(std::size_t bytes) noexcept;
    std::string take(std::size_t bytes);

    /// Up to `n` bytes as soon as there is one; an empty string at the end, or for n = 0.
    std::optional<std::string> take_some(std::size_t n);
    /// All until the end.
    std::optional<std::string> take_all();
    /// Exactly `n`. IncompleteReadError when the stream ends before.
    std::optional<std::string> take_exactly(std::size_t n);

    /// How far a search has come. One for each readuntil.
    struct Search {
        std::size_t offset = 0;
    };
    /// Up to and with the separator. IncompleteReadError at the end; LimitOverrunError, which takes nothing out.
    std::optional<std::string> take_until(const Separators& separators, Search& search);
    /// Up to and with '\n', or what there is at the end. LimitOverrunError: the line is too long, and what there is of it has
    /// been dropped, so that who goes on finds the next one.
    std::optional<std::string> take_line(Search& search);

  private:
    std::optional<std::size_t> find(const Separators& separators, Search& search) const;

    std::unique_ptr<char[]> data_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t limit_;
    bool eof_ = false;
    bool lent_ = false; // between prepare() and commit()
};

} // namespace sennit::asyncio

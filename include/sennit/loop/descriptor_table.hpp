#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace sennit::loop {

/// What a poller keeps about each descriptor, by its number. An entry is made when it is first asked for and stays where it is.
///
/// Agents    One thread.
/// Cost      find(): two loads.
template <class Entry>
class DescriptorTable {
  public:
    /// nullptr when there is no memory for it. `fd` is not negative.
    Entry* find_or_make(int fd) noexcept {
        if (Entry* const entry = find(fd)) [[likely]]
            return entry;
        const std::size_t chunk = static_cast<std::size_t>(fd) / entries_a_chunk;
        try {
            if (chunk >= chunks_.size()) chunks_.resize(std::max(chunk + 1, chunks_.size() * 2));
            chunks_[chunk] = std::make_unique<Chunk>();
        } catch (const std::bad_alloc&) {
            return nullptr;
        }
        return find(fd);
    }
    /// nullptr when it was never made.
    Entry* find(int fd) noexcept {
        const auto n = static_cast<std::size_t>(fd);
        const std::size_t chunk = n / entries_a_chunk;
        if (chunk >= chunks_.size() || !chunks_[chunk]) [[unlikely]]
            return nullptr;
        return &(*chunks_[chunk])[n % entries_a_chunk];
    }

  private:
    static constexpr std::size_t entries_a_chunk = 64;
    using Chunk = std::array<Entry, entries_a_chunk>;
    std::vector<std::unique_ptr<Chunk>> chunks_;
};

} // namespace sennit::loop

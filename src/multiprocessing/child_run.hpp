// The child's side: from its first instruction to its end.
#pragma once

#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/child.hpp>
#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sennit::multiprocessing::detail {

/// How a start travels: this, what the child is to know of itself, the entry and its cargo; and descriptors.
struct StartHeader {
    static constexpr std::uint64_t the_magic = 0x73656e6e69740001; // "sennit", 1
    std::uint64_t magic = the_magic;
    std::uint64_t preparation_bytes = 0, cargo_bytes = 0;
    std::int32_t parent = 0;
    std::uint32_t fd_count = 0;            // the cargo's
    std::uint8_t in_memfd = 0;             // what follows the header is in a file, the first descriptor
    std::uint8_t has_out = 0, has_err = 0; // then: standard output and error
    std::uint8_t padding[5] = {};
};

struct Start {
    StartHeader header;
    std::span<const std::byte> body; // preparation and cargo
    std::vector<os::Fd> fds;         // the cargo's
};

CargoWriter make_preparation(const ChildOptions& options, Entry entry);

/// All that run_child() does but the entry and the end, for nothing: so that in a copy of this process static objects exist, functions of
/// libraries are bound, and memory is touched. Leaves this process as it is.
void rehearse() noexcept;

/// Does what the process is for and ends it. `lifeline`: see os::Lifeline.
[[noreturn]] void run_child(Start start, bool by_fork);

} // namespace sennit::multiprocessing::detail

#pragma once

#include <cstdint>

namespace sennit::os {

/// From now on this process gets at most so many bytes of memory of its own (heap, stacks, private mappings); what would go beyond is
/// refused (ENOMEM, std::bad_alloc). Never more than was allowed before. 0 or an errno.
/// Source: setrlimit(2), RLIMIT_DATA.
int limit_memory(std::uint64_t bytes) noexcept;

} // namespace sennit::os

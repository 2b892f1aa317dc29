#pragma once

#include <sennit/multiprocessing/cargo.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::multiprocessing::detail {

/// What a worker of a pool is started with, beside its memory, the parent's bell and the socket for descriptors.
struct WorkerSettings {
    std::uint64_t ring_bytes;
    std::uint64_t memory_limit;
    std::uint64_t initializer_fds;
    std::uint8_t has_initializer;
};

/// A worker's whole life: the initializer, then job after job till the parent says that it is over. An Entry.
void run_worker(CargoReader& in, CargoWriter& out);

} // namespace sennit::multiprocessing::detail

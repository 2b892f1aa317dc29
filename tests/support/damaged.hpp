// Good bytes that somebody has written over, for fuzz targets: nearer to what a reader takes for good than any bytes are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace sennit::testing {

/// A copy of `good`, which has at least a byte, with up to five bytes changed to one of `odd`; one in four is cut as well.
inline std::vector<std::uint8_t> damaged(std::span<const std::byte> good, std::span<const std::uint8_t> odd,
                                         std::mt19937_64& random) {
    std::vector<std::uint8_t> bytes(good.size());
    std::memcpy(bytes.data(), good.data(), good.size());
    for (auto changes = random() % 6; changes > 0; --changes)
        bytes[random() % bytes.size()] = odd[random() % odd.size()];
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    return bytes;
}

} // namespace sennit::testing

#include "digest.hpp"

#include <bit>
#include <cmath>
#include <cstring>

namespace sennit::multiprocessing::digest {
namespace {

constexpr std::size_t block_bytes = 64; // of both

// The data, a bit, zeroes, and its length in bits: whole blocks.
std::string padded(std::string_view data, bool big_endian) {
    std::string all(data);
    all += '\x80';
    while (all.size() % block_bytes != block_bytes - 8) all += '\0';
    const std::uint64_t bits = std::uint64_t{data.size()} * 8;
    for (int i = 0; i < 8; ++i) all += static_cast<char>(bits >> (big_endian ? 56 - 8 * i : 8 * i));
    return all;
}

std::uint32_t word_at(const char* bytes, bool big_endian) {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i)
        value |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (big_endian ? 24 - 8 * i : 8 * i);
    return value;
}

template <std::size_t n>
std::string bytes_of(const std::array<std::uint32_t, n>& words, bool big_endian) {
    std::string result;
    for (const std::uint32_t w : words)
        for (int i = 0; i < 4; ++i) result += static_cast<char>(w >> (big_endian ? 24 - 8 * i : 8 * i));
    return result;
}

// The first 32 bits of the fractions of the cube roots of the first 64 primes.
constexpr std::uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::string hmac(std::string (*hash)(std::string_view), std::string_view key, std::string_view data) {
    std::string block(key.size() > block_bytes ? hash(key) : std::string(key));
    block.resize(block_bytes);
    std::string inner = block, outer = block;
    for (char& c : inner) c = static_cast<char>(c ^ 0x36);
    for (char& c : outer) c = static_cast<char>(c ^ 0x5c);
    return hash(outer + hash(inner.append(data)));
}

} // namespace

std::string sha256(std::string_view data) {
    std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const std::string all = padded(data, true);
    for (std::size_t at = 0; at < all.size(); at += block_bytes) {
        std::uint32_t w[64];
        for (int i = 0; i < 16; ++i) w[i] = word_at(all.data() + at + 4 * i, true);
        for (int i = 16; i < 64; ++i) {
            const std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
            const std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        auto [a, b, c, d, e, f, g, h] = state;
        for (int i = 0; i < 64; ++i) {
            const std::uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
            const std::uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + sha256_constants[i] + w[i];
            const std::uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
            const std::uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        const std::uint32_t add[8] = {a, b, c, d, e, f, g, h};
        for (int i = 0; i < 8; ++i) state[static_cast<std::size_t>(i)] += add[i];
    }
    return bytes_of(state, true);
}

std::string md5(std::string_view data) {
    static constexpr int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    static const std::array<std::uint32_t, 64> constants = [] {
        std::array<std::uint32_t, 64> k{};
        for (std::size_t i = 0; i < 64; ++i)
            k[i] =
                static_cast<std::uint32_t>(std::floor(std::fabs(std::sin(static_cast<double>(i + 1))) * 4294967296.0));
        return k;
    }();
    std::array<std::uint32_t, 4> state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    const std::string all = padded(data, false);
    for (std::size_t at = 0; at < all.size(); at += block_bytes) {
        auto [a, b, c, d] = state;
        for (std::uint32_t i = 0; i < 64; ++i) {
            std::uint32_t f = 0, g = 0;
            switch (i / 16) {
            case 0:
                f = (b & c) | (~b & d), g = i;
                break;
            case 1:
                f = (d & b) | (~d & c), g = (5 * i + 1) % 16;
                break;
            case 2:
                f = b ^ c ^ d, g = (3 * i + 5) % 16;
                break;
            default:
                f = c ^ (b | ~d), g = (7 * i) % 16;
                break;
            }
            f += a + constants[i] + word_at(all.data() + at + std::size_t{4} * g, false);
            a = d, d = c, c = b, b += std::rotl(f, shifts[i / 16][i % 4]);
        }
        const std::uint32_t add[4] = {a, b, c, d};
        for (std::size_t i = 0; i < 4; ++i) state[i] += add[i];
    }
    return bytes_of(state, false);
}

std::string hmac_sha256(std::string_view key, std::string_view data) { return hmac(&sha256, key, data); }
std::string hmac_md5(std::string_view key, std::string_view data) { return hmac(&md5, key, data); }

bool equal(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    unsigned char differs = 0;
    for (std::size_t i = 0; i < a.size(); ++i) differs = static_cast<unsigned char>(differs | (a[i] ^ b[i]));
    return differs == 0;
}

} // namespace sennit::multiprocessing::digest

// HMAC with SHA-256 and MD5, for the handshake of Listener and Client: a few messages of some 50 bytes each connection.
// See docs/decisions/0013-digests-of-our-own.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sennit::multiprocessing::digest {

/// 32 bytes.      Source: FIPS 180-4
std::string sha256(std::string_view data);
/// 16 bytes. For Python up to 3.11, on this machine alone: MD5 is broken as a hash, not as a HMAC.      Source: RFC 1321
std::string md5(std::string_view data);
/// Source: RFC 2104.
std::string hmac_sha256(std::string_view key, std::string_view data);
std::string hmac_md5(std::string_view key, std::string_view data);
/// In a time that does not tell where they differ.
bool equal(std::string_view a, std::string_view b) noexcept;

} // namespace sennit::multiprocessing::digest

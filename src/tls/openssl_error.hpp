// What OpenSSL says, as our errors.
#pragma once

#include <string>

namespace sennit::ssl {

// The first reason in this thread's error queue, which is empty afterwards; "unknown error" when there is none.
std::string take_reason() noexcept(false);
// The queue may hold what an earlier call of anybody left there.
void forget_errors() noexcept;
// Throws SSLError: "<what>: <reason>; <advice>".
[[noreturn]] void throw_ssl_error(const std::string& what, const std::string& advice);

} // namespace sennit::ssl

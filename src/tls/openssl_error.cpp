#include "openssl_error.hpp"

#include <sennit/tls/errors.hpp>

#include <openssl/err.h>

namespace sennit::ssl {

void forget_errors() noexcept { ERR_clear_error(); }

std::string take_reason() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return "unknown error";
    if (const char* reason = ERR_reason_error_string(code)) return reason;
    char text[256];
    ERR_error_string_n(code, text, sizeof text);
    return text;
}

void throw_ssl_error(const std::string& what, const std::string& advice) {
    const std::string reason = take_reason();
    throw SSLError(what + ": " + reason + (advice.empty() ? "" : "; " + advice), reason);
}

} // namespace sennit::ssl

#pragma once

#include <sennit/base/errors.hpp>

#include <string>
#include <utility>

namespace sennit::ssl {

/// TLS went wrong; the text has OpenSSL's reason and what to do.      Python: ssl.SSLError
class SSLError : public Error {
  public:
    SSLError(const std::string& what, std::string reason) : Error(what), reason_(std::move(reason)) {}
    /// OpenSSL's words: "certificate verify failed", "no shared cipher", "wrong version number".
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

  private:
    std::string reason_;
};

/// The peer's certificate was refused.      Python: ssl.SSLCertVerificationError
class SSLCertVerificationError : public SSLError {
  public:
    SSLCertVerificationError(const std::string& what, int verify_code, std::string verify_message)
        : SSLError(what, "certificate verify failed"),
          verify_code_(verify_code),
          verify_message_(std::move(verify_message)) {}
    /// X509_V_ERR_...: 10 expired, 18 self-signed, 20 unknown issuer, 62 another host.
    [[nodiscard]] int verify_code() const noexcept { return verify_code_; }
    [[nodiscard]] const std::string& verify_message() const noexcept { return verify_message_; }

  private:
    int verify_code_;
    std::string verify_message_;
};

/// The connection ended without TLS's farewell: what came may have been cut off.      Python: ssl.SSLEOFError
class SSLEOFError : public SSLError {
  public:
    using SSLError::SSLError;
};

} // namespace sennit::ssl

#include "ssl_engine.hpp"

#include "openssl_error.hpp"
#include <sennit/tls/errors.hpp>

#include <algorithm>
#include <climits>
#include <exception>
#include <new>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <utility>

namespace sennit::ssl {
namespace {

// What our callbacks leave with an SSL.
struct Kept {
    std::exception_ptr error;
    std::shared_ptr<const void> alive;
    X509* refused = nullptr;
    Kept() = default;
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;
    ~Kept() { X509_free(refused); }
};

int kept_index() {
    static const int index =
        SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, [](void*, void* kept, CRYPTO_EX_DATA*, int, long, void*) {
            delete static_cast<Kept*>(kept);
        });
    return index;
}

Kept& kept_of(SSL* ssl) {
    if (auto* kept = static_cast<Kept*>(SSL_get_ex_data(ssl, kept_index()))) return *kept;
    auto kept = std::make_unique<Kept>();
    if (SSL_set_ex_data(ssl, kept_index(), kept.get()) != 1) throw std::bad_alloc();
    return *kept.release();
}

void rethrow_kept(SSL* ssl) {
    auto* kept = static_cast<Kept*>(SSL_get_ex_data(ssl, kept_index()));
    if (kept && kept->error) std::rethrow_exception(std::exchange(kept->error, nullptr));
}

std::string text_of(const ASN1_TIME* time) {
    std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), BIO_free);
    if (!bio || !time || ASN1_TIME_print(bio.get(), time) != 1) return "an unknown time";
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

// The names that a certificate is for, as far as they fit into a sentence.
std::string names_of(X509* certificate) {
    auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    std::string text;
    int shown = 0;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
        std::string one;
        if (name->type == GEN_DNS) {
            one.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                       static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
            for (char& c : one) // a name of who knows whom goes to a terminal
                if (c < ' ' || c > '~') c = '?';
        } else if (name->type == GEN_IPADD) {
            const unsigned char* ip = ASN1_STRING_get0_data(name->d.iPAddress);
            if (ASN1_STRING_length(name->d.iPAddress) == 4)
                one = std::to_string(ip[0]) + '.' + std::to_string(ip[1]) + '.' + std::to_string(ip[2]) + '.' +
                      std::to_string(ip[3]);
            else
                one = "an IPv6 address";
        } else {
            continue;
        }
        if (++shown > 4) {
            text += ", ...";
            break;
        }
        text += (text.empty() ? "" : ", ") + one;
    }
    GENERAL_NAMES_free(names);
    return text.empty() ? "no host at all (no subjectAltName)" : text;
}

} // namespace

void keep_exception(SSL* ssl) noexcept {
    try {
        kept_of(ssl).error = std::current_exception();
    } catch (...) { // no memory: the handshake fails all the same
    }
}

void keep_alive(SSL* ssl, std::shared_ptr<const void> what) { kept_of(ssl).alive = std::move(what); }

int keep_refused(int good, X509_STORE_CTX* store) noexcept {
    if (good == 1) return good;
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    X509* const certificate = X509_STORE_CTX_get_current_cert(store);
    if (!ssl || !certificate) return good;
    try {
        Kept& kept = kept_of(ssl);
        X509_up_ref(certificate);
        X509_free(std::exchange(kept.refused, certificate));
    } catch (...) { // no memory: the sentence is shorter
    }
    return good;
}

SslEngine::SslEngine(std::unique_ptr<SSL, FreeSsl> ssl, std::string name, std::shared_ptr<const void> keep)
    : keep_(std::move(keep)),
      ssl_(std::move(ssl)),
      in_(BIO_new(BIO_s_mem())),
      out_(BIO_new(BIO_s_mem())),
      name_(std::move(name)) {
    if (!in_ || !out_) {
        BIO_free(in_);
        BIO_free(out_);
        throw std::bad_alloc();
    }
    BIO_set_mem_eof_return(in_, -1); // empty is not the end
    SSL_set_bio(ssl_.get(), in_, out_);
}

void SslEngine::feed(std::string_view ciphertext) {
    while (!ciphertext.empty()) {
        const int piece = static_cast<int>(std::min<std::size_t>(ciphertext.size(), INT_MAX));
        const int n = BIO_write(in_, ciphertext.data(), piece);
        if (n <= 0) throw std::bad_alloc();
        ciphertext.remove_prefix(static_cast<std::size_t>(n));
    }
}

void SslEngine::feed_eof() {
    eof_ = true;
    BIO_set_mem_eof_return(in_, 0);
}

std::string_view SslEngine::output() {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    return {data, static_cast<std::size_t>(size)};
}

void SslEngine::consume_output(std::size_t bytes) {
    char scratch[4096];
    while (bytes > 0) {
        const int n = BIO_read(out_, scratch, static_cast<int>(std::min(bytes, sizeof scratch)));
        if (n <= 0) return;
        bytes -= static_cast<std::size_t>(n);
    }
}

bool SslEngine::handshake() {
    forget_errors();
    const int n = SSL_do_handshake(ssl_.get());
    if (n == 1) return true;
    const int error = SSL_get_error(ssl_.get(), n);
    if (error == SSL_ERROR_WANT_READ) return false;
    throw_error(error, "the handshake");
}

asyncio::TlsEngine::Read SslEngine::read(char* to, std::size_t room, std::size_t& bytes) {
    forget_errors();
    const int n = SSL_read_ex(ssl_.get(), to, room, &bytes);
    if (n == 1) return Read::data;
    bytes = 0;
    const int error = SSL_get_error(ssl_.get(), n);
    if (error == SSL_ERROR_WANT_READ) return Read::more;
    if (error == SSL_ERROR_ZERO_RETURN) return Read::end;
    throw_error(error, "reading");
}

void SslEngine::write(std::string_view plaintext) {
    forget_errors();
    while (!plaintext.empty()) {
        std::size_t written = 0;
        const int n = SSL_write_ex(ssl_.get(), plaintext.data(), plaintext.size(), &written);
        if (n != 1) throw_error(SSL_get_error(ssl_.get(), n), "writing");
        plaintext.remove_prefix(written);
    }
}

bool SslEngine::shutdown() {
    if (SSL_in_init(ssl_.get())) return true; // nothing was agreed on, so there is nobody to say farewell to
    forget_errors();
    const int n = SSL_shutdown(ssl_.get());
    if (n == 1) return true;
    if (n == 0) return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
    const int error = SSL_get_error(ssl_.get(), n);
    forget_errors();
    // Data of the peer that nobody will read, or a connection that is broken already: nothing to wait for.
    return error != SSL_ERROR_WANT_READ;
}

void SslEngine::throw_refused_certificate() {
    forget_errors();
    const long code = SSL_get_verify_result(ssl_.get());
    const std::string message = X509_verify_cert_error_string(code);
    const auto* kept = static_cast<const Kept*>(SSL_get_ex_data(ssl_.get(), kept_index()));
    X509* const certificate = kept ? kept->refused : nullptr;
    std::string advice;
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        advice = "the peer needs a new certificate";
        if (certificate) advice += " (this one ended on " + text_of(X509_get0_notAfter(certificate)) + ")";
        advice += ", or the clock here is wrong";
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        advice = "the clock of one side is wrong";
        if (certificate) advice += ": it begins on " + text_of(X509_get0_notBefore(certificate));
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        advice = "connect by a name that it is for, or pass the right one as .server_hostname";
        if (certificate) advice += "; it is for " + names_of(certificate);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        advice = "nobody vouches for it; if you know it to be right, give it to load_verify_locations()";
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        advice = "give the certificate of who issued it to load_verify_locations(); if that is a well-known one, the "
                 "peer does not send its whole chain";
        break;
    default:
        advice = "see openssl-verification-options(1)";
    }
    throw SSLCertVerificationError("TLS: the certificate of " + name_ + " is refused: " + message + " (" +
                                       std::to_string(code) + "); " + advice,
                                   static_cast<int>(code), message);
}

void SslEngine::throw_error(int error, const char* doing) {
    rethrow_kept(ssl_.get());
    const unsigned long code = ERR_peek_error();
    const int reason = ERR_GET_REASON(code);
    const std::string what = std::string("TLS: ") + doing + " with " + name_;
    if (error == SSL_ERROR_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) throw_refused_certificate();
    if (error == SSL_ERROR_SYSCALL || (code == 0 && eof_) || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        forget_errors();
        throw SSLEOFError(what + ": the connection ended without close_notify; what came may have been cut off",
                          "unexpected eof while reading");
    }
    std::string advice;
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        advice = "the peer does not speak TLS: is it the right port?";
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        advice = "the two have no version in common; sennit speaks 1.2 and 1.3";
        break;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        advice = "the two have no cipher in common, or a server has no certificate: see set_ciphers, load_cert_chain";
        break;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        advice = "the client has to show one: its load_cert_chain";
        break;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        advice = "the peer refuses the certificate of this side";
        break;
    default:
        break;
    }
    throw_ssl_error(what, advice);
}

asyncio::TlsInfo SslEngine::info() const {
    asyncio::TlsInfo info;
    info.version = SSL_get_version(ssl_.get());
    if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_.get())) {
        info.cipher = SSL_CIPHER_get_name(cipher);
        info.cipher_bits = SSL_CIPHER_get_bits(cipher, nullptr);
    }
    const unsigned char* alpn = nullptr;
    unsigned alpn_size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &alpn, &alpn_size);
    if (alpn) info.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_size);
    if (const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name)) info.server_name = name;
    if (X509* certificate = SSL_get0_peer_certificate(ssl_.get())) {
        std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), BIO_free);
        if (bio && PEM_write_bio_X509(bio.get(), certificate) == 1) {
            char* data = nullptr;
            const long size = BIO_get_mem_data(bio.get(), &data);
            info.peercert.assign(data, static_cast<std::size_t>(size));
        }
    }
    return info;
}

} // namespace sennit::ssl

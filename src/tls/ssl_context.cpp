#include <sennit/tls/ssl_context.hpp>

#include "openssl_error.hpp"
#include "ssl_engine.hpp"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <new>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace sennit::ssl {
namespace {

struct FreeContext {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
struct FreeBio {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
struct FreeX509 {
    void operator()(X509* x) const noexcept { X509_free(x); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

int openssl_version(TLSVersion version) { return version == TLSVersion::TLSv1_2 ? TLS1_2_VERSION : TLS1_3_VERSION; }
TLSVersion our_version(long version) { return version == TLS1_2_VERSION ? TLSVersion::TLSv1_2 : TLSVersion::TLSv1_3; }

// A file that is not there is the system's error, not TLS's.
void must_open(const std::string& file, const char* what) {
    if (std::FILE* f = std::fopen(file.c_str(), "re")) {
        std::fclose(f);
        return;
    }
    throw OSError(errno, std::string("ssl: cannot open the ") + what + " '" + file + "'");
}

bool is_ip_address(const std::string& host) {
    ASN1_OCTET_STRING* ip = a2i_IPADDRESS(host.c_str());
    ASN1_OCTET_STRING_free(ip);
    forget_errors();
    return ip != nullptr;
}

int give_password(char* buffer, int size, int, void* password) noexcept {
    const auto& text = *static_cast<const std::string*>(password);
    if (text.size() > static_cast<std::size_t>(size)) return -1;
    text.copy(buffer, text.size());
    return static_cast<int>(text.size()); // empty: none, instead of asking at the terminal
}

void warn(const char* what) {
    std::fprintf(stderr, "sennit: warning: %s\n", what); // one call, one line
}

} // namespace

// ---- the inside

class SSLContext::Impl final : public asyncio::TlsContext, public std::enable_shared_from_this<SSLContext::Impl> {
  public:
    explicit Impl(Protocol protocol)
        : protocol_(protocol),
          context_(SSL_CTX_new(protocol == Protocol::client ? TLS_client_method() : TLS_server_method())) {
        if (!context_) throw_ssl_error("TLS: cannot make a context", "");
        SSL_CTX_set_min_proto_version(get(), TLS1_2_VERSION);
        SSL_CTX_set_max_proto_version(get(), TLS1_3_VERSION);
        SSL_CTX_set_options(get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
        // RELEASE_BUFFERS: an idle connection costs 34 KiB less.
        SSL_CTX_set_mode(get(), SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        static const unsigned char id[] = "sennit";
        SSL_CTX_set_session_id_context(get(), id,
                                       sizeof id - 1); // else a server that asks for certificates can't resume
        verify_ = protocol == Protocol::client ? VerifyMode::required : VerifyMode::none;
        check_hostname_ = protocol == Protocol::client;
        apply_verify();
    }

    [[nodiscard]] SSL_CTX* get() const noexcept { return context_.get(); }

    void apply_verify() {
        int mode = SSL_VERIFY_NONE;
        if (verify_ != VerifyMode::none) mode = SSL_VERIFY_PEER;
        if (verify_ == VerifyMode::required) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_CTX_set_verify(get(), mode, keep_refused);
    }

    [[nodiscard]] Side side() const noexcept override {
        return protocol_ == Protocol::client ? Side::client : Side::server;
    }

    std::unique_ptr<asyncio::TlsEngine> make_engine(Side side, const std::string& host) const override {
        if ((side == Side::client) != (protocol_ == Protocol::client))
            throw UsageError(side == Side::client
                                 ? "ssl: a server's context can't connect; make one with PROTOCOL_TLS_CLIENT"
                                 : "ssl: a client's context can't serve; make one with PROTOCOL_TLS_SERVER");
        forget_errors();
        std::unique_ptr<SSL, FreeSsl> ssl(SSL_new(get()));
        if (!ssl) throw_ssl_error("TLS: cannot make a connection", "");
        std::string name = "a client";
        if (side == Side::client) {
            name = host.empty() ? "the server" : "'" + host + "'";
            if (check_hostname_ && host.empty())
                throw UsageError("ssl: check_hostname needs to know whom this is to be; pass .server_hostname");
            set_host(ssl.get(), host);
            SSL_set_connect_state(ssl.get());
        } else {
            SSL_set_accept_state(ssl.get());
        }
        return std::make_unique<SslEngine>(std::move(ssl), std::move(name), shared_from_this());
    }

    Protocol protocol_;
    bool check_hostname_;
    VerifyMode verify_;
    std::vector<unsigned char> alpn_; // as on the wire: a length, a name, ...
    std::function<std::optional<SSLContext>(std::string_view)> sni_;

  private:
    void set_host(SSL* ssl, const std::string& host) const {
        if (host.empty()) return;
        if (host.find('\0') != std::string::npos)
            throw UsageError("ssl: a NUL byte in the server's name '" + std::string(host.c_str()) + "...'");
        X509_VERIFY_PARAM* const param = SSL_get0_param(ssl);
        const bool ip = is_ip_address(host);
        if (!ip && SSL_set_tlsext_host_name(ssl, host.c_str()) != 1) // SNI
            throw_ssl_error("TLS: '" + host + "' can't be a server's name", "");
        if (!check_hostname_) return;
        X509_VERIFY_PARAM_set_hostflags(param,
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        const int done = ip ? X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str())
                            : X509_VERIFY_PARAM_set1_host(param, host.data(), host.size());
        if (done != 1) throw_ssl_error("TLS: '" + host + "' can't be a server's name", "");
    }

    std::unique_ptr<SSL_CTX, FreeContext> context_;
};

// ---- the face

SSLContext::SSLContext(Protocol protocol) : context_(std::make_shared<Impl>(protocol)) {}

// The context is const to streams alone; it was made as a mutable one.
SSLContext::Impl& SSLContext::impl() const noexcept {
    return const_cast<Impl&>(static_cast<const Impl&>(*context_)); // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

void SSLContext::load_cert_chain(const std::string& certfile, const std::string& keyfile, const std::string& password) {
    const std::string& key = keyfile.empty() ? certfile : keyfile;
    must_open(certfile, "certificate");
    must_open(key, "key");
    SSL_CTX* const context = impl().get();
    forget_errors();
    if (SSL_CTX_use_certificate_chain_file(context, certfile.c_str()) != 1)
        throw_ssl_error("ssl: '" + certfile + "' is no certificate in PEM form",
                        "it begins with -----BEGIN CERTIFICATE-----");
    SSL_CTX_set_default_passwd_cb(context, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(context, const_cast<std::string*>(&password));
    const int done = SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
    SSL_CTX_set_default_passwd_cb(context, nullptr);
    if (done != 1) {
        const bool mismatch = ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH;
        throw_ssl_error("ssl: the key in '" + key + "' can't be used",
                        mismatch ? "it is not that of the certificate in '" + certfile + "'"
                                 : "it must be in PEM form, and .password right if it has one");
    }
    if (SSL_CTX_check_private_key(context) != 1)
        throw_ssl_error("ssl: the key in '" + key + "' is not that of the certificate in '" + certfile + "'", "");
}

void SSLContext::load_verify_locations(const std::string& cafile, const std::string& capath,
                                       const std::string& cadata) {
    if (cafile.empty() && capath.empty() && cadata.empty())
        throw UsageError("ssl: load_verify_locations needs a file, a folder, or certificates as text");
    SSL_CTX* const context = impl().get();
    forget_errors();
    if (!cafile.empty()) {
        must_open(cafile, "file of certificates");
        if (SSL_CTX_load_verify_file(context, cafile.c_str()) != 1)
            throw_ssl_error("ssl: no certificate in '" + cafile + "'", "it has to hold them in PEM form");
    }
    if (!capath.empty() && SSL_CTX_load_verify_dir(context, capath.c_str()) != 1)
        throw_ssl_error("ssl: cannot take certificates from the folder '" + capath + "'", "");
    if (cadata.empty()) return;
    if (cadata.size() > INT_MAX) throw UsageError("ssl: cadata of more than 2 GiB can't be certificates");
    const Bio bio(BIO_new_mem_buf(cadata.data(), static_cast<int>(cadata.size())));
    if (!bio) throw std::bad_alloc();
    std::string no_password;
    int found = 0;
    for (;; ++found) {
        const std::unique_ptr<X509, FreeX509> x(PEM_read_bio_X509(bio.get(), nullptr, give_password, &no_password));
        if (!x) break;
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), x.get()) != 1)
            throw_ssl_error("ssl: a certificate in cadata can't be used", "");
    }
    const unsigned long end = ERR_peek_last_error();
    if (found == 0 || ERR_GET_REASON(end) != PEM_R_NO_START_LINE)
        throw_ssl_error("ssl: cadata is no sequence of certificates in PEM form", "");
    forget_errors();
}

void SSLContext::load_default_certs(Purpose) {
    if (SSL_CTX_set_default_verify_paths(impl().get()) != 1)
        throw_ssl_error("ssl: cannot load the certificates that this machine trusts", "");
}

Protocol SSLContext::protocol() const noexcept { return impl().protocol_; }
bool SSLContext::check_hostname() const noexcept { return impl().check_hostname_; }

void SSLContext::set_check_hostname(bool on) {
    Impl& me = impl();
    if (me.protocol_ == Protocol::server) {
        if (on)
            throw UsageError("ssl: a server has no name of its clients to check; verify_mode asks for certificates");
        return;
    }
    if (on && me.verify_ == VerifyMode::none) set_verify_mode(VerifyMode::required);
    me.check_hostname_ = on;
    if (!on) warn("the check of the server's name is off (check_hostname): a certificate of anybody will do");
}

VerifyMode SSLContext::verify_mode() const noexcept { return impl().verify_; }

void SSLContext::set_verify_mode(VerifyMode mode) {
    Impl& me = impl();
    if (mode == VerifyMode::none && me.check_hostname_)
        throw UsageError("ssl: CERT_NONE while check_hostname is on: a name can't be checked without a certificate; "
                         "switch both off if you mean it, check_hostname first");
    me.verify_ = mode;
    me.apply_verify();
    if (mode == VerifyMode::none && me.protocol_ == Protocol::client)
        warn("TLS takes any certificate (CERT_NONE): anybody in between can read and change what is sent");
}

TLSVersion SSLContext::minimum_version() const noexcept {
    return our_version(SSL_CTX_get_min_proto_version(impl().get()));
}
void SSLContext::set_minimum_version(TLSVersion version) {
    SSL_CTX_set_min_proto_version(impl().get(), openssl_version(version));
}
TLSVersion SSLContext::maximum_version() const noexcept {
    return our_version(SSL_CTX_get_max_proto_version(impl().get()));
}
void SSLContext::set_maximum_version(TLSVersion version) {
    SSL_CTX_set_max_proto_version(impl().get(), openssl_version(version));
}

void SSLContext::set_ciphers(const std::string& ciphers) {
    forget_errors();
    if (SSL_CTX_set_cipher_list(impl().get(), ciphers.c_str()) != 1)
        throw_ssl_error("ssl: no cipher is called '" + ciphers + "'", "`openssl ciphers` lists them");
}

void SSLContext::set_alpn_protocols(const std::vector<std::string>& protocols) {
    std::vector<unsigned char> wire;
    for (const std::string& one : protocols) {
        if (one.empty() || one.size() > 255)
            throw UsageError("ssl: the name of an ALPN protocol has 1 to 255 bytes; '" + one.substr(0, 40) + "' has " +
                             std::to_string(one.size()));
        wire.push_back(static_cast<unsigned char>(one.size()));
        wire.insert(wire.end(), one.begin(), one.end());
    }
    Impl& me = impl();
    me.alpn_ = std::move(wire);
    if (me.protocol_ == Protocol::client) {
        if (SSL_CTX_set_alpn_protos(me.get(), me.alpn_.data(), static_cast<unsigned>(me.alpn_.size())) != 0)
            throw_ssl_error("ssl: cannot set the ALPN protocols", "");
        return;
    }
    SSL_CTX_set_alpn_select_cb(
        me.get(),
        [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* theirs, unsigned their_size,
           void* arg) {
            const auto& ours = static_cast<const Impl*>(arg)->alpn_;
            const int found = SSL_select_next_proto(const_cast<unsigned char**>(out), size, ours.data(),
                                                    static_cast<unsigned>(ours.size()), theirs, their_size);
            return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
        },
        &me);
}

void SSLContext::set_sni_callback(std::function<std::optional<SSLContext>(std::string_view)> callback) {
    Impl& me = impl();
    if (me.protocol_ == Protocol::client)
        throw UsageError(
            "ssl: a client chooses its server's name itself (.server_hostname); the SNI callback is a server's");
    me.sni_ = std::move(callback);
    SSL_CTX_set_tlsext_servername_arg(me.get(), &me);
    SSL_CTX_set_tlsext_servername_callback(
        me.get(), +[](SSL* ssl, int* alert, void* arg) noexcept -> int {
            const auto& sni = static_cast<const Impl*>(arg)->sni_;
            const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            if (!sni || !name) return SSL_TLSEXT_ERR_NOACK;
            try {
                if (const auto other = sni(name)) {
                    keep_alive(ssl, other->context_); // the callbacks of the other one point to it
                    SSL_set_SSL_CTX(ssl, other->impl().get());
                }
                return SSL_TLSEXT_ERR_OK;
            } catch (...) {
                keep_exception(ssl);
                *alert = SSL_AD_UNRECOGNIZED_NAME;
                return SSL_TLSEXT_ERR_ALERT_FATAL;
            }
        });
}

void SSLContext::set_ignore_unexpected_eof(bool on) {
    if (on)
        SSL_CTX_set_options(impl().get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    else
        SSL_CTX_clear_options(impl().get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
}

std::size_t SSLContext::trusted_certificates() const noexcept {
    const auto* objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(impl().get()));
    return static_cast<std::size_t>(sk_X509_OBJECT_num(objects));
}

SSLContext create_default_context(Purpose purpose, const DefaultContextOptions& o) {
    SSLContext context(purpose == Purpose::SERVER_AUTH ? Protocol::client : Protocol::server);
    if (!o.cafile.empty() || !o.capath.empty() || !o.cadata.empty())
        context.load_verify_locations(std::string(o.cafile), std::string(o.capath), std::string(o.cadata));
    else if (purpose == Purpose::SERVER_AUTH)
        context.load_default_certs(purpose);
    return context;
}

SSLContext create_unverified_context() {
    SSLContext context(Protocol::client);
    context.set_check_hostname(false);
    context.set_verify_mode(VerifyMode::none);
    return context;
}

} // namespace sennit::ssl

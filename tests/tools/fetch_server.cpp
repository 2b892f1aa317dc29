#include "fetch_server.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

void must(bool holds, const char* what) {
    if (!holds) throw std::runtime_error(std::string("fetch_server: ") + what);
}

template <auto Free>
struct Freer {
    template <class T>
    void operator()(T* object) const {
        Free(object);
    }
};
using Bio = std::unique_ptr<BIO, Freer<&BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<&EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<&X509_free>>;

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(n)};
}
Bio reader(const std::string& text) { return Bio(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    ::X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = ::X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    must(extension != nullptr, value.c_str());
    ::X509_add_ext(certificate, extension, -1);
    ::X509_EXTENSION_free(extension);
}

} // namespace

Identity make_identity(const IdentityWish& wish) {
    const Key key(wish.rsa_bits > 0 ? EVP_RSA_gen(static_cast<unsigned>(wish.rsa_bits)) : EVP_EC_gen("P-256"));
    const Certificate certificate(::X509_new());
    must(key && certificate, "no key");
    X509* const x = certificate.get();
    ::X509_set_version(x, 2);
    static std::atomic<long> serial{1};
    ::ASN1_INTEGER_set(::X509_get_serialNumber(x), serial++);
    constexpr long day = 24 * 3600;
    ::X509_gmtime_adj(X509_getm_notBefore(x), wish.from_days * day);
    ::X509_gmtime_adj(X509_getm_notAfter(x), wish.to_days * day);
    ::X509_set_pubkey(x, key.get());
    X509_NAME* const name = ::X509_get_subject_name(x);
    ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1, -1, 0);
    Certificate issuer;
    Key issuer_key;
    if (wish.issuer != nullptr) {
        issuer.reset(::PEM_read_bio_X509(reader(wish.issuer->certificate).get(), nullptr, nullptr, nullptr));
        issuer_key.reset(::PEM_read_bio_PrivateKey(reader(wish.issuer->key).get(), nullptr, nullptr, nullptr));
    }
    ::X509_set_issuer_name(x, issuer ? ::X509_get_subject_name(issuer.get()) : name);
    X509* const signer = issuer ? issuer.get() : x;
    if (wish.authority) {
        extend(x, signer, NID_basic_constraints,
               "critical,CA:TRUE" + (wish.path_length >= 0 ? ",pathlen:" + std::to_string(wish.path_length) : ""));
        extend(x, signer, NID_key_usage, "critical,keyCertSign,cRLSign");
    } else {
        extend(x, signer, NID_basic_constraints, "critical,CA:FALSE");
        extend(x, signer, NID_ext_key_usage, wish.usage);
        if (!wish.names.empty()) extend(x, signer, NID_subject_alt_name, wish.names);
    }
    must(::X509_sign(x, issuer_key ? issuer_key.get() : key.get(), wish.sha1 ? ::EVP_sha1() : ::EVP_sha256()) > 0,
         "cannot sign");
    if (wish.tampered) { // another serial number under the same signature
        ::ASN1_INTEGER_set(::X509_get_serialNumber(x), 4711);
        unsigned char* der = nullptr;
        ::i2d_re_X509_tbs(x, &der);
        ::OPENSSL_free(der);
    }
    Identity identity;
    const Bio out(::BIO_new(::BIO_s_mem())), key_out(::BIO_new(::BIO_s_mem()));
    ::PEM_write_bio_X509(out.get(), x);
    ::PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    identity.certificate = text_of(out.get());
    identity.key = text_of(key_out.get());
    return identity;
}

std::size_t TestServer::Request::from() const {
    const std::string range = header("range");
    return range.starts_with("bytes=") ? std::strtoull(range.c_str() + 6, nullptr, 10) : 0;
}

void TestServer::Client::send(std::string_view bytes) {
    while (!bytes.empty() && !gone_) {
        ssize_t n = 0;
        if (tls_ != nullptr)
            n = ::SSL_write(tls_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 16'384)));
        else
            n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) {
            gone_ = true;
            return;
        }
        server_->sent_ += n;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

void TestServer::Client::reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    closing_ = true;
}

void TestServer::Client::wait_until_gone() {
    char byte = 0;
    while (!gone_) {
        pollfd ready{fd_, POLLIN, 0};
        if (::poll(&ready, 1, -1) < 0) continue;
        const ssize_t n = ::recv(fd_, &byte, 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) gone_ = true;
    }
    closing_ = true;
}

TestServer::TestServer(Handler handler, const Identity* identity, const std::string& most_tls)
    : handler_(std::move(handler)) {
    ::signal(SIGPIPE, SIG_IGN); // OpenSSL writes without MSG_NOSIGNAL
    if (identity != nullptr) {
        tls_ = ::SSL_CTX_new(::TLS_server_method());
        ::SSL_CTX_set_security_level(tls_, 0); // bad ones are what it is for
        if (most_tls == "1.1") {
            ::SSL_CTX_set_cipher_list(tls_, "ALL:@SECLEVEL=0");
            SSL_CTX_set_min_proto_version(tls_, TLS1_VERSION);
            SSL_CTX_set_max_proto_version(tls_, TLS1_1_VERSION);
        }
        const Certificate certificate(
            ::PEM_read_bio_X509(reader(identity->certificate).get(), nullptr, nullptr, nullptr));
        const Key key(::PEM_read_bio_PrivateKey(reader(identity->key).get(), nullptr, nullptr, nullptr));
        must(::SSL_CTX_use_certificate(tls_, certificate.get()) == 1 && ::SSL_CTX_use_PrivateKey(tls_, key.get()) == 1,
             "no identity");
        if (!identity->chain.empty()) {
            const Bio chain = reader(identity->chain);
            while (X509* const next = ::PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr))
                SSL_CTX_add_extra_chain_cert(tls_, next);
            ::ERR_clear_error();
        }
    }
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    must(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
             ::listen(listener_, 512) == 0 &&
             ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0,
         "cannot listen");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
}

TestServer::~TestServer() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
        const std::lock_guard guard(lock_);
        for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    ::close(listener_);
    ::SSL_CTX_free(tls_);
}

std::string TestServer::url(const std::string& path, const std::string& host) const {
    return (tls_ != nullptr ? "https://" : "http://") + host + ":" + std::to_string(port_) + path;
}

std::vector<TestServer::Request> TestServer::log() {
    const std::lock_guard guard(lock_);
    return log_;
}

void TestServer::wait_until_idle() {
    std::unique_lock guard(lock_);
    gone_.wait(guard, [this] { // who waits at the listener comes into open_, and goes
        pollfd somebody{listener_, POLLIN, 0};
        return open_.empty() && ::poll(&somebody, 1, 0) == 0;
    });
}

void TestServer::accept_all() {
    for (;;) {
        pollfd somebody{listener_, POLLIN, 0};
        ::poll(&somebody, 1, -1);
        if (stopping_) return;
        const std::lock_guard guard(lock_); // a client waits at the listener or is in open_
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        open_.insert(fd);
        threads_.emplace_back([this, fd] { serve(fd); });
    }
}

bool TestServer::read_request(Client& client, std::string& buffer, Request& request) {
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
        char piece[4096];
        const ssize_t n = client.tls_ != nullptr ? ::SSL_read(client.tls_, piece, sizeof piece)
                                                 : ::recv(client.fd_, piece, sizeof piece, 0);
        if (n <= 0) return false;
        buffer.append(piece, static_cast<std::size_t>(n));
    }
    std::string_view text(buffer.data(), end);
    const std::size_t line_end = std::min(text.find("\r\n"), text.size());
    const std::string_view line = text.substr(0, line_end);
    const std::size_t a = line.find(' '), b = line.rfind(' ');
    request.path = line.substr(a + 1, b - a - 1);
    text.remove_prefix(std::min(line_end + 2, text.size()));
    while (!text.empty()) {
        const std::size_t n = std::min(text.find("\r\n"), text.size());
        const std::string_view header = text.substr(0, n);
        text.remove_prefix(std::min(n + 2, text.size()));
        const std::size_t colon = header.find(':');
        if (colon == std::string_view::npos) continue;
        std::string name(header.substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(), [](char c) { return static_cast<char>(::tolower(c)); });
        request.headers[name] = header.substr(std::min(colon + 2, header.size()));
    }
    buffer.erase(0, end + 4);
    const std::lock_guard guard(lock_);
    request.number = ++seen_[request.path];
    log_.push_back(request);
    ++requests_;
    return true;
}

void TestServer::serve(int fd) {
    Client client;
    client.fd_ = fd;
    client.server_ = this;
    bool open = true;
    if (tls_ != nullptr) {
        client.tls_ = ::SSL_new(tls_);
        ::SSL_set_fd(client.tls_, fd);
        open = ::SSL_accept(client.tls_) == 1;
    }
    std::string buffer;
    while (open && !client.closing_ && !client.gone_) {
        Request request;
        if (!read_request(client, buffer, request)) break;
        handler_(request, client);
    }
    if (client.tls_ != nullptr) {
        if (open && !client.gone_) ::SSL_shutdown(client.tls_);
        ::SSL_free(client.tls_);
        ::ERR_clear_error();
    }
    const std::lock_guard guard(lock_);
    open_.erase(fd);
    ::close(fd);
    gone_.notify_all();
}

std::string head(std::string_view status, std::size_t length, const std::vector<std::string>& headers) {
    std::string text = "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " + std::to_string(length) + "\r\n";
    for (const std::string& line : headers) text += line + "\r\n";
    return text + "\r\n";
}

std::string answer(std::string_view status, std::string_view body, const std::vector<std::string>& headers) {
    return head(status, body.size(), headers).append(body);
}

std::string some_bytes(std::size_t size, unsigned seed) {
    std::string bytes(size, '\0');
    std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (char& c : bytes) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        c = static_cast<char>(state >> 56);
    }
    return bytes;
}

void answer_well(const TestServer::Request& request, TestServer::Client& client, const std::string& body,
                 const std::string& etag) {
    const std::size_t from = request.from();
    if (from > 0 && from < body.size() && request.header("if-range") == etag)
        client.send(answer("206 Partial Content", std::string_view(body).substr(from),
                           {"ETag: " + etag, "Content-Range: bytes " + std::to_string(from) + "-" +
                                                 std::to_string(body.size() - 1) + "/" + std::to_string(body.size())}));
    else
        client.send(answer("200 OK", body, {"ETag: " + etag}));
}

} // namespace sennit::tools

#include "certificates.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace sennit::testing {
namespace {

struct Free {
    void operator()(X509* x) const noexcept { X509_free(x); }
    void operator()(EVP_PKEY* k) const noexcept { EVP_PKEY_free(k); }
    void operator()(BIO* b) const noexcept { BIO_free(b); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

void must(bool holds, const char* what) {
    if (!holds) throw std::runtime_error(std::string("certificate for a test: ") + what);
}

// Removed at the end of the process that made it.
class Folder {
  public:
    Folder() : path_(std::filesystem::temp_directory_path() / ("sennit-tls-" + std::to_string(::getpid()))) {
        std::filesystem::create_directories(path_);
    }
    ~Folder() {
        std::error_code ignored;
        if (owner_ == ::getpid()) std::filesystem::remove_all(path_, ignored);
    }
    std::string write(const std::string& name, const std::string& text) {
        const auto file = path_ / name;
        std::ofstream(file) << text;
        return file.string();
    }

  private:
    std::filesystem::path path_;
    pid_t owner_ = ::getpid();
};

Folder& folder() {
    static Folder it;
    return it;
}

struct Made {
    Owned<X509> x509;
    Owned<EVP_PKEY> key;
    TestCertificate pem;
};

template <class Write>
std::string pem_of(Write write) {
    const Owned<BIO> bio(BIO_new(BIO_s_mem()));
    must(bio && write(bio.get()) == 1, "as PEM");
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

void extend(X509* x, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, x, nullptr, nullptr, 0);
    X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    must(e != nullptr && X509_add_ext(x, e, -1) == 1, value);
    X509_EXTENSION_free(e);
}

constexpr long day = 24L * 60 * 60;

Made make(const std::string& name, const char* hosts, long from, long to, const Made* issuer) {
    static long serial = 1;
    Made made;
    made.key.reset(EVP_EC_gen("P-256"));
    made.x509.reset(X509_new());
    X509* x = made.x509.get();
    must(made.key && x, "out of memory");
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), to);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* const signer = issuer ? issuer->x509.get() : x;
    X509_set_issuer_name(x, X509_get_subject_name(signer));
    X509_set_pubkey(x, made.key.get());
    extend(x, signer, NID_subject_key_identifier, "hash");
    if (issuer) extend(x, signer, NID_authority_key_identifier, "keyid:always");
    extend(x, signer, NID_basic_constraints, hosts ? "critical,CA:FALSE" : "critical,CA:TRUE");
    extend(x, signer, NID_key_usage, hosts ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
    if (hosts && *hosts) extend(x, signer, NID_subject_alt_name, hosts);
    must(X509_sign(x, issuer ? issuer->key.get() : made.key.get(), EVP_sha256()) > 0, "signing");
    made.pem.certificate = pem_of([&](BIO* b) { return PEM_write_bio_X509(b, x); });
    made.pem.key = pem_of(
        [&](BIO* b) { return PEM_write_bio_PrivateKey(b, made.key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
    made.pem.certificate_file = folder().write(name + ".pem", made.pem.certificate);
    made.pem.key_file = folder().write(name + ".key", made.pem.key);
    return made;
}

const Made& root() {
    static const Made it = make("sennit test CA", nullptr, -day, 30 * day, nullptr);
    return it;
}

} // namespace

const TestCertificate& ca() { return root().pem; }
const TestCertificate& good() {
    static const Made it =
        make("good", "DNS:localhost,DNS:*.example.test,IP:127.0.0.1,IP:::1", -day, 30 * day, &root());
    return it.pem;
}
const TestCertificate& expired() {
    static const Made it = make("expired", "DNS:localhost", -30 * day, -day, &root());
    return it.pem;
}
const TestCertificate& not_yet_valid() {
    static const Made it = make("early", "DNS:localhost", 10 * day, 30 * day, &root());
    return it.pem;
}
const TestCertificate& wrong_host() {
    static const Made it = make("wrong host", "DNS:elsewhere.test", -day, 30 * day, &root());
    return it.pem;
}
const TestCertificate& self_signed() {
    static const Made it = make("self-signed", "DNS:localhost", -day, 30 * day, nullptr);
    return it.pem;
}
const TestCertificate& client() {
    static const Made it = make("client", "email:client@example.test", -day, 30 * day, &root());
    return it.pem;
}

} // namespace sennit::testing

// Certificates for tests, made when they are needed.
#pragma once

#include <string>

namespace sennit::testing {

/// A certificate and its key, as PEM, and as files of a folder that lasts as long as the process.
struct TestCertificate {
    std::string certificate; // with those up to its root
    std::string key;
    std::string certificate_file;
    std::string key_file;
};

/// One of each, made once: signed by ca() but for self_signed().
const TestCertificate& ca();
const TestCertificate& good(); // for localhost, *.example.test and 127.0.0.1
const TestCertificate& expired();
const TestCertificate& not_yet_valid();
const TestCertificate& wrong_host();  // for elsewhere.test
const TestCertificate& self_signed(); // for localhost
const TestCertificate& client();

} // namespace sennit::testing

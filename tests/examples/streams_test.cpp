#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <cstdlib>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace sennit {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

std::string example(const std::string& name) { return testing::bin_dir() + "/examples/" + name; }
std::string output_of(Words command) { return subprocess::check_output(command, {.stderr_ = subprocess::STDOUT}); }
double seconds_of(const std::string& line) { return std::stod(line.substr(line.rfind(' ') + 1)); }

TEST(Examples, download_coroutines_take_the_longest_and_not_the_sum) {
    const std::string serial = output_of({example("download_serial")});
    const std::string coroutines = output_of({example("download_coroutines")});
    EXPECT_THAT(coroutines, StartsWith("coroutines: 5 files, 235050 bytes"));
    EXPECT_LT(seconds_of(coroutines), 0.7 * seconds_of(serial));
}

TEST(Examples, gather_sleeps_takes_the_longer_wait) {
    const std::string text = output_of({example("gather_sleeps")});
    EXPECT_THAT(text, StartsWith("short woke\nlong woke\nseconds: "));
    EXPECT_LT(seconds_of(text), 0.6);
}

TEST(Examples, event_driven_server_answers_a_thousand_connections_on_one_thread) {
    for (const char* poller : {"epoll", "io_uring"}) {
        const std::string text = subprocess::check_output(Words{example("event_driven_server"), "1000"},
                                                          {.env = subprocess::Env::inherit(),
                                                           .extra_env = {{"SENNIT_POLLER", poller}},
                                                           .stderr_ = subprocess::STDOUT});
        EXPECT_THAT(text, StartsWith("answered: 1000 of 1000, all open at once")) << poller;
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__clang__) // whose runtimes have threads of their own
        EXPECT_THAT(text, HasSubstr("threads: 1,")) << poller;
#endif
    }
}

TEST(Examples, echo_tls_client_talks_to_its_server_and_to_no_other) {
    if (!std::filesystem::exists(example("echo_server_tls"))) GTEST_SKIP() << "built without OpenSSL";
    const auto folder = std::filesystem::temp_directory_path() / ("sennit-echo-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string certificate = folder / "cert.pem";
    const std::string key = folder / "key.pem";
    output_of({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
               "2", "-subj", "/CN=echo", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
               certificate});
    subprocess::PopenOptions options;
    options.stdout_ = subprocess::PIPE;
    subprocess::Popen server({example("echo_server_tls"), certificate, key}, options);
    std::string port = server.std_out().readline();
    port.pop_back();
    EXPECT_EQ(output_of({example("echo_client_tls"), "localhost", port, "hello", certificate}), "hello\nby TLSv1.3\n");
    const auto refused =
        subprocess::run(Words{example("echo_client_tls"), "localhost", port, "hello"}, {.capture_output = true});
    EXPECT_EQ(refused.returncode, 1);
    EXPECT_THAT(refused.std_err, HasSubstr("'localhost' is refused: self-signed certificate"));
    server.kill();
    server.wait();
    std::filesystem::remove_all(folder);
}

} // namespace
} // namespace sennit

// An HTTP(S) server that does to its clients what a test wants: answers are written byte by byte by the test's function.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

struct ssl_ctx_st;
struct ssl_st;

namespace sennit::tools {

/// A certificate with its key, as PEM; made in the test.
struct Identity {
    std::string certificate, key;
    std::string chain; // certificates to send after it
};
struct IdentityWish {
    std::string common_name = "localhost", names = "DNS:localhost,IP:127.0.0.1"; // empty: no alternative names
    const Identity* issuer = nullptr;                                            // null: it signs itself
    int from_days = -1, to_days = 30;
    bool authority = false;
    int path_length = -1; // of an authority; -1: any
    std::string usage = "serverAuth";
    int rsa_bits = 0; // 0: an elliptic curve
    bool sha1 = false, tampered = false;
};
Identity make_identity(const IdentityWish& wish);

class TestServer {
  public:
    struct Request {
        std::string path;
        std::map<std::string, std::string> headers; // names in lower case
        int number = 0;                             // of the requests for this path, from 1
        [[nodiscard]] std::string header(const std::string& name) const {
            const auto at = headers.find(name);
            return at == headers.end() ? std::string() : at->second;
        }
        /// Where a Range begins; 0 without one.
        [[nodiscard]] std::size_t from() const;
    };
    /// Who asks. What is sent to one who has gone is lost.
    class Client {
      public:
        void send(std::string_view bytes);
        /// Ends the connection, by RST.
        void reset();
        /// Ends the connection after this answer.
        void close() { closing_ = true; }
        /// Waits until the client has gone, or the server ends.
        void wait_until_gone();
        [[nodiscard]] bool gone() const { return gone_; }

      private:
        friend class TestServer;
        int fd_ = -1;
        ssl_st* tls_ = nullptr;
        bool closing_ = false, gone_ = false;
        TestServer* server_ = nullptr;
    };
    using Handler = std::function<void(const Request&, Client&)>;

    explicit TestServer(Handler handler) : TestServer(std::move(handler), nullptr) {}
    /// With TLS. `most_tls` is the newest version it speaks, as "1.1"; empty: any.
    TestServer(Handler handler, const Identity* identity, const std::string& most_tls = {});
    ~TestServer();

    [[nodiscard]] std::string url(const std::string& path, const std::string& host = "127.0.0.1") const;
    [[nodiscard]] std::int64_t sent() const { return sent_; } // bytes, heads included
    /// Waits until all clients have gone; what they were sent is in sent() then, which counts a call when it has returned.
    void wait_until_idle();
    [[nodiscard]] int requests() const { return requests_; }
    [[nodiscard]] std::vector<Request> log();
    [[nodiscard]] bool stopping() const { return stopping_; }

  private:
    void accept_all();
    void serve(int fd);
    bool read_request(Client& client, std::string& buffer, Request& request);

    Handler handler_;
    ssl_ctx_st* tls_ = nullptr;
    int listener_ = -1, port_ = 0;
    std::atomic<bool> stopping_{false};
    std::atomic<std::int64_t> sent_{0};
    std::atomic<int> requests_{0};
    std::mutex lock_;
    std::condition_variable gone_; // somebody has left open_
    std::map<std::string, int> seen_;
    std::vector<Request> log_;
    std::set<int> open_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

/// "HTTP/1.1 200 OK" with Content-Length, the lines given ("ETag: \"a\"") and the body.
std::string answer(std::string_view status, std::string_view body, const std::vector<std::string>& headers = {});
/// The head alone, with a Content-Length of `length`.
std::string head(std::string_view status, std::size_t length, const std::vector<std::string>& headers = {});
/// Bytes that differ from place to place and from `seed` to `seed`.
std::string some_bytes(std::size_t size, unsigned seed = 1);

/// What a good server does: 206 with the rest if Range comes with the right If-Range, else 200.
void answer_well(const TestServer::Request& request, TestServer::Client& client, const std::string& body,
                 const std::string& etag);

} // namespace sennit::tools

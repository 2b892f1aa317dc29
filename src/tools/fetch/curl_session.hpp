#pragma once

#include <sennit/loop/event_loop.hpp>

#include <cstdint>
#include <curl/curl.h>
#include <vector>

namespace sennit::tools {

/// libcurl's transfers, driven by an event loop: it says which sockets and which time it waits for, the loop tells it when one
/// of them has come. No thread is made here, and none waits.
///
/// Agents    The loop's thread.
class CurlSession {
  public:
    /// Who is told that a transfer has ended; the handle is no longer in the session then. Never called from inside
    /// one of libcurl's callbacks.
    class Listener {
      public:
        virtual void transfer_ended(CURL* easy, CURLcode code) = 0;

      protected:
        ~Listener() = default;
    };

    /// `kept` is how many idle connections stay open. Throws Error.
    CurlSession(loop::EventLoop& loop, Listener& listener, long kept);
    CurlSession(const CurlSession&) = delete;
    CurlSession& operator=(const CurlSession&) = delete;
    ~CurlSession();

    /// Options that every handle of the session needs.
    void prepare(CURL* easy);
    /// Starts a transfer. Throws Error.
    void add(CURL* easy);
    /// Ends one; nobody is told. Not from inside a callback of libcurl's.
    void remove(CURL* easy);

  private:
    struct Socket {
        bool wants_in = false, wants_out = false; // libcurl does
        bool reading = false, writing = false;    // the loop does
    };
    static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* of_socket);
    static int on_timer(CURLM* multi, long ms, void* self);
    static int on_close(void* self, curl_socket_t fd);
    void act(curl_socket_t fd, int events);
    void forget(curl_socket_t fd);

    loop::EventLoop& loop_;
    Listener& listener_;
    CURLM* multi_;
    std::vector<Socket> sockets_; // by descriptor
    loop::TimerHandle timer_;
};

} // namespace sennit::tools

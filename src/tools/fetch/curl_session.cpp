// How libcurl and the loop find together.
//
//   libcurl says                       the loop does                       later
//   on_socket: fd, in and/or out       add_reader, add_writer              act(fd, …)
//   on_timer: so many ms               call_later                          act(CURL_SOCKET_TIMEOUT)
//   on_close: fd                       remove_reader, remove_writer        the descriptor is closed
//
// Between two requests on one connection libcurl takes its interest back and declares it again. The reader stays where it is
// meanwhile; only if it is called while nobody wants it, is it taken away. So a connection that is used again costs the kernel
// nothing.
#include "tools/fetch/curl_session.hpp"

#include <sennit/base/errors.hpp>

#include <chrono>
#include <string>
#include <unistd.h>

namespace sennit::tools {
namespace {

void check(CURLMcode code, const char* what) {
    if (code != CURLM_OK) throw Error(std::string("libcurl: ") + what + ": " + ::curl_multi_strerror(code));
}

} // namespace

CurlSession::CurlSession(loop::EventLoop& loop, Listener& listener, long kept)
    : loop_(loop), listener_(listener), multi_(::curl_multi_init()) {
    if (multi_ == nullptr) throw Error("libcurl: out of memory");
    ::curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &on_socket);
    ::curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    ::curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &on_timer);
    ::curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    ::curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kept);
}

CurlSession::~CurlSession() {
    ::curl_multi_cleanup(multi_);
    timer_.cancel();
    for (std::size_t fd = 0; fd < sockets_.size(); ++fd) forget(static_cast<curl_socket_t>(fd));
}

void CurlSession::prepare(CURL* easy) {
    ::curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &on_close);
    ::curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
}

void CurlSession::add(CURL* easy) { check(::curl_multi_add_handle(multi_, easy), "cannot start a transfer"); }
void CurlSession::remove(CURL* easy) { check(::curl_multi_remove_handle(multi_, easy), "cannot end a transfer"); }

int CurlSession::on_socket(CURL*, curl_socket_t fd, int what, void* data, void*) {
    CurlSession& self = *static_cast<CurlSession*>(data);
    const auto index = static_cast<std::size_t>(fd);
    if (index >= self.sockets_.size()) self.sockets_.resize(index + 1);
    Socket& s = self.sockets_[index];
    s.wants_in = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
    s.wants_out = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
    if (s.wants_in && !s.reading) {
        s.reading = true;
        self.loop_.add_reader(fd, [&self, fd] {
            if (self.sockets_[static_cast<std::size_t>(fd)].wants_in) return self.act(fd, CURL_CSELECT_IN);
            self.sockets_[static_cast<std::size_t>(fd)].reading = false;
            self.loop_.remove_reader(fd);
        });
    }
    if (s.wants_out && !s.writing) {
        s.writing = true;
        self.loop_.add_writer(fd, [&self, fd] { self.act(fd, CURL_CSELECT_OUT); });
    } else if (!s.wants_out && s.writing) {
        s.writing = false;
        self.loop_.remove_writer(fd);
    }
    return 0;
}

int CurlSession::on_timer(CURLM*, long ms, void* data) {
    CurlSession& self = *static_cast<CurlSession*>(data);
    self.timer_.cancel();
    if (ms >= 0)
        self.timer_ =
            self.loop_.call_later(std::chrono::milliseconds(ms), [&self] { self.act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
}

void CurlSession::forget(curl_socket_t fd) {
    if (static_cast<std::size_t>(fd) >= sockets_.size()) return;
    Socket& s = sockets_[static_cast<std::size_t>(fd)];
    if (s.reading) loop_.remove_reader(fd);
    if (s.writing) loop_.remove_writer(fd);
    s = Socket();
}

int CurlSession::on_close(void* self, curl_socket_t fd) {
    static_cast<CurlSession*>(self)->forget(fd);
    return ::close(fd);
}

void CurlSession::act(curl_socket_t fd, int events) {
    int running = 0;
    check(::curl_multi_socket_action(multi_, fd, events, &running), "cannot go on");
    int left = 0;
    while (const CURLMsg* message = ::curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL* const easy = message->easy_handle; // `message` is gone with the next call
        const CURLcode code = message->data.result;
        remove(easy);
        listener_.transfer_ended(easy, code);
    }
}

} // namespace sennit::tools

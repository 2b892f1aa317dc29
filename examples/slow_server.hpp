// A server on this machine for the download programs: a connection asks for "NAME MILLISECONDS BYTES\n", and gets so many bytes after
// so long, however many ask at once.
#pragma once

#include <sennit/threading.hpp>

#include <arpa/inet.h>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

struct Download {
    std::string name;
    int milliseconds; // until the server answers
    std::size_t bytes;
};

/// What all download programs fetch: 1 s one after the other, 300 ms at once.
inline const std::vector<Download> downloads{{"Python.pdf", 100, 1'000},
                                             {"nazha.mkv", 300, 200'000},
                                             {"song.mp3", 200, 30'000},
                                             {"photo.jpg", 150, 4'000},
                                             {"notes.txt", 250, 50}};

/// Downloads one file from the server at this port, on the calling thread; gives its number of bytes. From any process.
inline std::size_t fetch_from(int port, const Download& file) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) std::perror("connect");
    const std::string ask =
        file.name + " " + std::to_string(file.milliseconds) + " " + std::to_string(file.bytes) + "\n";
    if (::send(fd, ask.data(), ask.size(), MSG_NOSIGNAL) < 0) std::perror("send");
    std::size_t got = 0;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) got += static_cast<std::size_t>(n);
    ::close(fd);
    return got;
}

class SlowServer {
  public:
    SlowServer() {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
            std::perror("slow server");
            std::exit(1);
        }
        address_ = address;
        acceptor_.start();
    }
    ~SlowServer() {
        ::shutdown(listener_, SHUT_RDWR); // ends accept()
        acceptor_.join();
        ::close(listener_);
    }
    SlowServer(const SlowServer&) = delete;
    SlowServer& operator=(const SlowServer&) = delete;

    /// Downloads one file on the calling thread; gives its number of bytes.
    std::size_t fetch(const Download& file) const { return fetch_from(port(), file); }

    int port() const { return ntohs(address_.sin_port); }

  private:
    void accept_all() {
        std::vector<std::unique_ptr<sennit::threading::Thread>> clients;
        for (int fd = -1; (fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
            clients.push_back(std::make_unique<sennit::threading::Thread>([fd] { serve(fd); }));
            clients.back()->start();
        }
        for (auto& c : clients) c->join();
    }
    static void serve(int fd) {
        std::string ask;
        for (char c = 0; ::read(fd, &c, 1) == 1 && c != '\n';) ask += c;
        char name[64];
        int milliseconds = 0;
        std::size_t bytes = 0;
        if (std::sscanf(ask.c_str(), "%63s %d %zu", name, &milliseconds, &bytes) == 3) {
            std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
            const std::string content(bytes, '*');
            for (std::size_t sent = 0; sent < bytes;) {
                const ssize_t n = ::send(fd, content.data() + sent, bytes - sent, MSG_NOSIGNAL);
                if (n <= 0) break;
                sent += static_cast<std::size_t>(n);
            }
        }
        ::close(fd);
    }
    int listener_ = -1;
    sockaddr_in address_{};
    sennit::threading::Thread acceptor_{[this] { accept_all(); }};
};

/// Runs `all`, which downloads everything and gives the sum of bytes, and prints how long that took.
template <class F>
void report(const char* how, F all) {
    const auto began = std::chrono::steady_clock::now();
    const std::size_t bytes = all();
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    std::printf("%s: %zu files, %zu bytes, seconds: %.3f\n", how, downloads.size(), bytes, took);
}

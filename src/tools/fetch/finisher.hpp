#pragma once

#include <sennit/loop/event_loop.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/queue.hpp>
#include <sennit/threading.hpp>

#include <cstdint>
#include <functional>
#include <openssl/types.h>
#include <string>
#include <vector>

namespace sennit::tools {

/// SHA-256 of files, one after the other.
class Sha256 {
  public:
    Sha256() = default;
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;
    ~Sha256();
    /// That of a file as 64 hexadecimal digits. 0, or an errno.
    int of(int fd, std::string& hex);

  private:
    static constexpr std::size_t piece = 256 * 1024;
    EVP_MD* algorithm_ = nullptr; // all three from the first file on
    EVP_MD_CTX* context_ = nullptr;
    std::vector<char> buffer_;
};

/// What must wait for the disk happens here, on one thread beside the loop's: a file's hash is checked, the file is synced,
/// gets its name, and the folder is synced.
///
/// What has gathered meanwhile is done together: first all begin to be written, then each is waited for, and the folder is
/// synced once. So a thousand small files cost some syncs of the disk and not two thousand.
class Finisher {
  public:
    struct Job {
        std::uint64_t number = 0;
        int folder = -1;
        os::Fd fd;                // of the part; of the file itself if `only_check`
        std::string part, record; // names in the folder; it has none: empty
        std::string name;
        std::string sha256; // wanted; empty: not checked
        bool replace = false;
        bool only_check = false;
    };
    /// stays_nameless: the file system can make a file without a name, but cannot give it one.
    enum class Outcome : std::uint8_t { done, wrong_hash, exists, stays_nameless, failed };
    struct Result {
        std::uint64_t number = 0;
        Outcome outcome = Outcome::done;
        std::string sha256;         // what it is, if it was asked for
        int error = 0;              // with failed
        const char* what = nullptr; // with failed: "synced", "renamed", "read"
    };

    /// `done` is called on the loop's thread.
    Finisher(loop::EventLoop& loop, std::function<void(std::vector<Result>&)> done);
    Finisher(const Finisher&) = delete;
    Finisher& operator=(const Finisher&) = delete;
    /// Waits for what was put in.
    ~Finisher();

    void put(std::vector<Job> jobs);

  private:
    void run();
    void finish(std::vector<Job>& jobs, std::vector<Result>& results);

    loop::EventLoop& loop_;
    std::function<void(std::vector<Result>&)> done_;
    queue::Queue<std::vector<Job>> jobs_;
    Sha256 sha256_; // its thread's
    threading::Thread thread_;
};

} // namespace sennit::tools

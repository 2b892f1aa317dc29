// What the tests of subprocess share.
#pragma once

#include <sennit/os/fd.hpp>

#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sennit::subprocess {

inline int open_descriptors() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return n;
}

/// A file without a name that holds `text`, at its beginning.
inline os::Fd file_with(const std::string& text) {
    char name[] = "/tmp/sennit-subprocess-XXXXXX";
    os::Fd fd(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    if (::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) std::abort();
    return fd;
}

inline std::string content(const os::Fd& file) {
    std::string text(65536, '\0');
    const ssize_t n = ::pread(file.get(), text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
}

/// A folder of its own, removed at the end together with the files made by add().
class TemporaryFolder {
  public:
    TemporaryFolder() { path_ = ::mkdtemp(name_); }
    ~TemporaryFolder() {
        for (const auto& file : files_) ::unlink(file.c_str());
        ::rmdir(path_.c_str());
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }
    std::string add(const std::string& name, const std::string& text, mode_t mode) {
        files_.push_back(path_ + "/" + name);
        const os::Fd fd(::open(files_.back().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
        ::fchmod(fd.get(), mode);
        return files_.back();
    }

  private:
    char name_[32] = "/tmp/sennit-folder-XXXXXX";
    std::string path_;
    std::vector<std::string> files_;
};

/// Puts the standard streams of this process aside, and back at the end, so that a test may close or replace them.
class StandardStreamsAside {
  public:
    StandardStreamsAside() {
        for (int i = 0; i < 3; ++i) kept_[i] = os::duplicate(i, 900);
    }
    ~StandardStreamsAside() { put_back(); }
    StandardStreamsAside(const StandardStreamsAside&) = delete;
    StandardStreamsAside& operator=(const StandardStreamsAside&) = delete;
    void put_back() {
        for (int i = 0; i < 3; ++i) ::dup2(kept_[i].get(), i);
    }

  private:
    os::Fd kept_[3];
};

/// What `call` throws of type E; fails the test when it throws nothing or something else.
template <class E>
std::string thrown(const std::function<void()>& call) {
    try {
        call();
    } catch (const E& e) {
        return e.what();
    } catch (const std::exception& e) {
        return std::string("another exception: ") + e.what();
    }
    return "nothing thrown";
}

} // namespace sennit::subprocess

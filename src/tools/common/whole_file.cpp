#include "tools/common/whole_file.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

constexpr std::size_t gather_bytes = 64 * 1024;

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

} // namespace

WholeFile::WholeFile(std::string path) : path_(std::move(path)) {
    int error = 0;
    struct stat there {};
    if (::stat(path_.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
        direct_ = true;
        fd_ = os::open_file(path_.c_str(), O_WRONLY | O_NOCTTY, error);
        if (!fd_) throw OSError(error, "cannot write the file " + shell_word(path_));
        return;
    }
    fd_ = os::open_file(folder_of(path_).c_str(), O_TMPFILE | O_WRONLY, error);
    if (!fd_ && (error == EOPNOTSUPP || error == EISDIR || error == EINVAL)) {
        part_ = path_ + ".part";
        fd_ = os::open_file(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, error);
        if (!fd_) part_.clear();
    }
    if (!fd_) throw OSError(error, "cannot make the file " + shell_word(path_));
}

WholeFile::~WholeFile() {
    if (!part_.empty()) ::unlink(part_.c_str());
}

void WholeFile::flush() {
    const int error = os::write_all(fd_.get(), buffer_.data(), buffer_.size());
    buffer_.clear();
    if (error != 0) throw OSError(-error, "cannot write the file " + shell_word(path_));
}

void WholeFile::write(std::string_view bytes) {
    buffer_ += bytes;
    if (buffer_.size() >= gather_bytes) flush();
}

void WholeFile::commit() {
    flush();
    if (direct_) return;
    const auto fail = [this](int error) { throw OSError(error, "cannot give the file its name " + shell_word(path_)); };
    if (!part_.empty()) {
        if (::rename(part_.c_str(), path_.c_str()) != 0) fail(errno);
        part_.clear();
        return;
    }
    char self[48];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fd_.get());
    if (::linkat(AT_FDCWD, self, AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
    if (errno != EEXIST) fail(errno);
    // linkat replaces nothing, rename does.
    for (unsigned attempt = 0;; ++attempt) {
        const std::string beside =
            folder_of(path_) + "/.sennit-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
        if (::linkat(AT_FDCWD, self, AT_FDCWD, beside.c_str(), AT_SYMLINK_FOLLOW) != 0) {
            if (errno == EEXIST && attempt < 100) continue;
            fail(errno);
        }
        if (::rename(beside.c_str(), path_.c_str()) == 0) return;
        const int error = errno;
        ::unlink(beside.c_str());
        fail(error);
    }
}

} // namespace sennit::tools

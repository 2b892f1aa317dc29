#include "tools/map/spool.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace sennit::tools {

Spool::Extent Spool::write(std::string_view bytes) {
    const std::string where = "cannot keep the output of jobs in a temporary file in " + directory_;
    if (!file_) {
        int error = 0;
        file_ = os::make_unnamed_file(directory_.c_str(), error);
        if (!file_) throw OSError(error, where + " (TMPDIR names another place)");
    }
    if (const int error = os::write_all_at(file_.get(), bytes.data(), bytes.size(), end_); error != 0)
        throw OSError(-error, where + " (TMPDIR names another place)");
    const Extent extent{end_, static_cast<std::int64_t>(bytes.size())};
    end_ += extent.bytes;
    live_ += extent.bytes;
    return extent;
}

std::size_t Spool::read(const Extent& extent, std::int64_t offset, char* to, std::size_t room) const {
    const std::size_t bytes = std::min(room, static_cast<std::size_t>(extent.bytes - offset));
    if (bytes == 0) return 0;
    const ssize_t n = os::read_at(file_.get(), to, bytes, extent.at + offset);
    if (n <= 0)
        throw OSError(n < 0 ? static_cast<int>(-n) : EIO,
                      "cannot read back the output of a job from its temporary file");
    return static_cast<std::size_t>(n);
}

void Spool::release(const Extent& extent) noexcept {
    if (extent.bytes == 0) return;
    live_ -= extent.bytes;
    // If the file system refuses, nothing but room is lost.
    if (live_ > 0) {
        ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, extent.at, extent.bytes);
    } else if (::ftruncate(file_.get(), 0) == 0) {
        end_ = 0;
    }
}

std::string temporary_directory() {
    const char* named = std::getenv("TMPDIR");
    return named != nullptr && *named != '\0' ? named : "/tmp";
}

} // namespace sennit::tools

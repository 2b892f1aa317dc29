#include "tools/fetch/part_file.hpp"

#include "tools/common/quoting.hpp"
#include "tools/fetch/file_name.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace sennit::tools {
namespace {

constexpr unsigned file_mode = 0666; // the umask takes what it takes

os::Fd open_in(int folder, const std::string& name, int flags, int& error) noexcept {
    for (;;) {
        os::Fd fd(::openat(folder, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, file_mode));
        if (fd || errno != EINTR) {
            error = fd ? 0 : errno;
            return fd;
        }
    }
}

bool is_plain_file(int fd, struct stat& info) noexcept {
    return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1;
}

bool try_lock(int fd) noexcept { return ::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

// Pieces are used again and again: to get one from the system for each file would cost more than to fill it.
std::vector<std::string>& spare_buffers() {
    static std::vector<std::string> buffers;
    return buffers;
}
std::string take_buffer(std::string begun) {
    std::vector<std::string>& spare = spare_buffers();
    if (spare.empty()) {
        begun.reserve(PartFile::piece_bytes);
        return begun;
    }
    std::string buffer = std::move(spare.back());
    spare.pop_back();
    buffer = begun; // keeps its room
    return buffer;
}
void give_back_buffer(std::string& buffer) {
    constexpr std::size_t most = 64;
    if (buffer.capacity() >= PartFile::piece_bytes && spare_buffers().size() < most) {
        buffer.clear();
        spare_buffers().push_back(std::move(buffer));
    }
    buffer = std::string();
}

void make_folders(const std::string& path) {
    for (std::size_t at = 1; at <= path.size(); ++at) {
        if (at < path.size() && path[at] != '/') continue;
        const std::string part = path.substr(0, at);
        if (::mkdir(part.c_str(), 0777) != 0 && errno != EEXIST) {
            const int error = errno;
            throw OSError(error, "cannot make the folder " + shell_word(part));
        }
    }
}

} // namespace

const std::string& boot_id() {
    static const std::string id = [] {
        std::string text = os::read_small_file("/proc/sys/kernel/random/boot_id");
        text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c <= ' '; }), text.end());
        return text.empty() ? std::string("unknown") : text;
    }();
    return id;
}

TargetFolder::TargetFolder(const std::string& path, bool make, std::size_t longest_list)
    : longest_list_(longest_list), path_(path) {
    if (make && !path.empty()) make_folders(path);
    int error = 0;
    fd_ = os::open_file(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY, error);
    if (!fd_) throw OSError(error, "cannot open the folder " + shell_word(path.empty() ? "." : path));
}

std::string TargetFolder::path_of(std::string_view name) const {
    if (path_.empty() || path_ == ".") return std::string(name);
    return path_ + (path_.ends_with('/') ? "" : "/") + std::string(name);
}

bool TargetFolder::lacked(const std::string& name, std::int64_t now_ns) {
    if (listed_ns_ != 0 && now_ns - listed_ns_ > list_is_good_ns) {
        listed_ns_ = 0;
        asked_ = 0;
    }
    if (listed_ns_ == 0) {
        if (too_long_ || ++asked_ <= before_a_list) return false;
        list(now_ns);
        if (listed_ns_ == 0) return false;
    }
    return names_.find(name) == names_.end();
}

os::Fd TargetFolder::open_nameless() noexcept {
    if (!takes_nameless_) return {};
    int error = 0;
    os::Fd fd = open_in(fd_.get(), ".", O_RDWR | O_TMPFILE, error);
    takes_nameless_ = static_cast<bool>(fd);
    return fd;
}

void TargetFolder::list(std::int64_t now_ns) {
    names_.clear();
    too_long_ = true; // or it can't be read: not tried again
    int error = 0;
    os::Fd fd = open_in(fd_.get(), ".", O_RDONLY | O_DIRECTORY, error);
    DIR* const opened = fd ? ::fdopendir(fd.get()) : nullptr;
    if (opened == nullptr) return;
    static_cast<void>(fd.release()); // it is the DIR's
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opened, &::closedir);
    for (;;) {
        errno = 0;
        const dirent* const entry = ::readdir(folder.get());
        if (entry == nullptr) break;
        if (names_.size() == longest_list_) return;
        names_.emplace(entry->d_name);
    }
    if (errno != 0) return;
    too_long_ = false;
    listed_ns_ = now_ns;
}

PartFile::PartFile(TargetFolder& folder, std::string name, std::string url)
    : folder_(folder),
      name_(std::move(name)),
      part_(name_ + std::string(part_suffix)),
      record_file_(name_ + std::string(record_suffix)),
      url_(std::move(url)) {}

PartFile::~PartFile() { give_back_buffer(buffer_); }

os::Fd PartFile::release() {
    give_back_buffer(buffer_);
    return std::move(fd_);
}

std::int64_t PartFile::take_up() {
    int error = 0;
    const os::Fd info = open_in(folder_.fd(), record_file_, O_RDONLY | O_NONBLOCK, error);
    struct stat about {};
    if (!info || !is_plain_file(info.get(), about) || about.st_size > static_cast<off_t>(ResumeRecord::longest))
        return 0;
    std::string text(static_cast<std::size_t>(about.st_size), '\0');
    if (os::read_at(info.get(), text.data(), text.size(), 0) != about.st_size) return 0;
    std::optional<ResumeRecord> record = ResumeRecord::decode(text);
    if (!record || record->url != url_) return 0;

    os::Fd part = open_in(folder_.fd(), part_, O_RDWR | O_NONBLOCK, error);
    if (!part || !is_plain_file(part.get(), about) || !try_lock(part.get())) return 0;
    std::int64_t good = std::min<std::int64_t>(about.st_size, record->length);
    if (record->boot != boot_id()) good = std::min(good, record->synced);
    if (good <= 0 || ::ftruncate(part.get(), good) != 0) return 0;
    fd_ = std::move(part);
    size_ = good;
    record_ = std::move(record);
    record_written_ = true;
    return good;
}

void PartFile::describe(std::int64_t length, std::string etag, std::string modified) {
    if (length <= 0 || (etag.empty() && modified.empty())) {
        record_.reset();
        return;
    }
    record_.emplace();
    record_->url = url_;
    record_->length = length;
    if (etag.empty())
        record_->modified = std::move(modified);
    else
        record_->etag = std::move(etag);
    record_->boot = boot_id();
    if (record_->encode().size() > ResumeRecord::longest) record_.reset();
}

int PartFile::open_new() {
    int error = 0;
    constexpr int flags = O_RDWR | O_CREAT | O_EXCL;
    fd_ = open_in(folder_.fd(), part_, flags, error);
    if (!fd_ && error == EEXIST) {
        // Of an earlier run that ended in the middle, or of one that is under way.
        const os::Fd old = open_in(folder_.fd(), part_, O_RDWR | O_NONBLOCK, error);
        if (!old && error != ENOENT) return error;
        struct stat about {};
        if (old && !is_plain_file(old.get(), about)) return EEXIST;
        if (old && !try_lock(old.get())) return in_use;
        if (old && ::unlinkat(folder_.fd(), part_.c_str(), 0) != 0 && errno != ENOENT) return errno;
        fd_ = open_in(folder_.fd(), part_, flags, error);
        if (!fd_ && error == EEXIST) return in_use;
    }
    if (!fd_) return error;
    if (!try_lock(fd_.get())) {
        fd_.reset();
        return in_use;
    }
    // A record that lies about is not of this file.
    record_written_ = true;
    remove_record();
    size_ = 0;
    return 0;
}

int PartFile::open(bool all) {
    if (fd_) return 0;
    nameless_ = false;
    if (all && size_ == 0 && folder_.lacked_too(part_) && folder_.lacked_too(record_file_)) {
        fd_ = folder_.open_nameless();
        nameless_ = static_cast<bool>(fd_);
    }
    return fd_ ? 0 : open_new();
}

int PartFile::write_record(std::int64_t synced) {
    record_->synced = synced;
    const std::string text = record_->encode(), fresh = record_file_ + "~";
    int error = 0;
    os::Fd fd = open_in(folder_.fd(), fresh, O_WRONLY | O_CREAT | O_EXCL, error);
    if (!fd && error == EEXIST) { // of a run that was killed here
        ::unlinkat(folder_.fd(), fresh.c_str(), 0);
        fd = open_in(folder_.fd(), fresh, O_WRONLY | O_CREAT | O_EXCL, error);
    }
    if (!fd) return error;
    error = -os::write_all(fd.get(), text.data(), text.size());
    if (error == 0 && synced > 0 && ::fdatasync(fd.get()) != 0) error = errno;
    if (error == 0 && ::renameat(folder_.fd(), fresh.c_str(), folder_.fd(), record_file_.c_str()) != 0) error = errno;
    if (error != 0)
        ::unlinkat(folder_.fd(), fresh.c_str(), 0);
    else
        record_written_ = true;
    return error;
}

void PartFile::remove_record() noexcept {
    if (!record_written_) return;
    ::unlinkat(folder_.fd(), record_file_.c_str(), 0);
    record_written_ = false;
}

int PartFile::start_again() {
    buffer_.clear();
    record_.reset();
    remove_record();
    size_ = 0;
    if (nameless_) fd_.reset();
    return fd_ && ::ftruncate(fd_.get(), 0) != 0 ? errno : 0;
}

int PartFile::cut(std::int64_t at) {
    if (at >= size_) {
        buffer_.resize(std::min(buffer_.size(), static_cast<std::size_t>(at - size_)));
        return 0;
    }
    buffer_.clear();
    size_ = at;
    return fd_ && ::ftruncate(fd_.get(), at) != 0 ? errno : 0;
}

int PartFile::write(std::string_view bytes, bool all) {
    if (all && buffer_.empty()) return write_out(bytes, true); // from where they are
    while (!bytes.empty()) {
        if (buffer_.capacity() < piece_bytes) buffer_ = take_buffer(std::move(buffer_));
        const std::size_t n = std::min(bytes.size(), piece_bytes - buffer_.size());
        buffer_ += bytes.substr(0, n);
        bytes.remove_prefix(n);
        if (buffer_.size() >= piece_bytes)
            if (const int error = flush(); error != 0) return error;
    }
    return all ? flush(true) : 0;
}

int PartFile::flush(bool all) {
    const int error = write_out(buffer_, all);
    if (error == 0) buffer_.clear();
    return error;
}

int PartFile::write_out(std::string_view bytes, bool all) {
    if (const int error = open(all); error != 0) return error;
    if (bytes.empty()) return 0;
    if (const int error = os::write_all_at(fd_.get(), bytes.data(), bytes.size(), size_); error != 0) return -error;
    size_ += static_cast<std::int64_t>(bytes.size());
    if (record_ && !record_written_ && !nameless_ && size_ < record_->length) return write_record(0);
    return 0;
}

int PartFile::reserve(std::int64_t length) {
    if (length <= static_cast<std::int64_t>(piece_bytes)) return 0;
    if (const int error = open(false); error != 0) return error;
    for (;;) {
        if (::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, 0, length) == 0) return 0;
        if (errno != EINTR) break;
    }
    return errno == ENOSPC || errno == EFBIG || errno == EDQUOT ? errno : 0; // others: the file system cannot
}

bool PartFile::keep() {
    if (!fd_ && buffer_.empty()) return false;
    if (!record_ || (fd_ && nameless_)) {
        remove();
        return false;
    }
    const std::int64_t before = size_;
    // Without room for the last piece the earlier ones still are worth keeping. Space that was only reserved is given back.
    if (flush() != 0) size_ = before;
    if (!fd_) return false;
    if (size_ == 0 || ::ftruncate(fd_.get(), size_) != 0 || ::fdatasync(fd_.get()) != 0) {
        remove();
        return false;
    }
    // The older record will do if there is no room for a new one.
    if (write_record(size_) != 0 && !record_written_) {
        remove();
        return false;
    }
    fd_.reset();
    return true;
}

void PartFile::remove() {
    if (fd_ && !nameless_) ::unlinkat(folder_.fd(), part_.c_str(), 0);
    fd_.reset();
    remove_record();
    record_.reset();
    buffer_.clear();
    size_ = 0;
}

void PartFile::remove_leftovers() noexcept {
    // With a part there is another run, or one that wanted to replace the file: its record is needed.
    if (::faccessat(folder_.fd(), part_.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) return;
    ::unlinkat(folder_.fd(), record_file_.c_str(), 0);
    ::unlinkat(folder_.fd(), (record_file_ + "~").c_str(), 0);
}

} // namespace sennit::tools

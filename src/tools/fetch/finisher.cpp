#include "tools/fetch/finisher.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <iterator>
#include <openssl/evp.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

constexpr std::size_t most_together = 512, many = 8;

void drop(const Finisher::Job& job) {
    if (!job.part.empty()) ::unlinkat(job.folder, job.part.c_str(), 0);
}

// 0 or an errno. Nothing that is there is replaced, unless it is asked for.
int rename_in(int folder, const std::string& from, const std::string& to, bool replace) {
    if (replace) return ::renameat(folder, from.c_str(), folder, to.c_str()) == 0 ? 0 : errno;
    if (::renameat2(folder, from.c_str(), folder, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    // A file system without it: a second name, which is refused if it exists, and the first one away.
    if (::linkat(folder, from.c_str(), folder, to.c_str(), 0) != 0) return errno;
    return ::unlinkat(folder, from.c_str(), 0) == 0 ? 0 : errno;
}

// The same for a file that has none yet. To name it by its descriptor alone an older kernel wants privileges (ENOENT).
int name_in(int folder, int fd, const std::string& to) {
    if (::linkat(fd, "", folder, to.c_str(), AT_EMPTY_PATH) == 0) return 0;
    if (errno != ENOENT) return errno;
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return ::linkat(AT_FDCWD, path, folder, to.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

int sync_fd(int fd) {
    while (::fsync(fd) != 0)
        if (errno != EINTR) return errno == EINVAL || errno == EROFS ? 0 : errno; // nothing there that could be synced
    return 0;
}

int give_name(const Finisher::Job& job) {
    return job.part.empty() ? name_in(job.folder, job.fd.get(), job.name)
                            : rename_in(job.folder, job.part, job.name, job.replace);
}

} // namespace

Sha256::~Sha256() {
    ::EVP_MD_CTX_free(context_);
    ::EVP_MD_free(algorithm_);
}

int Sha256::of(int fd, std::string& hex) {
    if (algorithm_ == nullptr) algorithm_ = ::EVP_MD_fetch(nullptr, "SHA256", nullptr);
    if (context_ == nullptr) context_ = ::EVP_MD_CTX_new();
    if (buffer_.empty()) buffer_.resize(piece);
    if (algorithm_ == nullptr || context_ == nullptr || ::EVP_DigestInit_ex2(context_, algorithm_, nullptr) != 1)
        return ENOMEM;
    for (std::int64_t at = 0;;) {
        const ssize_t n = os::read_at(fd, buffer_.data(), buffer_.size(), at);
        if (n < 0) return static_cast<int>(-n);
        if (n == 0) break;
        if (::EVP_DigestUpdate(context_, buffer_.data(), static_cast<std::size_t>(n)) != 1) return ENOMEM;
        at += n;
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    if (::EVP_DigestFinal_ex(context_, digest, &bytes) != 1) return ENOMEM;
    hex.clear();
    for (unsigned i = 0; i < bytes; ++i) {
        hex += "0123456789abcdef"[digest[i] >> 4];
        hex += "0123456789abcdef"[digest[i] & 15];
    }
    return 0;
}

Finisher::Finisher(loop::EventLoop& loop, std::function<void(std::vector<Result>&)> done)
    : loop_(loop), done_(std::move(done)), thread_([this] { run(); }) {
    thread_.start();
}

Finisher::~Finisher() {
    jobs_.shutdown();
    thread_.join();
}

void Finisher::put(std::vector<Job> jobs) { jobs_.put(std::move(jobs)); }

void Finisher::run() {
    for (;;) {
        std::vector<Job> jobs;
        try {
            jobs = jobs_.get();
            while (jobs.size() < most_together && !jobs_.empty()) { // nobody else takes from it
                std::vector<Job> more = jobs_.get();
                jobs.insert(jobs.end(), std::move_iterator(more.begin()), std::move_iterator(more.end()));
            }
        } catch (const queue::ShutDown&) {
            if (jobs.empty()) return;
        }
        std::vector<Result> results;
        finish(jobs, results);
        jobs.clear(); // closes the files
        loop_.call_soon_threadsafe([this, all = std::move(results)]() mutable { done_(all); });
    }
}

void Finisher::finish(std::vector<Job>& jobs, std::vector<Result>& results) {
    results.resize(jobs.size());
    const auto fail = [](Result& r, const char* what, int error) {
        r.outcome = Outcome::failed;
        r.what = what;
        r.error = error;
    };
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        Result& r = results[i];
        r.number = jobs[i].number;
        if (!jobs[i].only_check) FAULT_POINT("download.written");
        // So that the fsyncs below do not wait for one file after the other. A hint: they are what counts.
        if (!jobs[i].only_check && jobs.size() > 1 && jobs.size() < many)
            ::sync_file_range(jobs[i].fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
        if (jobs[i].sha256.empty()) continue;
        if (const int error = sha256_.of(jobs[i].fd.get(), r.sha256); error != 0)
            fail(r, "read again", error);
        else if (r.sha256 != jobs[i].sha256)
            r.outcome = Outcome::wrong_hash;
    }
    // Of many files in one file system each fsync would be a flush of the disk; one syncfs is one for all of them (and for
    // what others have written there). It tells of errors since Linux 5.8, but not whose: then each file is asked.
    const bool synced = jobs.size() >= many && ::syncfs(jobs.front().folder) == 0;
    std::vector<int> folders;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        Result& r = results[i];
        Job& job = jobs[i];
        if (job.only_check || r.outcome == Outcome::wrong_hash) {
            if (!job.only_check) drop(job);
        } else if (r.outcome == Outcome::done) {
            const int error = synced ? 0 : sync_fd(job.fd.get());
            FAULT_POINT("download.synced");
            if (error != 0) {
                fail(r, "synced", error);
                drop(job); // what the disk has of it, nobody knows
            } else if (const int named = give_name(job); named != 0) {
                fail(r, "given its name", named);
                if (named == EEXIST)
                    r.outcome = Outcome::exists;
                else if (job.part.empty() && named != ENOSPC && named != EDQUOT)
                    r.outcome = Outcome::stays_nameless;
                drop(job);
            } else if (const int lost = job.part.empty() && !synced ? sync_fd(job.fd.get()) : 0; lost != 0) {
                // What is synced without a name need not be there under the name after a crash: it is synced again.
                fail(r, "named for good", lost);
            } else if (std::find(folders.begin(), folders.end(), job.folder) == folders.end()) {
                folders.push_back(job.folder);
            }
            FAULT_POINT("download.renamed");
        }
        if (!job.record.empty() && !job.only_check) ::unlinkat(job.folder, job.record.c_str(), 0);
    }
    for (const int folder : folders)
        if (const int error = sync_fd(folder); error != 0)
            for (std::size_t i = 0; i < jobs.size(); ++i)
                if (jobs[i].folder == folder && results[i].outcome == Outcome::done && !jobs[i].only_check)
                    fail(results[i], "named for good: its folder could not be synced", error);
}

} // namespace sennit::tools

#include "tools/map/job_log.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

constexpr std::string_view header = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

// A `map` that was killed has a guard which ends its jobs and holds the lock until then.
constexpr std::int64_t lock_patience_ns = 5'000'000'000;

bool parse_line(std::string_view text, JobLog::Line& line) {
    std::string_view field[9];
    for (std::size_t i = 0; i < 8; ++i) {
        const std::size_t tab = text.find('\t');
        if (tab == std::string_view::npos) return false;
        field[i] = text.substr(0, tab);
        text.remove_prefix(tab + 1);
    }
    const auto whole = [](std::string_view digits, auto& value) {
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        return error == std::errc() && end == digits.data() + digits.size();
    };
    int exit_code = 0, signal = 0;
    if (!whole(field[0], line.sequence) || line.sequence == 0 || !whole(field[6], exit_code) ||
        !whole(field[7], signal))
        return false;
    line.failed = exit_code != 0 || signal != 0;
    line.command = text;
    return true;
}

} // namespace

// FNV-1a, 64 bits.
std::uint64_t command_hash(std::string_view command) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : command) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

JobLog::JobLog(std::string path, bool resume) : path_(std::move(path)) {
    int error = 0;
    fd_ = os::open_file(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOCTTY, error);
    if (!fd_) throw OSError(error, "cannot open the job log " + shell_word(path_));
    struct stat info {};
    ::fstat(fd_.get(), &info);
    is_file_ = S_ISREG(info.st_mode);
    if (!is_file_) {
        if (resume) throw UsageError("--resume: the job log " + shell_word(path_) + " is no file");
    } else {
        const auto give_up = base::monotonic_ns() + lock_patience_ns;
        while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) break; // a file system without locks
            if (base::monotonic_ns() > give_up)
                throw UsageError("another sennit map is writing the job log " + shell_word(path_) +
                                 ": wait for it, or name another file");
            os::poll_fds({}, std::chrono::milliseconds(5));
        }
        if (!resume && ::ftruncate(fd_.get(), 0) != 0)
            throw OSError(errno, "cannot empty the job log " + shell_word(path_));
    }
    if (!resume || info.st_size == 0) write(header);
}

void JobLog::read(const std::function<void(const Line&)>& each) {
    std::string buffer;
    std::int64_t at = 0;          // of the file, behind the buffer
    std::int64_t whole_until = 0; // the end of the last whole line
    std::uint64_t number = 0;
    const auto refuse = [this] {
        throw UsageError(shell_word(path_) + " is no job log: its first line is not '" +
                         for_terminal(header.substr(0, header.size() - 1)) + "'");
    };
    for (;;) {
        char piece[64 * 1024];
        const ssize_t n = os::read_at(fd_.get(), piece, sizeof piece, at);
        if (n < 0) throw OSError(static_cast<int>(-n), "cannot read the job log " + shell_word(path_));
        if (n == 0) break;
        at += n;
        buffer.append(piece, static_cast<std::size_t>(n));
        std::size_t begin = 0;
        for (std::size_t end; (end = buffer.find('\n', begin)) != std::string::npos; begin = end + 1) {
            const std::string_view text(buffer.data() + begin, end - begin);
            whole_until += static_cast<std::int64_t>(text.size() + 1);
            Line line;
            if (++number == 1) {
                if (text != header.substr(0, header.size() - 1)) refuse();
            } else if (parse_line(text, line)) {
                each(line);
            } else {
                throw UsageError("line " + std::to_string(number) + " of the job log " + shell_word(path_) +
                                 " is damaged: '" + for_terminal(text, 60) +
                                 "'. Mend or remove the line; its job will run again");
            }
        }
        buffer.erase(0, begin);
    }
    if (buffer.empty()) return;
    if (number == 0 && !header.starts_with(buffer)) refuse(); // somebody's file: not ours to cut
    // The last line has no end: who wrote it was killed. That job runs again.
    if (::ftruncate(fd_.get(), whole_until) != 0)
        throw OSError(errno, "cannot cut the torn last line off the job log " + shell_word(path_));
    if (whole_until == 0) write(header);
}

std::string JobLog::format(const JobRecord& r) {
    char text[160];
    const int length = std::snprintf(
        text, sizeof text, "%llu\t:\t%lld.%03d\t%6lld.%03d\t0\t%lld\t%d\t%d\t",
        static_cast<unsigned long long>(r.sequence), static_cast<long long>(r.start_wall_ms / 1000),
        static_cast<int>(r.start_wall_ms % 1000), static_cast<long long>(r.runtime_ns / 1'000'000'000),
        static_cast<int>(r.runtime_ns / 1'000'000 % 1000), static_cast<long long>(r.out_bytes), r.exit_code, r.signal);
    std::string line(text, static_cast<std::size_t>(length));
    line += r.command;
    line += '\n';
    return line;
}

void JobLog::write(std::string_view line) {
    const ssize_t n = os::write_some(fd_.get(), line.data(), line.size());
    if (n == static_cast<ssize_t>(line.size())) return;
    if (n > 0) { // a full disk: no half line stays
        struct stat info {};
        if (::fstat(fd_.get(), &info) == 0) static_cast<void>(::ftruncate(fd_.get(), info.st_size - n) == 0);
    }
    throw OSError(n < 0 ? static_cast<int>(-n) : ENOSPC, "cannot write the job log " + shell_word(path_));
}

void Resume::add(const JobLog::Line& line) {
    done_.push_back(
        {line.sequence, (command_hash(line.command) & ~std::uint64_t{1}) | (line.failed ? 1 : 0), done_.size()});
}

void Resume::sort() {
    // The last line of a job counts: an earlier run may have failed what a later one did.
    // Not std::stable_sort: in g++ 12's library it calls what C++20 has deprecated, which clang refuses.
    std::sort(done_.begin(), done_.end(), [](const Done& a, const Done& b) {
        return a.sequence != b.sequence ? a.sequence < b.sequence : a.line < b.line;
    });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < done_.size(); ++i) {
        if (kept > 0 && done_[kept - 1].sequence == done_[i].sequence) --kept;
        done_[kept++] = done_[i];
    }
    done_.resize(kept);
}

bool Resume::is_done(std::uint64_t sequence, const std::string* command) {
    while (next_ < done_.size() && done_[next_].sequence < sequence) ++next_;
    if (next_ == done_.size() || done_[next_].sequence != sequence) return false;
    const std::uint64_t hash = done_[next_].hash;
    if (command != nullptr && (command_hash(*command) & ~std::uint64_t{1}) != (hash & ~std::uint64_t{1}))
        throw UsageError(
            "--resume: job " + std::to_string(sequence) + " is now " + for_terminal(*command, 200) +
            ", but the job log has another command for it. The command, the inputs and their order must be as in "
            "the run that is resumed; else begin anew with another --joblog file");
    return !(failed_too_ && (hash & 1) != 0);
}

} // namespace sennit::tools

#include "tools/map/kept_output.hpp"

#include "tools/common/quoting.hpp"
#include "tools/map/job_log.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

// While everything that is in the file has been printed, it may grow to this before it is emptied.
constexpr std::int64_t worth_emptying = 1024 * 1024;
constexpr std::size_t most_digits = 20, numbers_of_a_line = 17, longest_line = numbers_of_a_line * (most_digits + 1);

std::string line_of(const KeptOutput::Entry& e) {
    const JobRecord& r = e.record;
    const std::int64_t numbers[numbers_of_a_line - 1] = {
        static_cast<std::int64_t>(r.sequence),
        r.slot,
        r.attempt,
        r.start_wall_ms,
        r.runtime_ns,
        r.exit_code,
        r.signal,
        r.timed_out ? 1 : 0,
        r.not_started ? 1 : 0,
        r.user_ns,
        r.system_ns,
        r.max_rss_bytes,
        r.out_bytes,
        r.err_bytes,
        e.out_bytes,
        e.err_bytes,
    };
    std::string line = std::to_string(e.hash);
    for (const std::int64_t number : numbers) (line += ' ') += std::to_string(number);
    return line += '\n';
}

// The entry whose line stands at the beginning of `text`; `length` is the line's. False: there is no whole one.
bool parse_line(std::string_view text, KeptOutput::Entry& e, std::size_t& length) {
    const std::size_t newline = text.find('\n');
    if (newline == std::string_view::npos) return false;
    length = newline + 1;
    const char *at = text.data(), *const end = at + newline;
    auto [rest, error] = std::from_chars(at, end, e.hash);
    std::int64_t numbers[numbers_of_a_line - 1];
    for (std::int64_t& number : numbers) {
        if (error != std::errc() || rest == end || *rest != ' ') return false;
        const auto next = std::from_chars(rest + 1, end, number);
        rest = next.ptr;
        error = next.ec;
    }
    if (error != std::errc() || rest != end) return false;
    JobRecord& r = e.record;
    const std::int64_t* n = numbers;
    r.sequence = static_cast<std::uint64_t>(*n++);
    r.slot = static_cast<unsigned>(*n++);
    r.attempt = static_cast<unsigned>(*n++);
    r.start_wall_ms = *n++;
    r.runtime_ns = *n++;
    r.exit_code = static_cast<int>(*n++);
    r.signal = static_cast<int>(*n++);
    r.timed_out = *n++ != 0;
    r.not_started = *n++ != 0;
    r.user_ns = *n++;
    r.system_ns = *n++;
    r.max_rss_bytes = *n++;
    r.out_bytes = *n++;
    r.err_bytes = *n++;
    e.out_bytes = *n++;
    e.err_bytes = *n++;
    return r.sequence > 0 && e.out_bytes >= 0 && e.err_bytes >= 0;
}

} // namespace

KeptOutput::KeptOutput(std::string path, bool resume) : path_(std::move(path)) {
    if (resume)
        read();
    else
        ::unlink(path_.c_str());
}

KeptOutput::~KeptOutput() {
    if (fd_ && kept_.empty()) ::unlink(path_.c_str());
}

void KeptOutput::read() {
    int error = 0;
    fd_ = os::open_file(path_.c_str(), O_RDWR | O_NOFOLLOW, error);
    if (!fd_) {
        if (error == ENOENT) return;
        throw OSError(error,
                      "cannot open " + shell_word(path_) + ", where an earlier run kept what it had not printed");
    }
    char piece[longest_line];
    for (;;) {
        const ssize_t n = os::read_at(fd_.get(), piece, sizeof piece, end_);
        if (n < 0) throw OSError(static_cast<int>(-n), "cannot read " + shell_word(path_));
        Entry entry;
        std::size_t length = 0;
        if (!parse_line({piece, static_cast<std::size_t>(n)}, entry, length)) break;
        entry.at = end_ + static_cast<std::int64_t>(length);
        const std::int64_t last = entry.at + entry.out_bytes + entry.err_bytes;
        char newline = 0;
        if (last < entry.at || os::read_at(fd_.get(), &newline, 1, last) != 1 || newline != '\n') break; // torn
        end_ = last + 1;
        kept_[entry.record.sequence] = entry;
    }
    if (::ftruncate(fd_.get(), end_) != 0) throw OSError(errno, "cannot cut the torn end off " + shell_word(path_));
}

bool KeptOutput::write(const Capture& capture) {
    Capture::Reader reader(capture);
    char piece[64 * 1024];
    while (const std::size_t n = reader.read(piece, sizeof piece)) {
        if (os::write_all_at(fd_.get(), piece, n, end_) != 0) return false;
        end_ += static_cast<std::int64_t>(n);
    }
    return true;
}

void KeptOutput::add(const JobRecord& record, const Capture& out, const Capture& err) {
    if (!fd_) {
        int error = 0;
        fd_ = os::open_file(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, error);
        if (!fd_) return;
    }
    if (kept_.empty() && end_ > worth_emptying && ::ftruncate(fd_.get(), 0) == 0) end_ = 0;
    Entry entry;
    entry.record = record;
    entry.record.inputs = {};
    entry.record.command = {};
    entry.hash = command_hash(record.command);
    entry.out_bytes = out.size();
    entry.err_bytes = err.size();
    const std::int64_t before = end_;
    std::string text = line_of(entry);
    entry.at = end_ + static_cast<std::int64_t>(text.size());
    bool whole = true;
    if (out.in_memory() && err.in_memory()) { // one system call
        text += out.memory();
        text += err.memory();
        text += '\n';
        whole = os::write_all_at(fd_.get(), text.data(), text.size(), end_) == 0;
        end_ += static_cast<std::int64_t>(text.size());
    } else {
        whole = os::write_all_at(fd_.get(), text.data(), text.size(), end_) == 0;
        end_ = entry.at;
        whole = whole && write(out) && write(err) && os::write_all_at(fd_.get(), "\n", 1, end_) == 0;
        ++end_;
    }
    if (whole) {
        kept_[record.sequence] = entry;
    } else {
        end_ = before;
        static_cast<void>(::ftruncate(fd_.get(), end_) == 0);
    }
}

void KeptOutput::drop(std::uint64_t sequence) noexcept {
    if (!kept_.empty()) kept_.erase(sequence);
}

const KeptOutput::Entry* KeptOutput::find(std::uint64_t sequence, const std::string* command) const {
    if (kept_.empty()) return nullptr;
    const auto found = kept_.find(sequence);
    if (found == kept_.end()) return nullptr;
    if (command != nullptr && command_hash(*command) != found->second.hash) return nullptr;
    return &found->second;
}

void KeptOutput::load(std::int64_t at, std::int64_t bytes, Capture& to) const {
    char piece[64 * 1024];
    while (bytes > 0) {
        const auto room = static_cast<std::size_t>(std::min<std::int64_t>(bytes, sizeof piece));
        const ssize_t n = os::read_at(fd_.get(), piece, room, at);
        if (n <= 0) throw OSError(n < 0 ? static_cast<int>(-n) : EIO, "cannot read " + shell_word(path_));
        to.append({piece, static_cast<std::size_t>(n)});
        at += n;
        bytes -= n;
    }
}

void KeptOutput::load(const Entry& entry, Capture& out, Capture& err) const {
    load(entry.at, entry.out_bytes, out);
    load(entry.at + entry.out_bytes, entry.err_bytes, err);
}

} // namespace sennit::tools

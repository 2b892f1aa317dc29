#pragma once

#include "tools/fetch/resume_record.hpp"

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

namespace sennit::tools {

/// A folder that files are fetched into, held open: whatever happens to its name, files stay in it.
class TargetFolder {
  public:
    /// Opens it; makes it, and those above it, if `make`. Throws OSError.
    TargetFolder(const std::string& path, bool make, std::size_t longest_list = 16'384);
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// The name with the folder before it, for people; the name alone in the working directory.
    [[nodiscard]] std::string path_of(std::string_view name) const;
    /// Whether surely nothing of that name was there at some time in the last second. False is no answer.
    ///
    /// To ask the system for each of many names waits, each time, for the finished files that get their names in the folder
    /// meanwhile; so who asks often is answered from a list of it, if that is not too long.
    [[nodiscard]] bool lacked(const std::string& name, std::int64_t now_ns);
    /// lacked() of a name that is asked for because another one has been a moment ago: no reason for a list.
    [[nodiscard]] bool lacked_too(const std::string& name) const {
        return listed_ns_ != 0 && names_.find(name) == names_.end();
    }

    /// A new file without a name (O_TMPFILE), or none: not every file system has them. It costs less than one that gets a name, is
    /// locked, and gets another name.
    [[nodiscard]] os::Fd open_nameless() noexcept;
    /// There will be none from now on.
    void name_all() noexcept { takes_nameless_ = false; }

  private:
    void list(std::int64_t now_ns);
    static constexpr unsigned before_a_list = 32; // questions that are answered by false
    static constexpr std::int64_t list_is_good_ns = 1'000'000'000;

    const std::size_t longest_list_;
    std::string path_;
    os::Fd fd_;
    std::unordered_set<std::string> names_;
    std::int64_t listed_ns_ = 0; // 0: not
    unsigned asked_ = 0;
    bool too_long_ = false;
    bool takes_nameless_ = true; // until it is tried
};

/// A file while it is fetched: NAME.part, and beside it what --resume needs to know, NAME.part-info.
///
/// What comes is gathered in memory and written in large pieces, so a small file is written at once, and only when the
/// server has sent all of it. NAME.part is made with O_EXCL and is locked as long as it is open: two runs never write one file.
/// The record is written when the file is longer than a piece and the server gave it a strong validator.
///
/// What is written in one piece needs no NAME.part, and has none where the folder surely lacks one: it stays without a name until it
/// is finished, and is gone with the process that is killed before.
///
/// Agents    One. Errors of the system come back as an errno.
/// Lifetime  Dropped without finish or keep(), as in a kill, everything that was flushed stays where it is.
class PartFile {
  public:
    static constexpr std::size_t piece_bytes = 256 * 1024;

    /// `url` without user and password.
    PartFile(TargetFolder& folder, std::string name, std::string url);
    PartFile(const PartFile&) = delete;
    PartFile& operator=(const PartFile&) = delete;
    ~PartFile();

    /// Takes what an earlier run has left, if that can be gone on with: there is a record, of this URL, with a validator, and
    /// the bytes are surely those that came. How many bytes there are; 0 when there is nothing to go on with.
    std::int64_t take_up();
    /// The record, after take_up() or describe().
    [[nodiscard]] const std::optional<ResumeRecord>& record() const noexcept { return record_; }
    /// What the server says about the file. `etag` or `modified` is strong or empty; without either, or without a length, an
    /// unfinished file cannot be resumed.
    void describe(std::int64_t length, std::string etag, std::string modified);

    /// Everything so far is thrown away. 0 or an errno.
    int start_again();
    /// Bytes from `at` on are thrown away.
    int cut(std::int64_t at);
    /// Appends. With `all` these are the last ones, and everything is written. 0 or an errno.
    int write(std::string_view bytes, bool all = false);
    /// How long the file is by now.
    [[nodiscard]] std::int64_t size() const noexcept { return size_ + static_cast<std::int64_t>(buffer_.size()); }
    /// Writes what is gathered. With `all` nothing is to follow. 0 or an errno.
    int flush(bool all = false);
    /// Takes the space for a file so long, if that is known and much. 0, or why it can't be had: ENOSPC, EFBIG.
    int reserve(std::int64_t length);

    /// It stays unfinished: what can be resumed later is synced and kept, what cannot be is removed. True when it was kept.
    bool keep();
    /// Removes it.
    void remove();
    /// The file is there whole, under its name: what a run that was killed right after that has left beside it goes.
    void remove_leftovers() noexcept;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& part_name() const noexcept { return part_; }
    [[nodiscard]] bool is_nameless() const noexcept { return nameless_; }
    [[nodiscard]] const std::string& record_name() const noexcept { return record_file_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool has_record_file() const noexcept { return record_written_; }
    /// It is finished by others from now on: who takes it closes it.
    os::Fd release();
    /// Where errors of open() come from: another process that fetches the same file.
    static constexpr int in_use = -1;

  private:
    int open_new();
    int open(bool all);
    int write_out(std::string_view bytes, bool all);
    int write_record(std::int64_t synced);
    void remove_record() noexcept;

    TargetFolder& folder_;
    std::string name_, part_, record_file_, url_;
    os::Fd fd_;
    std::string buffer_;
    std::int64_t size_ = 0; // of what is written
    std::optional<ResumeRecord> record_;
    bool record_written_ = false, nameless_ = false;
};

/// Which boot of the machine this is: bytes that were written but not synced outlive a process, not a boot.
const std::string& boot_id();

} // namespace sennit::tools

#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sennit::tools {

/// A place on disk for output that is too much to keep in memory: one file without a name, which goes with the process however
/// that ends. All jobs share it, so it costs one descriptor.
class Spool {
  public:
    struct Extent {
        std::int64_t at = 0, bytes = 0;
    };
    /// Above this, output of one job goes to disk, ...
    static constexpr std::size_t memory_of_one = 64 * 1024;
    /// ... and above this of all together.
    static constexpr std::size_t memory_of_all = 32 * 1024 * 1024;

    /// The file is made when it is needed, in `directory`.
    explicit Spool(std::string directory) : directory_(std::move(directory)) {}

    /// Throws OSError (a full disk among others); nothing is stored then.
    Extent write(std::string_view bytes);
    /// Reads up to `room` bytes of `extent`, from `offset` on. Throws OSError.
    std::size_t read(const Extent& extent, std::int64_t offset, char* to, std::size_t room) const;
    /// Gives the place back to the disk.
    void release(const Extent& extent) noexcept;

    /// Kept by the captures: what they hold in memory.
    std::size_t memory_used = 0;

    [[nodiscard]] std::int64_t bytes_on_disk() const noexcept { return live_; }

  private:
    std::string directory_;
    os::Fd file_;
    std::int64_t end_ = 0, live_ = 0;
};

/// $TMPDIR, or /tmp.
std::string temporary_directory();

} // namespace sennit::tools

#pragma once

#include <sennit/os/fd.hpp>

#include <string>
#include <string_view>

namespace sennit::tools {

/// A file that appears under its name only when it is whole: until commit() it has no name, and however the process ends
/// before, nothing of it stays. Where the file system has no nameless files it is NAME.part until then. What is there already and
/// is no regular file (/dev/stdout, a pipe) is written directly.
class WholeFile {
  public:
    /// Throws OSError.
    explicit WholeFile(std::string path);
    WholeFile(WholeFile&&) noexcept = default;
    WholeFile& operator=(WholeFile&&) = delete;
    ~WholeFile();

    /// Appends; gathers small pieces. Throws OSError.
    void write(std::string_view bytes);
    /// Gives it its name; what was there before is replaced. Throws OSError.
    void commit();

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    void flush();
    std::string path_, part_, buffer_;
    bool direct_ = false;
    os::Fd fd_;
};

} // namespace sennit::tools

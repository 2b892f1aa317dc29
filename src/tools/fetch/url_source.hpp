#pragma once

#include "tools/common/record_reader.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sennit::tools {

/// The URLs of a run, in order: those of the command line, then the lines of each list. Lists are read as they are needed, so one
/// may be a pipe without end.
class UrlSource {
  public:
    enum class State : std::uint8_t { ready, need_data, end };

    /// Opens the lists. Throws OSError, UsageError.
    UrlSource(std::vector<std::string> urls, const std::vector<std::string>& lists, char separator);

    /// The next one, without the blanks around it.
    State next(std::string& url);
    /// After need_data: reads a piece. Blocks unless the descriptor is ready or a file. Throws OSError.
    void read() { lists_[list_]->fill(); }
    [[nodiscard]] int fd() const noexcept { return lists_[list_]->fd(); }

  private:
    std::vector<std::string> urls_;
    std::vector<std::unique_ptr<RecordReader>> lists_;
    std::size_t url_ = 0, list_ = 0;
};

} // namespace sennit::tools

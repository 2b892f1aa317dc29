// What the readers of streams throw.
#pragma once

#include <sennit/base/errors.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

namespace sennit::asyncio {

/// The stream ended before what was asked for had come whole.      Python: asyncio.IncompleteReadError
class IncompleteReadError : public Error {
  public:
    IncompleteReadError(std::string partial, std::optional<std::size_t> expected);
    /// What had come. It has been taken out of the stream.
    [[nodiscard]] const std::string& partial() const noexcept { return *partial_; }
    /// How many bytes were asked for; empty when a separator was.
    [[nodiscard]] std::optional<std::size_t> expected() const noexcept { return expected_; }

  private:
    std::shared_ptr<const std::string> partial_; // shared: copying an exception must not throw
    std::optional<std::size_t> expected_;
};

/// No separator within the stream's limit.      Python: asyncio.LimitOverrunError
///
/// After readuntil the data is still there: read it, read(e.consumed()) skips what was searched.
class LimitOverrunError : public Error {
  public:
    LimitOverrunError(const std::string& what, std::size_t consumed) : Error(what), consumed_(consumed) {}
    /// How many bytes hold no separator.
    [[nodiscard]] std::size_t consumed() const noexcept { return consumed_; }

  private:
    std::size_t consumed_;
};

} // namespace sennit::asyncio

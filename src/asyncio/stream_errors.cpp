#include <sennit/asyncio/stream_errors.hpp>

#include <utility>

namespace sennit::asyncio {
namespace {

std::string sentence(std::size_t got, std::optional<std::size_t> expected) {
    std::string text = "the stream ended after " + std::to_string(got);
    if (expected)
        text += " of the " + std::to_string(*expected) + " bytes asked for";
    else
        text += " bytes, without the separator asked for";
    return text + "; partial() has them";
}

} // namespace

IncompleteReadError::IncompleteReadError(std::string partial, std::optional<std::size_t> expected)
    : Error(sentence(partial.size(), expected)),
      partial_(std::make_shared<const std::string>(std::move(partial))),
      expected_(expected) {}

} // namespace sennit::asyncio

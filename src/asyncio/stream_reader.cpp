#include <sennit/asyncio/stream_reader.hpp>

#include "stream_core.hpp"
#include <sennit/base/errors.hpp>

#include <utility>

namespace sennit::asyncio {

using What = detail::ReadOp::What;

StreamReader::StreamReader(std::shared_ptr<StreamCore> core) noexcept : core_(std::move(core)) {}

StreamReader& StreamReader::operator=(StreamReader&& other) noexcept {
    if (this != &other) {
        const StreamReader old = std::move(*this);
        core_ = std::move(other.core_);
    }
    return *this;
}

StreamReader::~StreamReader() {
    if (core_ && core_->kind() == StreamCore::Kind::read_pipe) core_->close();
}

const std::shared_ptr<StreamCore>& StreamReader::core(const char* call) const {
    if (!core_) throw UsageError(std::string(call) + ": this reader was moved from, or never opened");
    return core_;
}

StreamReader::Read StreamReader::read(std::ptrdiff_t n, Deadline deadline) {
    const bool all = n < 0;
    return Read(deadline, core("read"), all ? What::all : What::some, all ? 0 : static_cast<std::size_t>(n));
}
StreamReader::Read StreamReader::readline(Deadline deadline) {
    return Read(deadline, core("readline"), What::line, std::size_t{0});
}
StreamReader::Read StreamReader::readexactly(std::size_t n, Deadline deadline) {
    return Read(deadline, core("readexactly"), What::exactly, n);
}
StreamReader::Read StreamReader::readuntil(Separators separators, Deadline deadline) {
    return Read(deadline, core("readuntil"), std::move(separators));
}
bool StreamReader::at_eof() const noexcept { return !core_ || core_->in.at_eof(); }

} // namespace sennit::asyncio

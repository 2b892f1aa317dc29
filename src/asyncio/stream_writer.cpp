#include <sennit/asyncio/stream_writer.hpp>

#include "stream_core.hpp"
#include <sennit/base/errors.hpp>
#include <sennit/os/socket_setup.hpp>

#include <chrono>
#include <utility>

namespace sennit::asyncio {

using What = detail::WriteOp::What;

StreamWriter::StreamWriter(std::shared_ptr<StreamCore> core) noexcept : core_(std::move(core)) {}

StreamWriter& StreamWriter::operator=(StreamWriter&& other) noexcept {
    if (this != &other) {
        const StreamWriter old = std::move(*this);
        core_ = std::move(other.core_);
    }
    return *this;
}

StreamWriter::~StreamWriter() {
    if (core_) core_->close();
}

const std::shared_ptr<StreamCore>& StreamWriter::core(const char* call) const {
    if (!core_) throw UsageError(std::string(call) + ": this writer was moved from, or never opened");
    return core_;
}

void StreamWriter::write(std::string_view data) {
    core("write")->check_loop("write");
    core_->write(data);
}

namespace {
template <class Lines>
std::string joined(const Lines& lines) {
    std::size_t bytes = 0;
    for (const auto& one : lines) bytes += one.size();
    std::string all;
    all.reserve(bytes);
    for (const auto& one : lines) all += one;
    return all;
}
} // namespace

void StreamWriter::writelines(std::span<const std::string> lines) { write(joined(lines)); }
void StreamWriter::writelines(std::span<const std::string_view> lines) { write(joined(lines)); }

StreamWriter::Wait StreamWriter::drain(Deadline deadline) { return Wait(deadline, core("drain"), What::drain); }
StreamWriter::Wait StreamWriter::flush(Deadline deadline) { return Wait(deadline, core("flush"), What::flush); }
StreamWriter::Wait StreamWriter::wait_closed(Deadline deadline) {
    return Wait(deadline, core("wait_closed"), What::closed);
}
void StreamWriter::set_write_buffer_limits(std::size_t high, std::size_t low) {
    core("set_write_buffer_limits")->set_limits(high, low);
}
std::size_t StreamWriter::get_write_buffer_size() const { return core("get_write_buffer_size")->pending(); }

void StreamWriter::close() {
    core("close")->check_loop("close");
    core_->close();
}
void StreamWriter::abort() {
    core("abort")->check_loop("abort");
    core_->abort();
}
bool StreamWriter::is_closing() const noexcept { return !core_ || core_->is_closing(); }
bool StreamWriter::can_write_eof() const noexcept { return core_ && core_->can_write_eof(); }
void StreamWriter::write_eof() {
    core("write_eof")->check_loop("write_eof");
    core_->write_eof();
}

Deadline StreamWriter::default_handshake_timeout() { return std::chrono::seconds(60); }

sync::Awaitable<detail::HandshakeOp>
StreamWriter::start_tls(const TlsContextRef& context, std::string_view server_hostname, Deadline handshake_timeout) {
    core("start_tls")->check_loop("start_tls");
    const auto tls = context.get();
    if (!tls) throw UsageError("start_tls: no context; pass an ssl::SSLContext");
    if (core_->tls()) throw UsageError("start_tls: " + core_->what() + " speaks TLS already");
    if (core_->has_reader()) throw UsageError("start_tls: a coroutine reads from " + core_->what());
    if (core_->kind() != StreamCore::Kind::socket)
        throw UsageError("start_tls: a pipe has one direction; TLS needs two");
    core_->begin_tls(tls->make_engine(tls->side(), std::string(server_hostname)));
    return sync::Awaitable<detail::HandshakeOp>(handshake_timeout, core_);
}

TlsInfo StreamWriter::tls() const {
    const TlsEngine* const engine = core("tls")->tls();
    return engine ? engine->info() : TlsInfo();
}

int StreamWriter::fileno() const noexcept { return core_ ? core_->fd() : -1; }

std::string StreamWriter::get_extra_info(std::string_view name) const {
    const StreamCore& c = *core("get_extra_info");
    if (name == "socket" || name == "pipe") return c.fd() < 0 ? std::string() : std::to_string(c.fd());
    if (name == "peername") return c.fd() < 0 ? std::string() : os::peer_address(c.fd()).to_string();
    if (name == "sockname") return c.fd() < 0 ? std::string() : os::local_address(c.fd()).to_string();
    const TlsInfo info = tls();
    if (name == "ssl_object") return info.version;
    if (name == "cipher") return info.cipher;
    if (name == "alpn") return info.alpn;
    if (name == "server_hostname") return info.server_name;
    if (name == "peercert") return info.peercert;
    return {};
}

} // namespace sennit::asyncio

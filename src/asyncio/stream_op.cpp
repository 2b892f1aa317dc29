#include <sennit/asyncio/stream_op.hpp>

#include "stream_core.hpp"
#include <sennit/base/errors.hpp>
#include <sennit/wait/agent.hpp>

namespace sennit::asyncio::detail {
namespace {

constinit const wait::WaitSite read_site{"StreamReader", "read"};
constinit const wait::WaitSite drain_site{"StreamWriter", "drain"};
constinit const wait::WaitSite closed_site{"StreamWriter", "wait_closed"};
constinit const wait::WaitSite handshake_site{"StreamWriter", "start_tls"};

} // namespace

StreamOp::StreamOp(std::shared_ptr<StreamCore> core, const wait::WaitSite& site, bool reads) noexcept
    : Wait(core.get(), site), core_(std::move(core)), reads_(reads) {}

bool StreamOp::try_now(Deadline deadline) {
    core_->check_loop(reads_ ? "StreamReader" : "StreamWriter");
    if (reads_ && core_->has_reader())
        throw UsageError("StreamReader: two coroutines read from " + core_->what() +
                         " at the same time; which would get what? Let one read, or take a Lock");
    if (attempt()) return true;
    if (!deadline.is_poll()) return false;
    end_ = wait::Outcome::timed_out;
    return true;
}

bool StreamOp::step() noexcept {
    end_ = outcome();
    if (end_ == wait::Outcome::timed_out || end_ == wait::Outcome::cancelled) {
        if (linked()) base::IntrusiveList::remove(*this);
        return true;
    }
    try {
        if (end_ == wait::Outcome::woken && attempt()) return true;
        ask();
    } catch (...) {
        error_ = std::current_exception();
        return true;
    }
    arm();
    core_->link(*this, reads_);
    return false;
}

void StreamOp::check(wait::Agent& me, const char* late) {
    if (error_) std::rethrow_exception(error_);
    if (end_ == wait::Outcome::cancelled) me.throw_cancelled();
    if (end_ == wait::Outcome::timed_out) throw TimeoutError(std::string(late) + " (" + core_->what() + ')');
}

// ---- reading

ReadOp::ReadOp(std::shared_ptr<StreamCore> core, What what, std::size_t n)
    : StreamOp(std::move(core), read_site, true), what_(what), n_(n) {}

ReadOp::ReadOp(std::shared_ptr<StreamCore> core, Separators separators)
    : StreamOp(std::move(core), read_site, true), what_(What::until), separators_(std::move(separators)) {}

bool ReadOp::attempt() {
    StreamBuffer& in = core_->in;
    switch (what_) {
    case What::some:
        result_ = in.take_some(n_);
        break;
    case What::all:
        result_ = in.take_all();
        break;
    case What::exactly:
        result_ = in.take_exactly(n_);
        break;
    case What::until:
        result_ = in.take_until(*separators_, search_);
        break;
    case What::line:
        result_ = in.take_line(search_);
        break;
    }
    if (result_) return true;
    if (const std::exception_ptr error = core_->read_error()) std::rethrow_exception(error);
    return false;
}

void ReadOp::ask() { core_->receive(); }

std::string ReadOp::finish(wait::Agent& me) {
    check(me, "nothing, or not enough, has come in time; what has can still be read");
    return std::move(*result_);
}

// ---- writing

WriteOp::WriteOp(std::shared_ptr<StreamCore> core, What what)
    : StreamOp(std::move(core), what == What::closed ? closed_site : drain_site, false), what_(what) {}

bool WriteOp::attempt() {
    if (what_ == What::closed) {
        if (!core_->is_closed()) return false;
        if (const std::exception_ptr error = core_->lost()) std::rethrow_exception(error);
        return true;
    }
    if (const std::exception_ptr error = core_->write_error()) std::rethrow_exception(error);
    if (core_->is_closed()) throw InvalidStateError("drain: " + core_->what() + " is closed");
    return what_ == What::drain ? !core_->paused() : core_->pending() == 0;
}

void WriteOp::finish(wait::Agent& me) {
    check(me, what_ == What::closed ? "the stream did not close in time; abort() closes it now"
                                    : "the other side did not take in time what was written");
}

// ---- TLS

HandshakeOp::HandshakeOp(std::shared_ptr<StreamCore> core) : StreamOp(std::move(core), handshake_site, true) {}

bool HandshakeOp::attempt() {
    try {
        return core_->shake_hands();
    } catch (...) {
        core_->abort_after_sending(std::current_exception());
        throw;
    }
}

void HandshakeOp::ask() { core_->receive(); }

void HandshakeOp::finish(wait::Agent& me) {
    try {
        check(me, "the TLS handshake took too long");
    } catch (...) {
        core_->abort_after_sending(std::current_exception());
        throw;
    }
}

} // namespace sennit::asyncio::detail

#include "stream_core.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/socket.hpp>
#include <sennit/os/socket_setup.hpp>
#include <sennit/wait/agent.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>

namespace sennit::asyncio {
namespace {

constexpr std::size_t least_receive = 4096;
constexpr std::size_t most_receive = std::size_t{1} << 16;
constexpr std::size_t default_high = std::size_t{1} << 16;
constexpr std::size_t kept_capacity = std::size_t{1} << 14; // of a buffer that is empty
constexpr std::chrono::seconds farewell_timeout{30};

loop::Operation::Kind receive_kind(StreamCore::Kind kind) {
    return kind == StreamCore::Kind::socket ? loop::Operation::Kind::recv : loop::Operation::Kind::read;
}
// A pipe: the write itself is made here, where SIGPIPE can be held off.
loop::Operation::Kind send_kind(StreamCore::Kind kind) {
    return kind == StreamCore::Kind::socket ? loop::Operation::Kind::send : loop::Operation::Kind::poll_out;
}

} // namespace

std::shared_ptr<StreamCore> StreamCore::make(os::Fd fd, Kind kind, std::size_t limit, std::string what) {
    return std::make_shared<StreamCore>(std::move(fd), kind, limit, std::move(what));
}

StreamCore::StreamCore(os::Fd fd, Kind kind, std::size_t limit, std::string what)
    : in(limit),
      loop_(&loop::EventLoop::running()),
      fd_(std::move(fd)),
      kind_(kind),
      what_(std::move(what)),
      receiving_(*this, receive_kind(kind)),
      receive_bytes_(least_receive),
      sending_op_(*this, send_kind(kind)),
      high_(default_high),
      low_(default_high / 4),
      timer_(*this) {
    os::set_nonblocking(fd_.get(), true);
    loop_->add_resource(*this);
}

StreamCore::~StreamCore() {
    loop::EventLoop::remove_resource(*this);
    if (loop_ && fd_) loop_->poller().forget(fd_.get());
}

void StreamCore::check_loop(const char* call) const {
    if (closed_ || (loop_ && loop::EventLoop::running_or_null() == loop_)) return;
    throw UsageError(std::string(call) + ": " + what_ +
                     " belongs to another event loop, or to one that has ended; use a stream where it was opened");
}

// ---- who waits: on the loop's thread alone, so without a lock

void StreamCore::link(wait::Wait& w, bool reads) { (reads ? readers_ : writers_).push_back(w); }

void StreamCore::wake(base::IntrusiveList& waiters) noexcept {
    base::IntrusiveList now; // who waits again, waits for the next change
    now.splice_back(waiters);
    while (base::ListNode* n = now.pop_front()) {
        auto& w = static_cast<wait::Wait&>(*n);
        if (w.settle(wait::Outcome::woken)) w.agent().unpark(w);
    }
}

// ---- receiving

void StreamCore::receive() {
    if (receiving_.in_flight() || in.eof() || read_error_ || ending_ || !loop_) return;
    into_raw_ = tls_ != nullptr;
    if (into_raw_) {
        raw_.reset(new char[receive_bytes_]);
        receiving_.data = raw_.get();
    } else {
        in.release_if_empty(std::max(receive_bytes_, kept_capacity));
        receiving_.data = in.prepare(receive_bytes_).data();
    }
    receiving_.size = receive_bytes_;
    receiving_.fd = fd_.get();
    kept_by_receiving_ = shared_from_this();
    loop_->start(receiving_);
}

void StreamCore::done_receiving(loop::Operation& op) noexcept {
    StreamCore& core = static_cast<Receiving&>(op).core;
    const std::shared_ptr<StreamCore> alive = std::move(core.kept_by_receiving_);
    try {
        core.received(op.result);
    } catch (...) { // no memory, or TLS
        core.fail(std::current_exception(), true);
    }
    wake(core.readers_);
    core.go_on_closing();
}

void StreamCore::received(std::int32_t n) {
    const std::size_t bytes = n > 0 ? static_cast<std::size_t>(n) : 0;
    if (!into_raw_) in.commit(bytes);
    const std::unique_ptr<char[]> raw = std::move(raw_);
    if (n == -ECANCELED) return;
    if (n < 0) return fail(std::make_exception_ptr(OSError(-n, "reading from " + what_ + " failed")), true);
    // As much as comes: large pieces for who sends much, little memory for who sends little.
    if (bytes == receive_bytes_)
        receive_bytes_ = std::min(receive_bytes_ * 2, most_receive);
    else if (bytes < receive_bytes_ / 4)
        receive_bytes_ = std::max(receive_bytes_ / 2, least_receive);
    if (!tls_) {
        if (n == 0) in.feed_eof();
        return;
    }
    if (into_raw_) {
        if (bytes > 0) tls_->feed({raw.get(), bytes});
    } else { // was in flight when TLS began
        tls_->feed(in.view());
        in.consume(in.size());
    }
    if (n == 0) tls_->feed_eof();
    if (tls_open_ && !farewell_sent_) decrypt();
    if (n == 0) in.feed_eof();
}

// ---- sending

ssize_t StreamCore::write_now(std::string_view data) noexcept {
    if (kind_ == Kind::socket) return os::send_nowait(fd_.get(), data.data(), data.size(), 0);
    const os::SigpipeGuard guard;
    return os::write_some(fd_.get(), data.data(), data.size());
}

void StreamCore::write(std::string_view data) {
    if (eof_wanted_) throw UsageError("write: after write_eof() nothing more can be written to " + what_);
    if (data.empty() || closing_ || write_error_) return;
    if (!tls_) return raw_write(data);
    if (!tls_open_) throw UsageError("write: the TLS handshake with " + what_ + " has not ended; wait for start_tls()");
    try {
        tls_->write(data);
        flush_tls();
    } catch (...) {
        fail(std::current_exception(), false);
    }
}

void StreamCore::raw_write(std::string_view data) {
    if (write_error_) return;
    if (pending() == 0) {
        const ssize_t n = write_now(data);
        if (n < 0 && n != -EAGAIN) return fail_write(static_cast<int>(-n));
        if (n > 0) data.remove_prefix(static_cast<std::size_t>(n));
        if (data.empty()) return;
    }
    queued_.append(data);
    start_sending();
    update_paused();
}

void StreamCore::start_sending() {
    if (sending_op_.in_flight() || !loop_) return;
    if (sent_ == sending_.size()) {
        sending_.clear();
        if (sending_.capacity() > kept_capacity) sending_.shrink_to_fit();
        std::swap(sending_, queued_);
        sent_ = 0;
    }
    if (sending_.empty()) return;
    sending_op_.fd = fd_.get();
    sending_op_.data = sending_.data() + sent_;
    sending_op_.size = sending_.size() - sent_;
    kept_by_sending_ = shared_from_this();
    loop_->start(sending_op_);
}

void StreamCore::done_sending(loop::Operation& op) noexcept {
    StreamCore& core = static_cast<Sending&>(op).core;
    const std::shared_ptr<StreamCore> alive = std::move(core.kept_by_sending_);
    try {
        core.sent(op.result);
    } catch (...) {
        core.fail(std::current_exception(), false);
    }
    core.go_on_closing();
}

void StreamCore::sent(std::int32_t n) {
    if (ending_ || write_error_) return;
    ssize_t bytes = n;
    if (kind_ == Kind::write_pipe && n >= 0) bytes = write_now(std::string_view(sending_).substr(sent_));
    if (bytes < 0 && bytes != -EAGAIN) {
        if (bytes != -ECANCELED) fail_write(static_cast<int>(-bytes));
        return;
    }
    if (bytes > 0) sent_ += static_cast<std::size_t>(bytes);
    start_sending();
    update_paused();
    if (pending() > 0) return;
    wake(writers_); // flush()
    if (eof_wanted_ && !closing_) write_eof();
}

void StreamCore::update_paused() noexcept {
    if (!paused_ && pending() > high_) {
        paused_ = true;
    } else if (paused_ && pending() <= low_) {
        paused_ = false;
        wake(writers_);
    }
}

void StreamCore::set_limits(std::size_t high, std::size_t low) {
    if (low > high) throw UsageError("set_write_buffer_limits: the low-water mark is above the high one");
    high_ = high;
    low_ = low;
    update_paused();
}

void StreamCore::write_eof() {
    if (!can_write_eof())
        throw UsageError(
            "write_eof: TLS has no end of one direction alone; close() the stream, or agree on an end mark with "
            "the other side");
    eof_wanted_ = true;
    if (pending() > 0 || closing_ || write_error_) return;
    if (kind_ == Kind::write_pipe) return close();
    if (const int e = os::shutdown_write(fd_.get()); e < 0 && e != -ENOTCONN) fail_write(-e);
}

// ---- errors

void StreamCore::fail(std::exception_ptr error, bool also_reading) noexcept {
    if (!write_error_) write_error_ = error;
    if (!lost_ && !ending_) lost_ = error;
    if (also_reading && !read_error_) read_error_ = std::move(error);
    queued_.clear();
    if (!sending_op_.in_flight()) {
        sending_.clear();
        sent_ = 0;
    }
    paused_ = false;
    wake(readers_);
    wake(writers_);
    go_on_closing();
}

void StreamCore::fail_write(int error) {
    const bool gone = error == EPIPE || error == ECONNRESET;
    fail(std::make_exception_ptr(
             OSError(error, (gone ? "the other side of " : "writing to ") + what_ + (gone ? " is gone" : " failed"))),
         false);
}

// ---- TLS

void StreamCore::begin_tls(std::unique_ptr<TlsEngine> engine) {
    tls_ = std::move(engine);
    if (!receiving_.in_flight() && !in.empty()) {
        tls_->feed(in.view());
        in.consume(in.size());
    }
    if (in.eof()) tls_->feed_eof();
}

bool StreamCore::shake_hands() {
    bool done = false;
    try {
        done = tls_->handshake();
    } catch (...) {
        flush_tls(); // the alert tells the other side why
        throw;
    }
    flush_tls();
    if (!done) {
        if (read_error_) std::rethrow_exception(read_error_);
        if (write_error_) std::rethrow_exception(write_error_);
        return false;
    }
    tls_open_ = true;
    decrypt(); // what came with the last message
    return true;
}

void StreamCore::decrypt() {
    const bool was_eof = in.eof();
    for (;;) {
        std::size_t n = 0;
        TlsEngine::Read read{};
        const std::span<char> room = in.prepare(least_receive);
        try {
            read = tls_->read(room.data(), room.size(), n);
        } catch (...) {
            in.commit(0);
            if (!write_error_) flush_tls();
            throw;
        }
        in.commit(n);
        if (read == TlsEngine::Read::data) continue;
        if (read == TlsEngine::Read::end && !was_eof) in.feed_eof();
        break;
    }
    flush_tls(); // an answer to a change of keys
}

void StreamCore::flush_tls() {
    const std::string_view output = tls_->output();
    if (output.empty()) return;
    raw_write(output);
    tls_->consume_output(output.size());
}

// ---- the end

void StreamCore::close() {
    if (closing_ || closed_) return;
    closing_ = true;
    if (loop_) kept_by_closing_ = shared_from_this();
    go_on_closing();
}

void StreamCore::abort(std::exception_ptr why) {
    if (closed_ || ending_) return;
    closing_ = true;
    if (why) {
        if (!write_error_) write_error_ = why;
        if (!read_error_) read_error_ = why;
        if (!lost_) lost_ = std::move(why);
    } else if (!write_error_) {
        write_error_ = std::make_exception_ptr(OSError(ECONNABORTED, what_ + " was aborted on this side"));
    }
    if (loop_) kept_by_closing_ = shared_from_this();
    go_on_closing();
}

void StreamCore::abort_after_sending(std::exception_ptr why) {
    if (closed_ || ending_) return;
    if (pending() > 0) return abort(std::move(why)); // it does not take even that
    if (!lost_) lost_ = why;
    if (!read_error_) read_error_ = why;
    write_error_ = std::move(why);
    close();
}

void StreamCore::go_on_closing() noexcept {
    if (!closing_ || closed_) return;
    if (!ending_) {
        if (!write_error_ && pending() > 0) return;
        if (tls_open_ && !write_error_ && !farewell_done_) {
            try {
                if (!farewell_sent_) {
                    farewell_sent_ = true;
                    loop_->arm(timer_, Deadline(farewell_timeout));
                }
                farewell_done_ = tls_->shutdown() || in.eof() || read_error_;
                flush_tls();
                if (ending_ || (!write_error_ && pending() > 0)) return; // it failed, and this was called from there
                if (!farewell_done_ && !write_error_) return receive();
            } catch (...) { // no memory: without a farewell
            }
        }
        ending_ = true;
    }
    end();
}

void StreamCore::farewell_is_late() noexcept {
    const std::shared_ptr<StreamCore> alive = kept_by_closing_;
    if (!write_error_) write_error_ = std::make_exception_ptr(TimeoutError(what_ + " did not close TLS within 30 s"));
    go_on_closing();
}

void StreamCore::end() noexcept {
    if (loop_) {
        loop_->disarm(timer_);
        if (receiving_.in_flight()) loop_->cancel(receiving_);
        if (sending_op_.in_flight()) loop_->cancel(sending_op_);
    }
    if (receiving_.in_flight() || sending_op_.in_flight()) return;
    closed_ = true;
    if (loop_) loop_->poller().forget(fd_.get());
    fd_.reset();
    if (!read_error_) in.feed_eof();
    queued_ = {};
    sending_ = {};
    sent_ = 0;
    paused_ = false;
    loop::EventLoop::remove_resource(*this);
    loop_ = nullptr;
    wake(readers_);
    wake(writers_);
    kept_by_closing_.reset(); // maybe the last one: the caller holds another
}

void StreamCore::loop_closes() noexcept {
    const std::shared_ptr<StreamCore> alive = weak_from_this().lock();
    if (!alive || closed_) return;
    closing_ = ending_ = true;
    if (!write_error_) {
        try {
            write_error_ = std::make_exception_ptr(InvalidStateError(what_ + ": its event loop was closed"));
        } catch (...) {
            write_error_ = std::current_exception();
        }
    }
    if (!read_error_) read_error_ = write_error_;
    kept_by_closing_ = alive;
    end(); // or, when done() of what is cancelled comes, from there
}

} // namespace sennit::asyncio

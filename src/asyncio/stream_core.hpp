// One connection or pipe on one event loop: what a StreamReader and a StreamWriter share.
//
// Receiving: an operation is in flight only when a reader waits for more than there is, so nothing is taken in that nobody asked
// for, and the kernel slows the sender down. It belongs to the stream, not to the reader: one that is cancelled leaves it in
// flight, and what comes is there for the next.
//
// Sending: what the kernel does not take at once waits in `queued_`; `sending_` is what is in flight and stays where it is.
//
//     open --close()--> closing --all sent--> [TLS: farewell sent, the other side's awaited, 30 s] --> ending --> closed
//                  abort(), an error while closing ---------------------------------------------------^
//
//   1. In `ending` operations are cancelled; the descriptor is closed when none is in flight, so that its number can't pass to
//      another one beneath them.
//   2. Whoever needs the stream alive holds it: the handles, each operation in flight, and the stream itself from close() until
//      it is closed.
#pragma once

#include <sennit/asyncio/stream_buffer.hpp>
#include <sennit/asyncio/tls.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/wait/waiter.hpp>

#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace sennit::asyncio {

class StreamCore final : public loop::Resource, public std::enable_shared_from_this<StreamCore> {
  public:
    enum class Kind : std::uint8_t { socket, read_pipe, write_pipe };
    /// `what`: for errors, "the connection to 127.0.0.1:80". The descriptor is non-blocking from now on.
    static std::shared_ptr<StreamCore> make(os::Fd fd, Kind kind, std::size_t limit, std::string what);
    StreamCore(os::Fd fd, Kind kind, std::size_t limit, std::string what);
    ~StreamCore();

    void check_loop(const char* call) const;

    // ---- reading
    StreamBuffer in;
    void receive();
    /// What a reader that finds too little is to throw; nullptr: more may come.
    [[nodiscard]] std::exception_ptr read_error() const noexcept { return read_error_; }

    // ---- writing
    void write(std::string_view data);
    void write_eof();
    [[nodiscard]] bool can_write_eof() const noexcept { return !tls_ && kind_ != Kind::read_pipe; }
    [[nodiscard]] std::size_t pending() const noexcept { return queued_.size() + sending_.size() - sent_; }
    [[nodiscard]] bool paused() const noexcept { return paused_; }
    void set_limits(std::size_t high, std::size_t low);
    [[nodiscard]] std::exception_ptr write_error() const noexcept { return write_error_; }

    // ---- the end
    void close();
    void abort(std::exception_ptr why = nullptr);
    /// After a handshake that failed: what is to be sent still is (the alert), then it closes.
    void abort_after_sending(std::exception_ptr why);
    [[nodiscard]] bool is_closing() const noexcept { return closing_; }
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }
    [[nodiscard]] std::exception_ptr lost() const noexcept { return lost_; }
    void loop_closes() noexcept override;

    // ---- TLS
    void begin_tls(std::unique_ptr<TlsEngine> engine);
    [[nodiscard]] bool shake_hands(); // false: the other side is to send more
    [[nodiscard]] const TlsEngine* tls() const noexcept { return tls_open_ ? tls_.get() : nullptr; }

    // ---- who waits
    void link(wait::Wait& w, bool reads);
    [[nodiscard]] bool has_reader() const noexcept { return !readers_.empty(); }

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    [[nodiscard]] const std::string& what() const noexcept { return what_; }

  private:
    struct Receiving : loop::Operation {
        Receiving(StreamCore& c, Kind kind) noexcept : Operation(kind, -1, done_receiving), core(c) {}
        StreamCore& core;
    };
    struct Sending : loop::Operation {
        Sending(StreamCore& c, Kind kind) noexcept : Operation(kind, -1, done_sending), core(c) {}
        StreamCore& core;
    };
    struct CloseTimer : loop::Timer {
        explicit CloseTimer(StreamCore& c) noexcept
            : Timer([](Timer& t) noexcept { static_cast<CloseTimer&>(t).core.farewell_is_late(); }), core(c) {}
        StreamCore& core;
    };

    static void done_receiving(loop::Operation& op) noexcept;
    static void done_sending(loop::Operation& op) noexcept;
    void received(std::int32_t n);
    void sent(std::int32_t n);
    void decrypt();
    void flush_tls();
    void raw_write(std::string_view data);
    ssize_t write_now(std::string_view data) noexcept;
    void start_sending();
    void update_paused() noexcept;
    void fail(std::exception_ptr error, bool also_reading) noexcept;
    void fail_write(int error);
    void go_on_closing() noexcept;
    void farewell_is_late() noexcept;
    void end() noexcept;
    static void wake(base::IntrusiveList& waiters) noexcept;

    loop::EventLoop* loop_; // nullptr: it has closed
    os::Fd fd_;
    Kind kind_;
    std::string what_;

    base::IntrusiveList readers_, writers_; // Waits
    Receiving receiving_;
    std::shared_ptr<StreamCore> kept_by_receiving_;
    std::size_t receive_bytes_;
    bool into_raw_ = false; // receives ciphertext
    std::unique_ptr<char[]> raw_;
    std::exception_ptr read_error_;

    Sending sending_op_;
    std::shared_ptr<StreamCore> kept_by_sending_;
    std::string sending_, queued_;
    std::size_t sent_ = 0; // of sending_
    std::size_t high_, low_;
    bool paused_ = false;
    bool eof_wanted_ = false;
    std::exception_ptr write_error_;

    std::unique_ptr<TlsEngine> tls_;
    bool tls_open_ = false;
    bool farewell_sent_ = false;
    bool farewell_done_ = false;

    bool closing_ = false;
    bool ending_ = false;
    bool closed_ = false;
    std::exception_ptr lost_;
    CloseTimer timer_;
    std::shared_ptr<StreamCore> kept_by_closing_;
};

} // namespace sennit::asyncio

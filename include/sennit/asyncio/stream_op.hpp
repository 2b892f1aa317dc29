// Waiting for a stream: what its reader and writer give to co_await.
#pragma once

#include <sennit/asyncio/stream_buffer.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>

namespace sennit::asyncio {

class StreamCore;

namespace detail {

/// A wait for a change of one stream: tries again after each, until attempt() is content.
class StreamOp : public wait::Wait {
  public:
    bool try_now(Deadline deadline);
    bool step() noexcept final;

  protected:
    StreamOp(std::shared_ptr<StreamCore> core, const wait::WaitSite& site, bool reads) noexcept;
    StreamOp(StreamOp&&) noexcept = default; // unbegun
    ~StreamOp() = default;
    /// True: there is a result; an exception is one, too.
    virtual bool attempt() = 0;
    /// Nothing yet: what is to be done so that there will be. May throw.
    virtual void ask() {}
    /// Throws what went wrong. `late`: the sentence for the deadline.
    void check(wait::Agent& me, const char* late);

    std::shared_ptr<StreamCore> core_;

  private:
    std::exception_ptr error_;
    wait::Outcome end_ = wait::Outcome::waiting;
    bool reads_;
};

class ReadOp final : public StreamOp {
  public:
    enum class What : std::uint8_t { some, all, exactly, until, line };
    ReadOp(std::shared_ptr<StreamCore> core, What what, std::size_t n);
    ReadOp(std::shared_ptr<StreamCore> core, Separators separators);
    std::string finish(wait::Agent& me);

  private:
    bool attempt() override;
    void ask() override;

    What what_;
    std::size_t n_ = 0;
    std::optional<Separators> separators_;
    StreamBuffer::Search search_;
    std::optional<std::string> result_;
};

/// Until little enough is waiting to be sent (drain), all has been sent (flush), or the stream is closed.
class WriteOp final : public StreamOp {
  public:
    enum class What : std::uint8_t { drain, flush, closed };
    WriteOp(std::shared_ptr<StreamCore> core, What what);
    void finish(wait::Agent& me);

  private:
    bool attempt() override;
    What what_;
};

/// Until both sides agree on how to speak TLS.
class HandshakeOp final : public StreamOp {
  public:
    explicit HandshakeOp(std::shared_ptr<StreamCore> core);
    void finish(wait::Agent& me);

  private:
    bool attempt() override;
    void ask() override;
};

} // namespace detail
} // namespace sennit::asyncio

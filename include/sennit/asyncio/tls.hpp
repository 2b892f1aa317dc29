// The seam between streams and whoever does TLS for them: streams move bytes, an engine turns them. The core library knows no
// TLS; sennit::tls (OpenSSL) implements this, and another library could.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace sennit::asyncio {

/// What was agreed on in a handshake.
struct TlsInfo {
    std::string version;     // "TLSv1.3"
    std::string cipher;      // "TLS_AES_256_GCM_SHA384"
    int cipher_bits = 0;     // 256
    std::string alpn;        // the protocol that both speak; empty: none
    std::string server_name; // what the client asked for (SNI)
    std::string peercert;    // the peer's certificate as PEM; empty: it showed none
};

/// One side of one TLS connection, without input and output of its own: ciphertext of the peer goes in by feed(), ciphertext for
/// the peer comes out by output(), after whichever call.
///
/// Agents    One at a time. Blocks: never.
/// Errors    What it throws derives from sennit::Error and says which certificate, why, and what to do. An alert for the peer may
///           be in output() all the same.
class TlsEngine {
  public:
    virtual ~TlsEngine() = default;
    TlsEngine(const TlsEngine&) = delete;
    TlsEngine& operator=(const TlsEngine&) = delete;

    /// Ciphertext from the peer.
    virtual void feed(std::string_view ciphertext) = 0;
    /// The peer's bytes have ended.
    virtual void feed_eof() = 0;
    /// Ciphertext for the peer; valid until the next call.
    [[nodiscard]] virtual std::string_view output() = 0;
    virtual void consume_output(std::size_t bytes) = 0;

    /// Goes on with the handshake. False: the peer is to send more.
    virtual bool handshake() = 0;

    enum class Read : unsigned char { data, more, end };
    /// `data`: so many bytes of plaintext were put into `to`. `more`: the peer is to send more. `end`: it has said that it sends
    /// no more. An end of its bytes without that is an error: somebody may have cut them off.
    virtual Read read(char* to, std::size_t room, std::size_t& bytes) = 0;
    /// All of it is encrypted into output().
    virtual void write(std::string_view plaintext) = 0;
    /// Says that nothing more is sent. True once the peer has said so, too.
    virtual bool shutdown() = 0;

    /// After the handshake.
    [[nodiscard]] virtual TlsInfo info() const = 0;

  protected:
    TlsEngine() = default;
};

/// What connections are to be made with: certificates, checks, protocols. ssl::SSLContext is one.
class TlsContext {
  public:
    virtual ~TlsContext() = default;
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    enum class Side : unsigned char { client, server };
    /// Which side it is for.
    [[nodiscard]] virtual Side side() const noexcept = 0;
    /// `server_hostname`: whom a client wants to talk to; checked against the certificate. Empty for a server.
    [[nodiscard]] virtual std::unique_ptr<TlsEngine> make_engine(Side side,
                                                                 const std::string& server_hostname) const = 0;

  protected:
    TlsContext() = default;
};

/// A context as streams take it: `.ssl = context` with an ssl::SSLContext.
///
/// It only points: the context is kept alive by the connection or server that was made with it, and must live until that was.
/// (Options of coroutines hold nothing that needs a destructor: g++ 12 destroys such temporaries twice in a co_await.)
class TlsContextRef {
  public:
    constexpr TlsContextRef() noexcept = default;
    // NOLINTNEXTLINE(google-explicit-constructor): `.ssl = context`
    TlsContextRef(const std::shared_ptr<const TlsContext>& context) noexcept : context_(&context) {}
    [[nodiscard]] explicit operator bool() const noexcept { return context_ && *context_; }
    [[nodiscard]] std::shared_ptr<const TlsContext> get() const noexcept {
        return context_ ? *context_ : std::shared_ptr<const TlsContext>();
    }

  private:
    const std::shared_ptr<const TlsContext>* context_ = nullptr;
};

} // namespace sennit::asyncio

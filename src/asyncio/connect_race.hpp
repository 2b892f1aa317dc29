// Connecting to the first of several addresses that answers ("happy eyeballs").
#pragma once

#include <sennit/loop/event_loop.hpp>
#include <sennit/os/address.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/sync/awaitable.hpp>

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sennit::asyncio::detail {

/// The wait of connect_to_first(). One attempt after another, the next one `delay` after the one before or as soon as that has
/// failed; the first that connects wins, the others are dropped.
///
/// Cancel    All attempts are dropped: the kernel lets go of each in its own time, which nobody waits for.
/// Source    RFC 8305, section 5; Python: asyncio.staggered.staggered_race.
class ConnectRace final : public wait::Wait {
  public:
    /// `from`: what to bind to first, for the addresses of its family; AF_UNSPEC: nothing.
    ConnectRace(std::vector<os::SocketAddress> addresses, os::SocketAddress from, std::int64_t delay_ns,
                std::string target);
    ~ConnectRace();
    bool try_now(Deadline deadline);
    bool step() noexcept override;
    /// A connected socket and where to.
    std::pair<os::Fd, os::SocketAddress> finish(wait::Agent& me);

  private:
    struct Attempt;
    struct Stagger : loop::Timer {
        explicit Stagger(ConnectRace& r) noexcept;
        ConnectRace& race;
    };
    void start_next();
    void note(int error, const os::SocketAddress& where);
    void wake() noexcept;
    void drop_all() noexcept;

    loop::EventLoop& loop_;
    std::vector<os::SocketAddress> addresses_;
    os::SocketAddress from_;
    std::int64_t delay_ns_;
    std::string target_;
    std::size_t next_ = 0;
    std::vector<Attempt*> running_; // each deletes itself when its operation is done
    Stagger stagger_;
    bool time_for_next_ = true;
    os::Fd winner_;
    os::SocketAddress winner_address_;
    int first_error_ = 0;
    std::string errors_;
    std::exception_ptr error_;
    wait::Outcome end_ = wait::Outcome::waiting;
};

/// The order of RFC 8305, section 4: the families take turns, the first one begins.
std::vector<os::SocketAddress> interleaved(std::vector<os::SocketAddress> addresses);

} // namespace sennit::asyncio::detail

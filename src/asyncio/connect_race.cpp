#include "connect_race.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/socket_setup.hpp>
#include <sennit/wait/agent.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace sennit::asyncio::detail {
namespace {
constinit const wait::WaitSite connect_site{"open_connection", "connect"};
}

std::vector<os::SocketAddress> interleaved(std::vector<os::SocketAddress> addresses) {
    if (addresses.empty()) return addresses;
    const int first = addresses[0].family();
    std::vector<os::SocketAddress> same, other, result;
    for (const auto& one : addresses) (one.family() == first ? same : other).push_back(one);
    for (std::size_t i = 0; i < std::max(same.size(), other.size()); ++i) {
        if (i < same.size()) result.push_back(same[i]);
        if (i < other.size()) result.push_back(other[i]);
    }
    return result;
}

// One address. Lives until the kernel has let go of the operation.
struct ConnectRace::Attempt : loop::Operation {
    Attempt(ConnectRace& r, os::Fd f, const os::SocketAddress& a)
        : Operation(Kind::connect, f.get(), on_done), race(&r), loop(r.loop_), fd(std::move(f)), address(a) {
        data = const_cast<sockaddr*>(address.data());
        size = address.size();
    }
    ~Attempt() {
        if (fd) loop.poller().forget(fd.get());
    }
    static void on_done(loop::Operation& op) noexcept {
        const std::unique_ptr<Attempt> me(&static_cast<Attempt&>(op));
        if (!me->race) return;
        ConnectRace& race = *me->race;
        std::erase(race.running_, me.get());
        if (op.result < 0) {
            try {
                race.note(-op.result, me->address);
            } catch (...) {
                race.error_ = std::current_exception();
            }
            race.time_for_next_ = true;
        } else if (!race.winner_) {
            race.winner_ = std::move(me->fd);
            race.winner_address_ = me->address;
        }
        race.wake();
    }

    ConnectRace* race; // nullptr: dropped
    loop::EventLoop& loop;
    os::Fd fd;
    os::SocketAddress address;
};

ConnectRace::Stagger::Stagger(ConnectRace& r) noexcept
    : Timer([](Timer& t) noexcept {
          ConnectRace& race = static_cast<Stagger&>(t).race;
          race.time_for_next_ = true;
          race.wake();
      }),
      race(r) {}

ConnectRace::ConnectRace(std::vector<os::SocketAddress> addresses, os::SocketAddress from, std::int64_t delay_ns,
                         std::string target)
    : Wait(this, connect_site),
      loop_(loop::EventLoop::running()),
      addresses_(std::move(addresses)),
      from_(from),
      delay_ns_(delay_ns),
      target_(std::move(target)),
      stagger_(*this) {
    running_.reserve(addresses_.size());
}

ConnectRace::~ConnectRace() {
    drop_all();
    if (winner_) loop_.poller().forget(winner_.get()); // nobody took it
}

bool ConnectRace::try_now(Deadline deadline) {
    if (deadline.is_poll()) end_ = wait::Outcome::timed_out;
    return deadline.is_poll();
}

void ConnectRace::wake() noexcept {
    if (settle(wait::Outcome::woken)) agent().unpark(*this);
}

void ConnectRace::drop_all() noexcept {
    loop_.disarm(stagger_);
    for (Attempt* one : running_) {
        one->race = nullptr;
        loop_.cancel(*one);
    }
    running_.clear();
}

void ConnectRace::note(int error, const os::SocketAddress& where) {
    if (first_error_ == 0) first_error_ = error;
    if (!errors_.empty()) errors_ += "; ";
    errors_ += where.to_string() + ": " + std::generic_category().message(error);
}

void ConnectRace::start_next() {
    while (next_ < addresses_.size()) {
        const os::SocketAddress& address = addresses_[next_++];
        const bool bound = from_.family() != AF_UNSPEC;
        if (bound && from_.family() != address.family()) continue;
        os::Fd fd;
        const int made = os::open_socket(address.family(), SOCK_STREAM);
        if (made >= 0) fd.reset(made);
        const int failed = made < 0 ? made : bound ? os::bind_socket(made, from_) : 0;
        if (failed < 0) {
            note(-failed, address);
            continue;
        }
        auto* const attempt = new Attempt(*this, std::move(fd), address);
        running_.push_back(attempt); // there is room
        loop_.start(*attempt);
        if (next_ < addresses_.size()) loop_.arm(stagger_, Deadline(std::chrono::nanoseconds(delay_ns_)));
        return;
    }
}

bool ConnectRace::step() noexcept {
    end_ = outcome();
    if (end_ == wait::Outcome::timed_out || end_ == wait::Outcome::cancelled || winner_ || error_) {
        drop_all();
        return true;
    }
    try {
        if (time_for_next_) {
            time_for_next_ = false;
            loop_.disarm(stagger_);
            start_next();
        }
    } catch (...) {
        error_ = std::current_exception();
    }
    if (error_ || running_.empty()) {
        drop_all();
        return true;
    }
    arm();
    return false;
}

std::pair<os::Fd, os::SocketAddress> ConnectRace::finish(wait::Agent& me) {
    if (end_ == wait::Outcome::cancelled) me.throw_cancelled();
    if (winner_) return {std::move(winner_), winner_address_};
    if (error_) std::rethrow_exception(error_);
    if (end_ == wait::Outcome::timed_out)
        throw TimeoutError("no connection to " + target_ + " in time" + (errors_.empty() ? "" : " (" + errors_ + ')'));
    if (first_error_ == 0)
        throw OSError(EADDRNOTAVAIL, "cannot connect to " + target_ + " from " + from_.to_string() +
                                         ": no address of the same family");
    throw OSError(first_error_, "cannot connect to " + target_ + " (" + errors_ + ')');
}

} // namespace sennit::asyncio::detail

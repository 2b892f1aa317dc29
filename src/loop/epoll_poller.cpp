// A descriptor is watched edge-triggered, and what its events said is kept:
//
//   readable, writable   a call may succeed: it is tried at once, and what an operation finds out (EAGAIN, a short read of TCP)
//                        clears it. Errs on the side of true, which costs a call in vain; false although there is something
//                        would be a hang, so it is cleared only where the next event is certain to come.
//
//   (1) The watch stands before the last try that found nothing, or reports what was there when it began (EPOLL_CTL_ADD and
//       EPOLL_CTL_MOD look): so what comes later makes an event.
//   (2) A short read of TCP leaves nothing behind but an end of stream, an error or urgent data that were there before: then an
//       event with those bits came before too, and `sticky` keeps readable true for good.
//   (3) An operation waits in its queue only while its flag is false, or while older ones wait.
#include <sennit/loop/epoll_poller.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/socket.hpp>

#include <array>
#include <cerrno>
#include <limits>
#include <new>

namespace sennit::loop {
namespace {

constexpr std::uint64_t bell_tag = ~std::uint64_t{0};
constexpr int events_a_turn = 64;
constexpr std::int64_t test_clock_look_ns = 1'000'000;

constexpr std::uint32_t in_events = EPOLLIN | EPOLLRDHUP | EPOLLPRI;
constexpr std::uint32_t sticky_events = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;

bool is_output(OperationKind kind) noexcept {
    switch (kind) {
    case OperationKind::poll_out:
    case OperationKind::write:
    case OperationKind::send:
    case OperationKind::sendmsg:
    case OperationKind::connect:
    case OperationKind::sendfile:
        return true;
    default:
        return false;
    }
}

} // namespace

EpollPoller::EpollPoller() : bell_(os::make_eventfd()) {
    if (const int error = epoll_.add(bell_.get(), EPOLLIN | EPOLLET, bell_tag))
        throw OSError(error, "epoll_ctl: cannot watch the event loop's eventfd");
}

EpollPoller::~EpollPoller() = default;

// Sees to it that events of these bits come, and that one comes now if they hold already. 0 or -errno.
int EpollPoller::watch(int fd, Descriptor& d, std::uint32_t events) noexcept {
    const std::uint32_t wanted = d.events | events | EPOLLET;
    const std::uint64_t tag = std::uint64_t{d.generation} << 32 | static_cast<std::uint32_t>(fd);
    int error = d.events == 0 ? epoll_.add(fd, wanted, tag) : epoll_.modify(fd, wanted, tag);
    // Closed and opened again without forget(): the kernel has dropped the watch; or a copy of the old one keeps it.
    if (error == ENOENT) error = epoll_.add(fd, wanted, tag);
    if (error == EEXIST) error = epoll_.modify(fd, wanted, tag);
    if (error == EPERM) { // always ready, says epoll_ctl(2)
        d.always_ready = true;
        return 0;
    }
    if (error == 0) d.events = wanted;
    return -error;
}

namespace {

constexpr int must_wait = std::numeric_limits<int>::min();

// The system call of `op`, which is neither a poll nor a connect.
ssize_t call_once(Operation& op) noexcept {
    using Kind = OperationKind;
    switch (op.kind) {
    case Kind::read:
        return os::read_some(op.fd, op.data, op.size);
    case Kind::write:
        return os::write_nowait(op.fd, op.data, op.size);
    case Kind::recv:
        return os::recv_nowait(op.fd, op.data, op.size, op.flags);
    case Kind::send:
        return os::send_nowait(op.fd, op.data, op.size, op.flags);
    case Kind::recvmsg:
        return os::recvmsg_nowait(op.fd, *static_cast<msghdr*>(op.data), op.flags);
    case Kind::sendmsg:
        return os::sendmsg_nowait(op.fd, *static_cast<const msghdr*>(op.data), op.flags);
    case Kind::accept:
        return os::accept_some(op.fd);
    case Kind::sendfile:
        return os::sendfile_some(op.fd, op.other, op.offset, op.size);
    case Kind::file_read:
        return os::pread_some(op.fd, op.data, op.size, op.offset);
    case Kind::file_write:
        return os::pwrite_some(op.fd, op.data, op.size, op.offset);
    case Kind::splice:
        return os::splice_nowait(op.other, op.offset, op.fd, op.size);
    default:
        return -EINVAL;
    }
}

// One try of `op`: its result or must_wait.
int try_once(Operation& op, bool first) noexcept {
    using Kind = OperationKind;
    if (op.kind == Kind::poll_in || op.kind == Kind::poll_out) return first ? must_wait : 0;
    if (op.kind == Kind::connect) {
        // -EAGAIN of a Unix socket: no room at the listener's; no event tells when there is.
        const int n =
            static_cast<int>(first ? os::connect_some(op.fd, op.data, op.size) : os::take_socket_error(op.fd));
        if (first) return n == -EINPROGRESS ? must_wait : n;
        return n == 0 && !os::has_peer(op.fd) ? must_wait : n;
    }
    const ssize_t n = call_once(op);
    return n == -EAGAIN ? must_wait : static_cast<int>(n);
}

} // namespace

// A call has found out that the next one would wait.
void EpollPoller::found_empty(int fd, Descriptor& d, bool& ready) noexcept {
    ready = false;
    // Where a test makes calls lie about that, the kernel is asked for the level.
    if (d.events != 0 && FAULT_POINT_ERROR("epoll.ask_level") != 0) watch(fd, d, d.events);
}

// Whether the result of `op` says that nothing is left to read (2).
bool EpollPoller::emptied(const Descriptor& d, const Operation& op) noexcept {
    return op.kind == Operation::Kind::recv && d.tcp && !d.sticky && op.result > 0 &&
           static_cast<std::size_t>(op.result) < op.size && (op.flags & MSG_PEEK) == 0;
}

// What is known is of a descriptor that was closed, or may have been: the next wait watches again.
void EpollPoller::start_anew(Descriptor& d) noexcept {
    ++d.generation;
    d.events = 0;
    d.readable = d.writable = true;
    d.sticky = d.always_ready = d.known = false;
}

bool EpollPoller::start_or_finish(Operation& op) noexcept {
    op.cancelled_ = false;
    if (op.fd < 0) {
        op.result = -EBADF;
        return true;
    }
    Descriptor* const found = descriptors_.find_or_make(op.fd);
    if (!found) {
        op.result = -ENOMEM;
        return true;
    }
    Descriptor& d = *found;
    const std::uint32_t closings = os::closings_of(op.fd);
    if (d.closings != closings) [[unlikely]] {
        d.closings = closings;
        if (d.readers.empty() && d.writers.empty()) start_anew(d);
    }
    if (op.kind == Operation::Kind::connect && d.events != 0 && d.readers.empty() && d.writers.empty()) start_anew(d);
    const bool output = is_output(op.kind);
    base::IntrusiveList& queue = output ? d.writers : d.readers;
    bool& ready = output ? d.writable : d.readable;
    const bool is_poll = op.kind == Operation::Kind::poll_in || op.kind == Operation::Kind::poll_out;

    if (op.kind == Operation::Kind::file_read || op.kind == Operation::Kind::file_write) {
        // What lies in the page cache is there at once; the disk is for another thread.
        op.result = op.kind == Operation::Kind::file_read
                        ? static_cast<int>(os::pread_nowait(op.fd, op.data, op.size, op.offset))
                        : -EAGAIN;
        if (op.result != -EAGAIN) return true;
        op.state_ = Operation::State::waiting;
        if (!files_) files_.reset(new (std::nothrow) FileThreads(*this));
        if (files_ && files_->start(op)) {
            ++in_flight_;
            return false;
        }
        op.state_ = Operation::State::idle;
        op.result = try_once(op, true); // without a thread the loop has to wait
        return true;
    }
    if (!d.known) {
        d.known = true;
        d.tcp = os::is_tcp(op.fd);
        d.nonblocking = os::is_nonblocking(op.fd);
    }
    // Of these one call in vain would stop the loop; the socket is the program's own.
    if (!d.nonblocking && (op.kind == Operation::Kind::accept || op.kind == Operation::Kind::connect ||
                           op.kind == Operation::Kind::sendfile)) {
        const int failed = os::make_nonblocking(op.fd);
        if (failed != 0) {
            op.result = failed;
            return true;
        }
        d.nonblocking = true;
    }
    // A blocking pipe or terminal is asked for its level each time, and so is what others read: they don't tell what they found.
    const bool ask_level =
        is_poll || (!d.nonblocking && (op.kind == Operation::Kind::read || op.kind == Operation::Kind::write));
    if (!ask_level && queue.empty() && ready) {
        op.result = try_once(op, true);
        if (op.result != must_wait) {
            if (d.events != 0 && emptied(d, op)) found_empty(op.fd, d, ready);
            return true;
        }
        found_empty(op.fd, d, ready);
    }
    const std::uint32_t wanted = output ? std::uint32_t{EPOLLOUT} : in_events;
    if (ask_level || (d.events & wanted) != wanted) {
        ready = false;
        const int failed = watch(op.fd, d, wanted);
        if (failed != 0) {
            op.result = failed;
            return true;
        }
        if (d.always_ready) {
            ready = true;
            op.result = try_once(op, false);
            return true;
        }
    }
    op.state_ = Operation::State::waiting;
    ++in_flight_;
    queue.push_back(op);
    return false;
}

void EpollPoller::run_queue(Descriptor& d, base::IntrusiveList& queue, bool& ready) noexcept {
    while (ready) {
        auto* const op = static_cast<Operation*>(queue.front());
        if (!op) return;
        op->result = try_once(*op, false);
        if (op->result == must_wait) {
            found_empty(op->fd, d, ready);
            return;
        }
        if (emptied(d, *op)) found_empty(op->fd, d, ready);
        // A blocking pipe: what is there now is known only from the next event.
        if (!d.nonblocking && (op->kind == Operation::Kind::read || op->kind == Operation::Kind::write)) ready = false;
        base::IntrusiveList::remove(*op);
        finish(*op);
    }
}

void EpollPoller::on_event(std::uint64_t tag, std::uint32_t events) noexcept {
    Descriptor& d = *descriptors_.find(static_cast<int>(tag & 0xffffffff)); // made before it was watched
    if (d.generation != static_cast<std::uint32_t>(tag >> 32)) return;      // of a descriptor that was forgotten
    if ((events & sticky_events) != 0) d.sticky = true;
    if ((events & (in_events | EPOLLHUP | EPOLLERR)) != 0) {
        d.readable = true;
        run_queue(d, d.readers, d.readable);
    }
    if (d.generation != static_cast<std::uint32_t>(tag >> 32)) return; // by a done()
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        d.writable = true;
        run_queue(d, d.writers, d.writable);
    }
}

void EpollPoller::cancel(Operation& op) noexcept {
    if (op.state_ != Operation::State::waiting) return;
    if (op.kind == Operation::Kind::file_read || op.kind == Operation::Kind::file_write) {
        if (!files_->take_back(op)) return;
    } else {
        base::IntrusiveList::remove(op);
    }
    op.result = -ECANCELED;
    end(op);
}

void EpollPoller::end_all_of(EpollPoller& self, base::IntrusiveList& queue, int result) noexcept {
    while (base::ListNode* node = queue.pop_front()) {
        auto& op = static_cast<Operation&>(*node);
        op.result = result;
        self.end(op);
    }
}

void EpollPoller::forget(int fd) noexcept {
    Descriptor* const found = fd >= 0 ? descriptors_.find(fd) : nullptr;
    if (!found) return;
    Descriptor& d = *found;
    base::IntrusiveList unread;
    if (files_) files_->drop(fd, unread);
    end_all_of(*this, unread, -ECANCELED);
    end_all_of(*this, d.readers, -ECANCELED);
    end_all_of(*this, d.writers, -ECANCELED);
    if (d.events != 0) epoll_.remove(fd);
    start_anew(d);
}

void EpollPoller::turn(Deadline deadline) noexcept {
    std::array<epoll_event, events_a_turn> events;
    if (!ended_.empty()) deadline = Deadline::poll();
    // Under a test clock the kernel's does not tell when the deadline comes: look again soon.
    if (!deadline.is_poll() && !deadline.is_forever() && base::clock_is_for_test())
        deadline = deadline.has_passed() ? Deadline::poll()
                                         : Deadline::at_monotonic_ns(base::monotonic_ns() + test_clock_look_ns);
    const int n = epoll_.wait(events, deadline);
    for (int i = 0; i < n; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.u64 != bell_tag) on_event(event.data.u64, event.events);
    }
    if (files_) {
        base::IntrusiveList done;
        files_->take_done(done);
        while (base::ListNode* node = done.pop_front()) end(static_cast<Operation&>(*node));
    }
    run_ended();
}

void EpollPoller::wake() noexcept {
    const std::uint64_t one = 1;
    os::write_some(bell_.get(), &one, sizeof one);
}

} // namespace sennit::loop

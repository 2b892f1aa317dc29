#include <sennit/os/ring.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <cerrno>
#include <string>

#if SENNIT_IO_URING

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// What one call may move: a result fits into an int.
constexpr std::size_t most_bytes = 0x7ffff000;
constexpr unsigned needed_features =
    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_FAST_POLL | IORING_FEAT_CQE_SKIP | IORING_FEAT_SUBMIT_STABLE;
constexpr unsigned flags_always = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;

int set_up(io_uring& ring, unsigned submissions, unsigned completions, unsigned flags) noexcept {
    if (const int error = FAULT_POINT_ERROR("ring.setup")) return -error;
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = completions;
    return ::io_uring_queue_init_params(submissions, &ring, &params);
}

unsigned clamped(std::size_t bytes) noexcept { return static_cast<unsigned>(std::min(bytes, most_bytes)); }

} // namespace

bool ring_is_built_in() noexcept { return true; }

Ring::Ring(unsigned submissions, unsigned completions) : ring_(std::make_unique<io_uring>()), pid_(::getpid()) {
    // Disabled at first, so that it belongs to who uses it and not to who makes it.
    int failed = set_up(*ring_, submissions, completions,
                        flags_always | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                            IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED);
    one_issuer_ = failed == 0;
    if (failed == -EINVAL) // before 6.1
        failed = set_up(*ring_, submissions, completions,
                        flags_always | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
    if (failed == -EINVAL)
        throw OSError(
            ENOSYS, "io_uring_setup: this kernel's io_uring is older than Linux 5.19; use epoll (SENNIT_POLLER=epoll)");
    if (failed != 0) {
        throw OSError(-failed,
                      "io_uring_setup: cannot make an io_uring; containers and kernel.io_uring_disabled may forbid it: "
                      "use epoll (SENNIT_POLLER=epoll)");
    }
    if ((ring_->features & needed_features) != needed_features) {
        ::io_uring_queue_exit(ring_.get());
        throw OSError(ENOSYS,
                      "io_uring_setup: this kernel's io_uring lacks what is needed; use epoll (SENNIT_POLLER=epoll)");
    }
    // A child of fork() that touched it would confuse the parent's.
    static_cast<void>(::io_uring_ring_dontfork(ring_.get()));
}

Ring::~Ring() {
    if (!is_ours())
        ::close(ring_->ring_fd); // its memory was not copied into this child
    else
        ::io_uring_queue_exit(ring_.get());
}

bool Ring::is_ours() const noexcept { return pid_ == ::getpid(); }

int Ring::attach() noexcept {
    const std::int64_t me = current_thread_id();
    if (thread_ == me) return 0;
    if (one_issuer_ && thread_ != 0) return -EBUSY;
    thread_ = me;
    // Not io_uring_enable_rings(), which the shared liburing 2.3 lacks.
    if (!one_issuer_) return 0;
    return ::io_uring_register(static_cast<unsigned>(ring_->ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
}

io_uring_sqe* Ring::next() noexcept {
    io_uring_sqe* entry = ::io_uring_get_sqe(ring_.get());
    if (!entry) [[unlikely]] {
        submit();
        entry = ::io_uring_get_sqe(ring_.get());
    }
    return entry;
}

template <class Prepare>
bool Ring::queue(std::uint64_t tag, Prepare prepare) noexcept {
    io_uring_sqe* const entry = next();
    if (!entry) [[unlikely]]
        return false;
    prepare(entry);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool Ring::recv(int fd, void* data, std::size_t bytes, int flags, bool likely_empty, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_recv(e, fd, data, clamped(bytes), flags);
        if (likely_empty) e->ioprio |= IORING_RECVSEND_POLL_FIRST;
    });
}
bool Ring::send(int fd, const void* data, std::size_t bytes, int flags, std::uint64_t tag) noexcept {
    return queue(tag,
                 [&](io_uring_sqe* e) { ::io_uring_prep_send(e, fd, data, clamped(bytes), flags | MSG_NOSIGNAL); });
}
bool Ring::recvmsg(int fd, msghdr* message, int flags, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_recvmsg(e, fd, message, static_cast<unsigned>(flags | MSG_CMSG_CLOEXEC));
    });
}
bool Ring::sendmsg(int fd, const msghdr* message, int flags, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_sendmsg(e, fd, message, static_cast<unsigned>(flags | MSG_NOSIGNAL));
    });
}
bool Ring::accept(int fd, std::uint64_t tag) noexcept {
    return queue(
        tag, [&](io_uring_sqe* e) { ::io_uring_prep_accept(e, fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
}
bool Ring::accept_each(int fd, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_multishot_accept(e, fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    });
}
bool Ring::connect(int fd, const void* address, std::size_t bytes, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_connect(e, fd, static_cast<const sockaddr*>(address), static_cast<socklen_t>(bytes));
    });
}
bool Ring::read(int fd, void* data, std::size_t bytes, std::int64_t offset, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_read(e, fd, data, clamped(bytes), static_cast<std::uint64_t>(offset));
    });
}
bool Ring::write(int fd, const void* data, std::size_t bytes, std::int64_t offset, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_write(e, fd, data, clamped(bytes), static_cast<std::uint64_t>(offset));
    });
}
bool Ring::splice(int from, std::int64_t from_offset, int to, std::size_t bytes, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_splice(e, from, from_offset, to, -1, clamped(bytes), SPLICE_F_MOVE);
    });
}
bool Ring::poll_in(int fd, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) { ::io_uring_prep_poll_add(e, fd, POLLIN | POLLRDHUP | POLLPRI); });
}
bool Ring::poll_out(int fd, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) { ::io_uring_prep_poll_add(e, fd, POLLOUT); });
}
bool Ring::watch_in(int fd, std::uint64_t tag) noexcept {
    return queue(tag, [&](io_uring_sqe* e) { ::io_uring_prep_poll_multishot(e, fd, POLLIN); });
}
bool Ring::cancel(std::uint64_t tag, std::uint64_t own_tag) noexcept {
    return queue(own_tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_cancel64(e, tag, 0);
        e->flags |= IOSQE_CQE_SKIP_SUCCESS;
    });
}
bool Ring::cancel_all(std::uint64_t own_tag) noexcept {
    return queue(own_tag, [&](io_uring_sqe* e) {
        ::io_uring_prep_cancel64(e, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        e->flags |= IOSQE_CQE_SKIP_SUCCESS;
    });
}

int Ring::submit() noexcept {
    for (;;) {
        const int n = ::io_uring_submit(ring_.get());
        if (n >= 0) return 0;
        if (n != -EINTR) return n;
    }
}

// Whatever it gives, the caller reaps and comes again: -EBUSY, -EAGAIN, -ETIME; and -EINTR, for a sanitizer runs a signal's handler only
// at the next call into the C library, and these are none.
void Ring::enter(Deadline deadline) noexcept {
    if (deadline.is_poll()) {
        const unsigned owed = IO_URING_READ_ONCE(*ring_->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
        if (owed == 0 && ::io_uring_sq_ready(ring_.get()) == 0) return;
        ::io_uring_submit_and_get_events(ring_.get());
    } else if (deadline.is_forever()) {
        ::io_uring_submit_and_wait(ring_.get(), 1);
    } else {
        const std::int64_t ns = deadline.remaining_ns();
        __kernel_timespec left{};
        left.tv_sec = ns / 1'000'000'000;
        left.tv_nsec = ns % 1'000'000'000;
        io_uring_cqe* first = nullptr;
        ::io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &left, nullptr);
    }
}

std::size_t Ring::reap(std::span<Completion> completions) noexcept {
    unsigned head = 0;
    io_uring_cqe* entry = nullptr;
    std::size_t n = 0;
    io_uring_for_each_cqe(ring_.get(), head, entry) {
        if (n == completions.size()) break;
        completions[n++] = {entry->user_data, entry->res, (entry->flags & IORING_CQE_F_MORE) != 0,
                            (entry->flags & IORING_CQE_F_SOCK_NONEMPTY) != 0};
    }
    ::io_uring_cq_advance(ring_.get(), static_cast<unsigned>(n));
    return n;
}

} // namespace sennit::os

#else

struct io_uring {};

namespace sennit::os {

bool ring_is_built_in() noexcept { return false; }
Ring::Ring(unsigned, unsigned) {
    throw OSError(
        ENOSYS, "io_uring: this libsennit was built without it (SENNIT_IO_URING=OFF); use epoll (SENNIT_POLLER=epoll)");
}
Ring::~Ring() = default;
bool Ring::is_ours() const noexcept { return true; }
int Ring::attach() noexcept { return -ENOSYS; }
bool Ring::cancel_all(std::uint64_t) noexcept { return false; }
bool Ring::recv(int, void*, std::size_t, int, bool, std::uint64_t) noexcept { return false; }
bool Ring::send(int, const void*, std::size_t, int, std::uint64_t) noexcept { return false; }
bool Ring::recvmsg(int, msghdr*, int, std::uint64_t) noexcept { return false; }
bool Ring::sendmsg(int, const msghdr*, int, std::uint64_t) noexcept { return false; }
bool Ring::accept(int, std::uint64_t) noexcept { return false; }
bool Ring::accept_each(int, std::uint64_t) noexcept { return false; }
bool Ring::connect(int, const void*, std::size_t, std::uint64_t) noexcept { return false; }
bool Ring::read(int, void*, std::size_t, std::int64_t, std::uint64_t) noexcept { return false; }
bool Ring::write(int, const void*, std::size_t, std::int64_t, std::uint64_t) noexcept { return false; }
bool Ring::splice(int, std::int64_t, int, std::size_t, std::uint64_t) noexcept { return false; }
bool Ring::poll_in(int, std::uint64_t) noexcept { return false; }
bool Ring::poll_out(int, std::uint64_t) noexcept { return false; }
bool Ring::watch_in(int, std::uint64_t) noexcept { return false; }
bool Ring::cancel(std::uint64_t, std::uint64_t) noexcept { return false; }
int Ring::submit() noexcept { return -ENOSYS; }
void Ring::enter(Deadline) noexcept {}
std::size_t Ring::reap(std::span<Completion>) noexcept { return 0; }

} // namespace sennit::os

#endif

// The tag of a submission is the address of its operation, or one of the numbers below.
//
//   (1) An operation stands in one list from start() to its end: of its descriptor (the kernel has it), held_back_, to_cancel_ (the
//       kernel has it), ended_.
//   (2) A cancellation names the address. It is handed over before anything that is queued after it, and done() of that
//       operation runs after it: so it can't meet another operation at the same address.
//   (3) A submission names its descriptor by number until it is handed over: forget() hands over before it returns, so that the number
//       is free for another.
#include <sennit/loop/uring_poller.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/socket.hpp>

#include <array>
#include <cerrno>

namespace sennit::loop {
namespace {

constexpr std::uint64_t bell_tag = 1;
constexpr std::uint64_t cancel_tag = 2; // completes only when there was nothing to cancel
constexpr std::size_t reaped_at_once = 64;
constexpr std::int64_t test_clock_look_ns = 1'000'000;

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

std::size_t length(base::IntrusiveList& list) noexcept {
    std::size_t n = 0;
    for (base::ListNode* node = list.front(); node; node = list.after(*node)) ++n;
    return n;
}

std::uint64_t tag_of(const Operation& op) noexcept { return reinterpret_cast<std::uintptr_t>(&op); }

} // namespace

UringPoller::UringPoller(unsigned submissions, unsigned completions)
    : submissions_(submissions),
      completions_(completions),
      ring_(std::make_unique<os::Ring>(submissions, completions)),
      bell_(os::make_eventfd()) {}

UringPoller::~UringPoller() {
    if (!ring_->is_ours()) return; // in a child of fork(): the parent's operations
    // A loop that was left in the middle: the kernel must not write into what is about to go.
    ends_ = true;
    bool all_told = !attached_;
    while (in_flight_ > 0) {
        while (base::ListNode* node = ended_.pop_front()) {
            static_cast<Operation&>(*node).state_ = Operation::State::idle;
            --in_flight_;
        }
        if (in_flight_ == 0) break;
        if (!all_told) all_told = ring_->cancel_all(cancel_tag);
        while (base::ListNode* node = held_back_.pop_front()) end(static_cast<Operation&>(*node));
        ring_->enter(forever);
        reap();
    }
}

void UringPoller::attach() {
    if (attached_ && ring_->attach() == 0) return;
    if (attached_) { // a ring can't change its thread: another ring
        if (in_flight_ > length(held_back_) + length(ended_)) {
            throw OSError(
                EBUSY,
                "io_uring: operations of this event loop are under way on the thread that ran it before; let them "
                "end there, run it there, or use epoll (SENNIT_POLLER=epoll)");
        }
        ring_ = std::make_unique<os::Ring>(submissions_, completions_);
        bell_watched_ = false;
    }
    if (const int failed = ring_->attach())
        throw OSError(-failed, "io_uring_register: cannot enable the io_uring of an event loop");
    attached_ = true;
}

bool UringPoller::queue(Operation& op, Step step) noexcept {
    using Kind = Operation::Kind;
    const std::uint64_t tag = tag_of(op);
    if (step == polled) return is_output(op.kind) ? ring_->poll_out(op.fd, tag) : ring_->poll_in(op.fd, tag);
    switch (op.kind) {
    case Kind::poll_in:
        return ring_->poll_in(op.fd, tag);
    case Kind::poll_out:
    case Kind::sendfile:
        return ring_->poll_out(op.fd, tag);
    case Kind::read:
        return ring_->read(op.fd, op.data, op.size, -1, tag);
    case Kind::write:
        return ring_->write(op.fd, op.data, op.size, -1, tag);
    case Kind::recv: {
        Descriptor* const d = descriptors_.find(op.fd);
        return ring_->recv(op.fd, op.data, op.size, op.flags, d && !d->nonempty, tag);
    }
    case Kind::send:
        return ring_->send(op.fd, op.data, op.size, op.flags, tag);
    case Kind::recvmsg:
        return ring_->recvmsg(op.fd, static_cast<msghdr*>(op.data), op.flags, tag);
    case Kind::sendmsg:
        return ring_->sendmsg(op.fd, static_cast<const msghdr*>(op.data), op.flags, tag);
    case Kind::accept:
        return ring_->accept(op.fd, tag);
    case Kind::accept_each:
        return ring_->accept_each(op.fd, tag);
    case Kind::connect:
        return ring_->connect(op.fd, op.data, op.size, tag);
    case Kind::file_read:
        return ring_->read(op.fd, op.data, op.size, op.offset, tag);
    case Kind::file_write:
        return ring_->write(op.fd, op.data, op.size, op.offset, tag);
    case Kind::splice:
        return ring_->splice(op.other, op.offset, op.fd, op.size, tag);
    }
    return false;
}

// The operation is in flight and in no list.
void UringPoller::submit(Operation& op, Step step) noexcept {
    Descriptor* const d = descriptors_.find_or_make(op.fd);
    if (!d) {
        op.result = -ENOMEM;
        end(op);
        return;
    }
    if (attached_ && queue(op, step)) [[likely]] {
        op.step_ = step;
        d->operations.push_back(op);
    } else {
        op.step_ = held_back;
        held_back_.push_back(op);
    }
}

bool UringPoller::start_or_finish(Operation& op) noexcept {
    op.cancelled_ = false;
    if (op.fd < 0) {
        op.result = -EBADF;
        return true;
    }
    if (op.kind == Operation::Kind::sendfile) {
        // io_uring has none: it is tried here, and again whenever the socket is writable.
        const int failed = os::make_nonblocking(op.fd);
        op.result = failed != 0 ? failed : static_cast<int>(os::sendfile_some(op.fd, op.other, op.offset, op.size));
        if (op.result != -EAGAIN) return true;
    }
    ++in_flight_;
    op.state_ = Operation::State::waiting;
    submit(op, carried_out);
    return false;
}

void UringPoller::cancel(Operation& op) noexcept {
    if (op.state_ != Operation::State::waiting || op.cancelled_) return;
    op.cancelled_ = true;
    if (op.step_ == held_back) {
        base::IntrusiveList::remove(op);
        op.result = -ECANCELED;
        end(op);
    } else if (!ring_->cancel(tag_of(op), cancel_tag)) {
        base::IntrusiveList::remove(op);
        to_cancel_.push_back(op);
    }
}

void UringPoller::forget(int fd) noexcept {
    Descriptor* const d = fd >= 0 ? descriptors_.find(fd) : nullptr;
    if (!d) return;
    d->nonempty = false;
    bool any = false;
    const auto cancel_those_of = [&](base::IntrusiveList& list) {
        for (base::ListNode *node = list.front(), *next = nullptr; node; node = next) {
            next = list.after(*node);
            auto& op = static_cast<Operation&>(*node);
            if (op.fd != fd) continue;
            any = true;
            cancel(op);
        }
    };
    cancel_those_of(d->operations);
    cancel_those_of(held_back_);
    cancel_those_of(to_cancel_);
    // (3), and the cancellations. Without room for completions the kernel takes nothing: make room.
    while (any && (ring_->submit() != 0 || !to_cancel_.empty())) {
        reap();
        ring_->enter(Deadline::poll());
        go_on();
    }
}

// What found no room before.
void UringPoller::go_on() noexcept {
    if (!bell_watched_) watch_bell();
    for (base::ListNode *node = to_cancel_.front(), *next = nullptr; node; node = next) {
        next = to_cancel_.after(*node);
        auto& op = static_cast<Operation&>(*node);
        if (!ring_->cancel(tag_of(op), cancel_tag)) return;
        base::IntrusiveList::remove(op);
        descriptors_.find(op.fd)->operations.push_back(op);
    }
    base::IntrusiveList again;
    again.splice_back(held_back_);
    while (base::ListNode* node = again.pop_front()) submit(static_cast<Operation&>(*node), carried_out);
}

void UringPoller::watch_bell() noexcept { bell_watched_ = ring_->watch_in(bell_.get(), bell_tag); }

void UringPoller::on_completion(const os::Ring::Completion& completion) noexcept {
    if (completion.tag == cancel_tag) return;
    if (completion.tag == bell_tag) {
        if (!completion.more) bell_watched_ = false;
        return;
    }
    auto& op = *reinterpret_cast<Operation*>(completion.tag);
    if (op.kind == Operation::Kind::accept_each) return on_repeated(static_cast<RepeatedOperation&>(op), completion);
    base::IntrusiveList::remove(op);
    op.result = completion.result;
    const bool would_wait = op.result == -EAGAIN;
    const bool ask_again = op.step_ == polled && op.result >= 0;
    if (would_wait || ask_again || op.result == -EINTR) {
        if (!op.cancelled_) {
            // It is to be tried now: what can't be polled would be polled for ever.
            if (Descriptor* const d = descriptors_.find(op.fd)) d->nonempty = true;
            return submit(op, would_wait ? polled : carried_out);
        }
        op.result = -ECANCELED;
    }
    switch (op.kind) {
    case Operation::Kind::poll_in:
    case Operation::Kind::poll_out:
        if (op.result > 0) op.result = 0;
        break;
    case Operation::Kind::recv:
        if (Descriptor* const d = descriptors_.find(op.fd)) d->nonempty = completion.nonempty;
        break;
    case Operation::Kind::sendfile:
        if (op.result < 0) break;
        op.result = static_cast<int>(os::sendfile_some(op.fd, op.other, op.offset, op.size));
        if (op.result == -EAGAIN) {
            if (!op.cancelled_) return submit(op, carried_out);
            op.result = -ECANCELED;
        }
        break;
    default:
        break;
    }
    end(op);
}

// What has come is the operation's whatever else the completion says: so a cancellation loses nothing.
void UringPoller::on_repeated(RepeatedOperation& op, const os::Ring::Completion& completion) noexcept {
    if (completion.result >= 0) {
        op.arrived(op, completion.result);
        if (!op.told_.linked()) told_.push_back(op.told_);
    }
    if (completion.more) return;
    base::IntrusiveList::remove(op);
    const bool again = completion.result >= 0 || completion.result == -EAGAIN || completion.result == -EINTR;
    if (again && !op.cancelled_ && !ends_) return submit(op, carried_out); // the kernel had no room for completions
    if (op.told_.linked()) base::IntrusiveList::remove(op.told_);
    op.result = again ? -ECANCELED : completion.result;
    end(op);
}

void UringPoller::run_told() noexcept {
    base::IntrusiveList now;
    now.splice_back(told_);
    while (base::ListNode* node = now.pop_front()) {
        RepeatedOperation& op = *static_cast<RepeatedOperation::Told&>(*node).op;
        op.done(op);
    }
}

// done() of what has ended is not called here.
void UringPoller::reap() noexcept {
    std::array<os::Ring::Completion, reaped_at_once> completions;
    std::size_t n = 0;
    do {
        n = ring_->reap(completions);
        for (std::size_t i = 0; i < n; ++i) on_completion(completions[i]);
    } while (n == completions.size());
}

void UringPoller::turn(Deadline deadline) noexcept {
    if (!attached_) [[unlikely]] {
        if (ring_->attach() != 0) return;
        attached_ = true;
    }
    if (!bell_watched_ || !held_back_.empty() || !to_cancel_.empty()) [[unlikely]]
        go_on();
    if (!ended_.empty() || !told_.empty() || !held_back_.empty() || !to_cancel_.empty()) deadline = Deadline::poll();
    // Under a test clock the kernel's does not tell when the deadline comes: look again soon.
    if (!deadline.is_poll() && !deadline.is_forever() && base::clock_is_for_test())
        deadline = deadline.has_passed() ? Deadline::poll()
                                         : Deadline::at_monotonic_ns(base::monotonic_ns() + test_clock_look_ns);
    ring_->enter(deadline);
    reap();
    if (!told_.empty()) run_told();
    run_ended();
}

void UringPoller::wake() noexcept {
    const std::uint64_t one = 1;
    os::write_some(bell_.get(), &one, sizeof one);
}

} // namespace sennit::loop

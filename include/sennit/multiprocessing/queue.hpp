// Queues between processes.      Python: multiprocessing.Queue, JoinableQueue, SimpleQueue
#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/queue_core.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::multiprocessing {

namespace detail {

struct QueueSites {
    static const wait::WaitSite put, get, join;
};
[[noreturn]] void refuse_closed_queue(const char* call);
[[noreturn]] void refuse_task_done();
void refuse_descriptors();

// Whether a T may have descriptors: what makes its cargo by itself, and what can't be looked into.
template <class T>
consteval bool may_have_fds();
template <class... T>
consteval bool any_may_have_fds(std::tuple<T...>*) {
    return (may_have_fds<std::remove_const_t<T>>() || ...);
}
template <class T>
consteval bool may_have_fds() {
    if constexpr (raw<T> || std::same_as<T, bool> || std::same_as<T, std::string>)
        return false;
    else if constexpr (PacksItself<T> || CerealFunctions<T>)
        return true;
    else if constexpr (Associative<T> && requires { typename T::mapped_type; })
        return may_have_fds<typename T::key_type>() || may_have_fds<typename T::mapped_type>();
    else if constexpr (Container<T> || is_std_array<T> || is_a<T, std::optional>)
        return may_have_fds<std::remove_const_t<typename T::value_type>>();
    else if constexpr (is_a<T, std::pair>)
        return may_have_fds<typename T::first_type>() || may_have_fds<typename T::second_type>();
    else if constexpr (is_a<T, std::tuple>)
        return any_may_have_fds(static_cast<T*>(nullptr));
    else
        return true;
}

// Whose making runs no code of the user's: these are made of the queue's memory itself, without a copy in between.
template <class T>
inline constexpr bool made_in_place = raw<T> || RawRange<T>;

template <class T>
class QueueGetOp {
  public:
    QueueGetOp(QueueCore& core, std::shared_ptr<QueueCore> keep, bool block, bool looks)
        : core_(std::move(keep)), block_(block), op_(core, QueueSites::get, looks, taker(), &value_) {}
    bool try_now(Deadline deadline) {
        if (!block_ && !deadline.is_forever())
            throw UsageError(
                "Queue.get: a deadline makes no sense with block = false; pass block = true, or no deadline");
        return op_.try_now(block_ ? deadline : Deadline::poll());
    }
    T finish(wait::Agent& me) {
        if (!op_.finish_get(me)) throw queue::Empty();
        if (value_) return std::move(*value_);
        CargoReader from(op_.body().bytes(), op_.take_fds());
        T value = unpack<T>(from);
        from.check_end();
        return value;
    }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }
    void has_looked() noexcept { op_.has_looked(); }
    /// What makes a T of a message, in a std::optional<T>.
    static QueueCore::Take taker() noexcept {
        if constexpr (made_in_place<T>)
            return [](void* to, std::span<const std::byte> message) {
                CargoReader from(message);
                T made = unpack<T>(from);
                from.check_end();
                static_cast<std::optional<T>*>(to)->emplace(std::move(made));
            };
        else
            return nullptr;
    }

  private:
    std::shared_ptr<QueueCore> core_; // as long as it waits
    bool block_;
    std::optional<T> value_;
    QueueCore::GetOp op_;
};

class QueuePutOp {
  public:
    QueuePutOp(QueueCore& core, std::shared_ptr<QueueCore> keep, CargoWriter&& cargo, bool block)
        : core_(std::move(keep)), cargo_(std::move(cargo)), block_(block), op_(core, cargo_, QueueSites::put) {}
    /// Of bytes that stay where they are.
    QueuePutOp(QueueCore& core, std::span<const std::byte> bytes, bool block)
        : block_(block), op_(core, bytes, QueueSites::put) {}
    bool try_now(Deadline deadline) {
        if (!block_ && !deadline.is_forever())
            throw UsageError(
                "Queue.put: a deadline makes no sense with block = false; pass block = true, or no deadline");
        return op_.try_now(block_ ? deadline : Deadline::poll());
    }
    void finish(wait::Agent& me) {
        if (!op_.finish(me)) throw queue::Full();
    }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    std::shared_ptr<QueueCore> core_;
    CargoWriter cargo_;
    bool block_;
    QueueCore::PutOp op_;
};

class QueueJoinOp {
  public:
    explicit QueueJoinOp(std::shared_ptr<QueueCore> core) : core_(std::move(core)), op_(*core_, QueueSites::join) {}
    bool try_now(Deadline deadline) { return op_.try_now(deadline); }
    bool finish(wait::Agent& me) { return op_.finish(me); }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    std::shared_ptr<QueueCore> core_;
    QueueCore::JoinOp op_;
};

} // namespace detail

/// Items from agents of some processes to agents of others.      Python: multiprocessing.Queue
///
///     multiprocessing::Queue<Order> orders(100);          // made before the child, or sent to it
///     orders.put({"nails", 3});
///     Order next = orders.get();
///
/// Copies are handles of one queue. Within one process sennit::queue::Queue is leaner, and what can't travel may be in it.
///
/// Agents    Every member but close(), at the same time, from threads and coroutines of all processes that have it.
/// Blocks    put() while there are maxsize items; get() while there is none. The async_ twins suspend the coroutine.
/// Order     First in, first out. What was done before a put() is visible after the get() of its item.
/// Death     Who dies at any instruction, in a put() or a get(), has put a whole item or none, and has taken it or not; the queue
///           goes on. There is no thread that feeds it: what was put is in it, also if the process ends at once.
/// Fairness  None among those who wait.
/// Cancel    A cancelled waiter leaves, takes and puts nothing, and throws CancelledError.
/// Lifetime  The memory lives as long as a handle in any process does. close() ends this handle alone.
/// Cost      A lock, a copy in and a copy out: large ranges of numbers are written once and read once. A system call only when
///           somebody sleeps. Memory: two chunks of 2 MiB, of which only what was touched; more while more is in it.
///           Items with descriptors or shared objects in them (a Connection, a Value) cost some system calls, and as many as about 200
///           of them may be in the queue.
/// Errors    queue::Empty, queue::Full; UsageError after close(); CargoError when what was put is no T; OSError, also when more
///           descriptors are in the queue than the system lets wait there.
template <class T>
class Queue {
  public:
    /// maxsize <= 0: as many items as there is memory. Throws OSError.
    explicit Queue(std::int64_t maxsize = 0) : core_(std::make_shared<QueueCore>(maxsize, takes_fds)) {
        if constexpr (!Shippable<T>) detail::explain<T>();
    }

    /// Throws Full when there is no room, at once or by the deadline.
    void put(const T& item, bool block = true, Deadline deadline = forever) {
        if constexpr (detail::raw<T>) {
            const auto bytes = std::as_bytes(std::span(&item, 1));
            if (block && here("put").put_quickly(bytes)) return;
            detail::QueuePutOp op(here("put"), bytes, block);
            run(op, deadline);
            return;
        }
        CargoWriter cargo(CargoWriter::Ranges::lend);
        multiprocessing::pack(cargo, item);
        put_cargo(std::move(cargo), block, deadline);
    }
    void put(const T& item, Deadline deadline) { put(item, true, deadline); }
    void put_nowait(const T& item) { put(item, false); }
    /// An item without a vector around it.
    template <class C = T>
    requires detail::RawRange<C>
    void put_range(std::span<const typename C::value_type> items, Deadline deadline = forever) {
        CargoWriter cargo(CargoWriter::Ranges::lend);
        multiprocessing::pack(cargo, items);
        put_cargo(std::move(cargo), true, deadline);
    }
    /// Throws Empty when there is none, at once or by the deadline.
    T get(bool block = true, Deadline deadline = forever) {
        const bool quickly = detail::made_in_place<T> && block && !deadline.is_poll();
        if constexpr (detail::made_in_place<T>) {
            std::optional<T> value;
            if (quickly && here("get").get_quickly(detail::QueueGetOp<T>::taker(), &value)) return std::move(*value);
        }
        return get_slowly(block, deadline, quickly);
    }
    T get(Deadline deadline) { return get(true, deadline); }
    T get_nowait() { return get(false); }
    /// The next item's contents, copied once. How many those are. Throws BufferTooShort, which has the bytes, when they don't fit.
    template <class C = T>
    requires detail::RawRange<C> std::size_t get_range(std::span<typename C::value_type> buffer,
                                                       Deadline deadline = forever) {
        using U = typename C::value_type;
        struct Target {
            std::span<U> buffer;
            std::size_t n = 0;
            std::optional<std::vector<std::byte>> rest;
            void take(std::span<const std::byte> message) {
                CargoReader from(message);
                n = from.read_count(sizeof(U));
                from.align(alignof(U));
                const std::byte* const bytes = from.take(n * sizeof(U));
                if (n > buffer.size())
                    rest.emplace(bytes, bytes + n * sizeof(U));
                else if (n > 0)
                    std::memcpy(buffer.data(), bytes, n * sizeof(U));
            }
        };
        Target target{buffer, 0, std::nullopt};
        QueueCore::GetOp op(
            here("get_range"), detail::QueueSites::get, true,
            [](void* to, std::span<const std::byte> message) { static_cast<Target*>(to)->take(message); }, &target);
        wait::Agent& me = wait::current_agent();
        if (!op.try_now(deadline)) me.wait(op, deadline);
        if (!op.finish_get(me)) throw queue::Empty();
        if (!op.taken()) target.take(op.body().bytes());
        if (target.rest) throw BufferTooShort(buffer.size_bytes(), std::move(*target.rest));
        return target.n;
    }

    /// The twins for coroutines. The item is packed before the call returns.
    sync::Awaitable<detail::QueuePutOp> async_put(const T& item, bool block = true, Deadline deadline = forever) {
        CargoWriter cargo;
        multiprocessing::pack(cargo, item);
        check(cargo);
        return sync::Awaitable<detail::QueuePutOp>(deadline, here("async_put"), core_, std::move(cargo), block);
    }
    sync::Awaitable<detail::QueuePutOp> async_put(const T& item, Deadline deadline) {
        return async_put(item, true, deadline);
    }
    sync::Awaitable<detail::QueueGetOp<T>> async_get(bool block = true, Deadline deadline = forever) {
        return sync::Awaitable<detail::QueueGetOp<T>>(deadline, here("async_get"), core_, block, false);
    }
    sync::Awaitable<detail::QueueGetOp<T>> async_get(Deadline deadline) { return async_get(true, deadline); }

    /// Old news at once.
    [[nodiscard]] std::size_t qsize() const { return static_cast<std::size_t>(core("qsize")->size()); }
    [[nodiscard]] bool empty() const { return qsize() == 0; }
    [[nodiscard]] bool full() const {
        const auto core = this->core("full");
        return core->maxsize() > 0 && core->size() >= core->maxsize();
    }
    /// 0: none.
    [[nodiscard]] std::size_t maxsize() const { return static_cast<std::size_t>(core("maxsize")->maxsize()); }

    /// This handle is of no more use. What is in the queue stays for the others. Twice is as once.
    void close() noexcept { core_.reset(); }
    /// As Python's, for programs that call them: there is no thread to be joined, and nothing to be lost.
    void join_thread() const noexcept {}
    void cancel_join_thread() const noexcept {}

    /// As a handle of the same queue to another process.
    void pack(CargoWriter& to) const {
        const auto core = this->core("pack");
        to.attach(core->fd(), core);
        if constexpr (takes_fds) to.attach(core->box(), core);
    }
    static Queue unpack(CargoReader& from) { return Queue(made_of(from)); }

  protected:
    explicit Queue(std::shared_ptr<QueueCore> core) noexcept : core_(std::move(core)) {}
    static constexpr bool takes_fds = detail::may_have_fds<T>();
    static std::shared_ptr<QueueCore> made_of(CargoReader& from) {
        os::Fd file = os::duplicate(from.borrow_fd());
        if constexpr (takes_fds)
            return std::make_shared<QueueCore>(std::move(file), os::duplicate(from.borrow_fd()));
        else
            return std::make_shared<QueueCore>(std::move(file));
    }
    [[nodiscard]] std::shared_ptr<QueueCore> core(const char* call) const {
        if (!core_) detail::refuse_closed_queue(call);
        return core_;
    }
    [[nodiscard]] QueueCore& here(const char* call) const {
        if (!core_) [[unlikely]]
            detail::refuse_closed_queue(call);
        return *core_;
    }

  private:
    static void check(const CargoWriter& cargo) {
        if constexpr (!takes_fds)
            if (!cargo.fds().empty()) detail::refuse_descriptors();
    }
    void put_cargo(CargoWriter&& cargo, bool block, Deadline deadline) {
        check(cargo);
        detail::QueuePutOp op(here("put"), nullptr, std::move(cargo), block);
        run(op, deadline);
    }
    [[gnu::noinline]] T get_slowly(bool block, Deadline deadline, bool has_looked) {
        detail::QueueGetOp<T> op(here("get"), nullptr, block, true);
        if (has_looked) op.has_looked();
        return run(op, deadline);
    }
    template <class Op>
    static auto run(Op& op, Deadline deadline) {
        return sync::run_blocking(op, deadline);
    }
    std::shared_ptr<QueueCore> core_;
};

/// A Queue that knows when all that was put has been dealt with.      Python: multiprocessing.JoinableQueue
///
/// Death     What a process had taken and not called task_done() for when it died stays to be done.
template <class T>
class JoinableQueue : public Queue<T> {
  public:
    explicit JoinableQueue(std::int64_t maxsize = 0) : Queue<T>(maxsize) {}
    /// One item that was taken has been dealt with. Throws UsageError when called more often than items were put.
    void task_done() {
        if (!this->core("task_done")->task_done()) detail::refuse_task_done();
    }
    /// True once task_done() was called for every item; false at the deadline.
    bool join(Deadline deadline = forever) {
        detail::QueueJoinOp op(this->core("join"));
        return sync::run_blocking(op, deadline);
    }
    sync::Awaitable<detail::QueueJoinOp> async_join(Deadline deadline = forever) {
        return sync::Awaitable<detail::QueueJoinOp>(deadline, this->core("async_join"));
    }
    static JoinableQueue unpack(CargoReader& from) { return JoinableQueue(Queue<T>::made_of(from)); }

  private:
    explicit JoinableQueue(std::shared_ptr<QueueCore> core) noexcept : Queue<T>(std::move(core)) {}
};

/// A Queue without a bound, and with fewer functions.      Python: multiprocessing.SimpleQueue
template <class T>
class SimpleQueue : private Queue<T> {
  public:
    SimpleQueue() = default;
    void put(const T& item) { Queue<T>::put(item); }
    T get() { return Queue<T>::get(); }
    sync::Awaitable<detail::QueuePutOp> async_put(const T& item) { return Queue<T>::async_put(item); }
    sync::Awaitable<detail::QueueGetOp<T>> async_get() { return Queue<T>::async_get(); }
    using Queue<T>::close;
    using Queue<T>::empty;
    using Queue<T>::pack;
    static SimpleQueue unpack(CargoReader& from) { return SimpleQueue(Queue<T>::made_of(from)); }

  private:
    explicit SimpleQueue(std::shared_ptr<QueueCore> core) noexcept : Queue<T>(std::move(core)) {}
};

} // namespace sennit::multiprocessing

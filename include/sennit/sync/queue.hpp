// Queue, LifoQueue, PriorityQueue, SimpleQueue.                    Python: queue, asyncio.Queue, gevent.queue
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/sync/queue_store.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

namespace sennit::sync {

/// The wait of put().
template <class Store>
class QueuePutOp final : public QueueWait {
  public:
    template <class T>
    QueuePutOp(Store& store, T&& item, bool block)
        : QueueWait(&store, QueueCore::put_site), store_(store), parcel_(std::forward<T>(item)), block_(block) {}

    bool try_now(Deadline deadline) {
        result_ = store_.try_put(parcel_);
        return result_ != QueueResult::blocked || !block_ || deadline.is_poll();
    }
    bool step() noexcept override {
        const bool over = ended_early();
        if (over) store_.leave_putters(*this);
        if (cancelled_) return true;
        try {
            for (;;) {
                result_ = store_.try_put(parcel_); // also at the deadline: there may be room by now
                if (result_ != QueueResult::blocked || over) return true;
                if (patient()) continue;
                if (store_.link_putter(*this)) return false;
            }
        } catch (...) {
            error_ = std::current_exception();
            store_.wake_putter(); // who was woken and takes no room passes that on
            return true;
        }
    }
    void finish(wait::Agent& me) {
        if (cancelled_) me.throw_cancelled();
        if (error_) std::rethrow_exception(error_);
        if (result_ == QueueResult::shut_down) throw queue::ShutDown();
        if (result_ == QueueResult::blocked) throw queue::Full();
    }

  private:
    Store& store_;
    typename Store::Parcel parcel_;
    bool block_;
    QueueResult result_ = QueueResult::blocked;
};

/// The wait of get().
template <class Store, class T>
class QueueGetOp final : public QueueWait {
  public:
    QueueGetOp(Store& store, bool block) noexcept
        : QueueWait(&store, QueueCore::get_site), store_(store), block_(block) {}

    bool try_now(Deadline deadline) {
        result_ = store_.try_take(taken_);
        return result_ != QueueResult::blocked || !block_ || deadline.is_poll();
    }
    bool step() noexcept override {
        const bool over = ended_early();
        if (over) store_.leave_getters(*this);
        if (cancelled_) return true;
        try {
            for (;;) {
                result_ = store_.try_take(taken_); // also at the deadline: there may be an item by now
                if (result_ != QueueResult::blocked || over) return true;
                if (patient()) continue;
                if (store_.link_getter(*this)) return false;
            }
        } catch (...) {
            error_ = std::current_exception();
            store_.wake_getter(); // who was woken and takes no item passes that on
            return true;
        }
    }
    /// make(T&&) of the item; throws when there is none.
    template <class Make>
    auto finish_as(wait::Agent& me, Make make) {
        check(me);
        if (result_ == QueueResult::shut_down) throw queue::ShutDown();
        return taken_.release(store_, make);
    }
    T finish(wait::Agent& me) {
        return finish_as(me, [](T&& item) { return T(std::move(item)); });
    }
    /// For iteration: nullopt once the queue is shut down and drained.
    std::optional<T> finish_or_end(wait::Agent& me) {
        check(me);
        if (result_ == QueueResult::shut_down) return std::nullopt;
        return taken_.release(store_, [](T&& item) { return std::optional<T>(std::in_place, std::move(item)); });
    }

  private:
    void check(wait::Agent& me) {
        if (cancelled_) me.throw_cancelled();
        if (error_) std::rethrow_exception(error_);
        if (result_ == QueueResult::blocked) throw queue::Empty();
    }
    Store& store_;
    typename Store::Taken taken_;
    bool block_;
    QueueResult result_ = QueueResult::blocked;
};

/// The wait of join().
class QueueJoinOp final : public QueueWait {
  public:
    explicit QueueJoinOp(QueueCore& core) noexcept : QueueWait(&core, QueueCore::join_site), core_(core) {}
    bool try_now(Deadline deadline) noexcept {
        done_ = core_.all_done();
        return done_ || deadline.is_poll();
    }
    bool step() noexcept override;
    bool finish(wait::Agent& me) {
        if (cancelled_) me.throw_cancelled();
        return done_;
    }

  private:
    QueueCore& core_;
    bool linked_ = false;
    bool done_ = false;
};

/// What all queues have in common; its functions are explained at Queue.
template <class T, class Store>
class QueueFace {
    static_assert(std::is_object_v<T> && !std::is_const_v<T>,
                  "a queue holds objects: use a pointer or std::reference_wrapper for references, and no const");
    static_assert(std::is_move_constructible_v<T>,
                  "a queue's items must be movable; put a std::unique_ptr to what can't be moved");
    static_assert(std::is_nothrow_destructible_v<T>, "a queue's items must have a destructor that does not throw");
    using GetOp = QueueGetOp<Store, T>;
    using PutOp = QueuePutOp<Store>;

  public:
    using value_type = T;

    QueueFace(const QueueFace&) = delete;
    QueueFace& operator=(const QueueFace&) = delete;

    void put(T item, bool block = true, Deadline deadline = forever) {
        if constexpr (!Store::boxes) {
            if (store_.try_put_item(item) == QueueResult::done) [[likely]]
                return;
        }
        put_slow(std::move(item), block, deadline);
    }
    void put(T item, Deadline deadline) { put(std::move(item), true, deadline); }
    void put_nowait(T item) { put(std::move(item), false); }
    bool try_put(T& item) {
        const QueueResult result = store_.try_put_item(item);
        if (result == QueueResult::shut_down) [[unlikely]]
            throw queue::ShutDown();
        return result == QueueResult::done;
    }
    bool try_put(T&& item) { return try_put(item); }

    T get(bool block = true, Deadline deadline = forever) {
        return store_.take_now([](T&& item) { return T(std::move(item)); },
                               [&](QueueResult) { return get_slow(block, deadline); });
    }
    T get(Deadline deadline) { return get(true, deadline); }
    T get_nowait() { return get(false); }
    std::optional<T> try_get() {
        return store_.take_now([](T&& item) { return std::optional<T>(std::in_place, std::move(item)); },
                               [](QueueResult result) -> std::optional<T> {
                                   if (result == QueueResult::shut_down) throw queue::ShutDown();
                                   return std::nullopt;
                               });
    }

    Awaitable<PutOp> async_put(T item, bool block = true, Deadline deadline = forever) {
        return Awaitable<PutOp>(deadline, store_, std::move(item), block);
    }
    Awaitable<PutOp> async_put(T item, Deadline deadline) { return async_put(std::move(item), true, deadline); }
    Awaitable<GetOp> async_get(bool block = true, Deadline deadline = forever) {
        return Awaitable<GetOp>(deadline, store_, block);
    }
    Awaitable<GetOp> async_get(Deadline deadline) { return async_get(true, deadline); }

    [[nodiscard]] std::size_t qsize() const noexcept { return store_.size(); }
    [[nodiscard]] bool empty() const noexcept { return store_.size() == 0; }

    void reset_after_fork() noexcept { store_.reset_after_fork(); }

  protected:
    template <class... Args>
    explicit QueueFace(Args&&... args) : store_(std::forward<Args>(args)...) {}
    ~QueueFace() = default;

    [[gnu::noinline]] void put_slow(T&& item, bool block, Deadline deadline) {
        PutOp op(store_, std::move(item), block);
        run_blocking(op, deadline);
    }
    [[gnu::noinline]] T get_slow(bool block, Deadline deadline) {
        GetOp op(store_, block);
        return run_blocking(op, deadline);
    }
    std::optional<T> next() {
        GetOp op(store_, true);
        wait::Agent& me = wait::current_agent();
        if (!op.try_now(forever)) me.wait(op, forever);
        return op.finish_or_end(me);
    }

    Store store_;
};

/// The rest of a queue that can be limited, joined and shut down.
template <class T, class Store>
class JoinableQueueFace : public QueueFace<T, Store> {
    using Face = QueueFace<T, Store>;

  public:
    [[nodiscard]] std::int64_t maxsize() const noexcept { return this->store_.maxsize(); }
    [[nodiscard]] bool full() const noexcept { return this->store_.full(); }

    void task_done() { this->store_.task_done(); }
    bool join(Deadline deadline = forever) {
        if (this->store_.all_done()) return true;
        QueueJoinOp op(this->store_);
        return run_blocking(op, deadline);
    }
    Awaitable<QueueJoinOp> async_join(Deadline deadline = forever) {
        return Awaitable<QueueJoinOp>(deadline, this->store_);
    }
    void shutdown(bool immediate = false) noexcept { this->store_.shutdown(immediate); }

    /// Gets items; equal to std::default_sentinel once the queue is shut down and drained. Holds the present item.
    class iterator {
      public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        T& operator*() const noexcept { return *item_; }
        T* operator->() const noexcept { return &*item_; }
        iterator& operator++() {
            item_.reset(); // before it waits for the next one
            fill();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.item_.has_value(); }

      private:
        friend class JoinableQueueFace;
        explicit iterator(JoinableQueueFace& queue) : queue_(&queue) { fill(); }
        void fill() {
            if (std::optional<T> next = queue_->next()) item_.emplace(std::move(*next));
        }
        JoinableQueueFace* queue_;
        mutable std::optional<T> item_;
    };
    iterator begin() { return iterator(*this); }
    std::default_sentinel_t end() noexcept { return std::default_sentinel; }

  protected:
    using Face::Face;
    ~JoinableQueueFace() = default;
};

template <class T>
using FifoStore =
    std::conditional_t<std::is_nothrow_move_constructible_v<T>, SegmentStore<T>, NodeStore<T, FifoOrder<T>>>;

/// Items from agents to agents, first in, first out.        Python: queue.Queue, asyncio.Queue, gevent.queue.JoinableQueue
///
///     Queue<Job> jobs(100);                   // at most 100 wait; put() waits for room
///     jobs.put(Job{...});
///     for (Job& job : jobs) { run(job); jobs.task_done(); }   // a worker: until jobs.shutdown()
///     jobs.join();                            // until all that was put is done
///     Job job = co_await jobs.async_get();    // a coroutine
///
/// Use LifoQueue or PriorityQueue for another order, SimpleQueue for no more than put and get.
///
///   put(item, block, deadline)  adds an item; waits for room. Throws Full when `block` is false or at the deadline,
///                               ShutDown once the queue is shut down.
///   get(block, deadline)        takes the oldest item; waits for one. Throws Empty when `block` is false or at the
///                               deadline, ShutDown once the queue is shut down and drained.
///   put_nowait, get_nowait      the same with block = false.
///   try_put(item), try_get()    never wait: false, and the item as it was; no value. Throw ShutDown as put and get.
///   qsize, empty, full          exact while nobody puts or gets, old news otherwise.
///   maxsize                     0: no limit.
///   task_done()                 says that an item that was taken is finished. Throws UsageError when called too often.
///   join(deadline)              waits until every item put is finished; false at the deadline.
///   shutdown(immediate)         no more put; who waits to put throws ShutDown. Getters get what is left, then ShutDown.
///                               Immediate: what is left is dropped and counts as finished. Later an immediate one may follow.
///   begin, end                  gets items until the queue is shut down and drained.
///   async_put, async_get, async_join   the same for coroutines.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines, mixed at will.
/// Blocks    put(), get(), join() and iteration park the agent; the async_ twins suspend the coroutine. The rest never waits,
///           but for the few instructions in which another agent is just writing the item, or emptying the place.
/// Order     What was done before put() is visible after the get() that takes the item; what was done before task_done()
///           after the join(). Items leave in the order in which they came; linearizable.
/// Fairness  Who waits is woken first come first served. A running agent may be quicker than a woken one, which then waits
///           at the front. Before it sleeps, a thread looks again for up to some 30 us.
/// Cancel    A cancelled getter takes nothing, a cancelled putter leaves nothing, and the next one is woken. Who was woken
///           first ends well, and the cancellation comes at the agent's next wait.
/// Errors    A put or get whose item's move throws changes nothing: the item stays in the queue, or never was. Memory
///           refused: put throws bad_alloc, and changes nothing.
/// Lifetime  Outlives every call on it. Its destructor destroys what is left. Items are destroyed under no lock: their
///           destructors may use the queue. An item's move must not wait, nor get from the queue; one that may throw is
///           moved by try_put under the queue's lock, and must not use the queue at all.
/// Cost      T that moves without throwing: one compare-exchange and a store to put, the same to get; memory in blocks that
///           are used again, freed when a long queue gets short. Other T: a lock, and an allocation an item.
/// Source    Python 3.13's queue.py; differences: negative deadlines poll. queue_core.cpp explains the algorithm.
template <class T>
class Queue : public JoinableQueueFace<T, FifoStore<T>> {
  public:
    /// maxsize <= 0: no limit. A large limit costs no memory before it is used.
    explicit Queue(std::int64_t maxsize = 0) : JoinableQueueFace<T, FifoStore<T>>(maxsize) {}
};

/// The youngest item first. Else as Queue; linearizable, under a lock, an allocation an item.     Python: queue.LifoQueue
template <class T>
class LifoQueue : public JoinableQueueFace<T, NodeStore<T, LifoOrder<T>>> {
  public:
    explicit LifoQueue(std::int64_t maxsize = 0) : JoinableQueueFace<T, NodeStore<T, LifoOrder<T>>>(maxsize) {}
};

/// The smallest item first, or what Compare puts first; equal ones in the order in which they were put.
/// Else as Queue; linearizable, under a lock, an allocation an item; O(log n).                    Python: queue.PriorityQueue
///
/// Compare is called under the queue's lock: it must not wait nor use the queue. When it throws, so does put or get, and no
/// item is lost.
template <class T, class Compare = std::less<T>>
class PriorityQueue : public JoinableQueueFace<T, NodeStore<T, PriorityOrder<T, Compare>>> {
    using Face = JoinableQueueFace<T, NodeStore<T, PriorityOrder<T, Compare>>>;

  public:
    explicit PriorityQueue(std::int64_t maxsize = 0, Compare compare = Compare())
        : Face(maxsize, PriorityOrder<T, Compare>(std::move(compare))) {}
};

/// No limit, no join, no shutdown: put never waits, and may be called from an item's destructor. Else as Queue.
/// Python: queue.SimpleQueue
///
/// `block` and `deadline` of put are there for the same call as Queue's, and change nothing.
template <class T>
class SimpleQueue : public QueueFace<T, FifoStore<T>> {
  public:
    SimpleQueue() : QueueFace<T, FifoStore<T>>(std::int64_t{0}) {}
};

} // namespace sennit::sync

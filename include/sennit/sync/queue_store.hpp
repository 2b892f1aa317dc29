// Where a queue keeps its items: the typed halves, thin skins over QueueCore. Not for users; Queue and its siblings are in
// queue.hpp.
#pragma once

#include <sennit/sync/queue_core.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace sennit::sync {

// Both stores offer the same:
//   Parcel              an item on its way in, made from a T&&
//   Taken               an item on its way out; release(store, make) gives make(T&&), once
//   try_put_item(T&)    the item is moved from if, and only if, the result is `done`
//   try_put(Parcel&)    the same, and may be tried again
//   try_take(Taken&)
//   take_now(make, otherwise)  make(T&&), where the item lies, or else otherwise(result)
//   link_putter, link_getter, shutdown, and what QueueCore has

/// For items that move without throwing: the infinite array, see queue_core.cpp.
///
/// A cell is in use from the claim of its place to its `written`, and from the next claim to its `read`; a T's move and
/// destructor run in these times and must not wait. They may put to the queue.
template <class T>
class SegmentStore : public QueueCore {
    struct Cell {
        // 2 * the segment's number + written or read; anything else: not yet written.
        atomic<std::uint32_t> state{0};
        union {
            T item;
        };
        Cell() noexcept {} // NOLINT(modernize-use-equals-default): of the union
        ~Cell() {}         // NOLINT(modernize-use-equals-default)
    };
    static constexpr std::uint32_t written = 1, read = 2;
    static constexpr unsigned choose_shift() {
        unsigned shift = 2;
        while (shift < 8 && (sizeof(Cell) << (shift + 1)) <= 4096) ++shift;
        return shift;
    }
    static constexpr unsigned shift = choose_shift();
    struct Segment : QueueSegment {
        alignas(64) Cell cells[std::size_t{1} << shift];
    };
    static QueueSegment* make() { return new Segment; }
    static void destroy(QueueSegment* s) noexcept { delete static_cast<Segment*>(s); }
    static bool drained(const QueueSegment* s) noexcept {
        const auto done = static_cast<std::uint32_t>(2 * s->number) + read;
        for (const Cell& c : static_cast<const Segment*>(s)->cells)
            if (c.state.load(memory_order_acquire) != done) return false; // meets g8
        return true;
    }
    static constexpr QueueSegmentType type{&make, &destroy, &drained, shift};

    static Cell& cell(const Place& at) noexcept {
        return static_cast<Segment*>(at.segment)->cells[at.position & ((std::uint64_t{1} << shift) - 1)];
    }
    static std::uint32_t base_state(const Place& at) noexcept {
        return static_cast<std::uint32_t>(2 * (at.position >> shift));
    }

    // An item whose place has been claimed. At the end of the scope the place is free.
    class ClaimedItem {
      public:
        ClaimedItem(SegmentStore& store, const Place& at) noexcept : store_(store), at_(at) {
            await_written(cell(at).state, base_state(at) + written); // g7
        }
        ClaimedItem(const ClaimedItem&) = delete;
        ClaimedItem& operator=(const ClaimedItem&) = delete;
        ~ClaimedItem() {
            Cell& c = cell(at_);
            c.item.~T();
            c.state.store(base_state(at_) + read, memory_order_release); // g8; meets drained(). The last touch of it
            if (at_.somebody_waits) [[unlikely]]                         // g9
                store_.wake_putter();
        }
        T&& operator*() noexcept { return std::move(cell(at_).item); }

      private:
        SegmentStore& store_;
        Place at_;
    };

  public:
    static constexpr bool boxes = false;

    explicit SegmentStore(std::int64_t maxsize) noexcept : QueueCore(maxsize) {}
    ~SegmentStore() {
        drop_all();
        free_segments(type);
    }

    struct Parcel {
        explicit Parcel(T&& from) noexcept : item(std::move(from)) {}
        T item;
    };
    QueueResult try_put_item(T& item) {
        Place at;
        const QueueResult result = claim_put<shift>(at, type);
        if (result != QueueResult::done) [[unlikely]]
            return result;
        Cell& c = cell(at);
        ::new (static_cast<void*>(std::addressof(c.item))) T(std::move(item));
        c.state.store(base_state(at) + written, memory_order_release); // p7; meets g7
        if (at.somebody_waits) [[unlikely]]                            // p8
            wake_getter();
        return QueueResult::done;
    }
    QueueResult try_put(Parcel& parcel) { return try_put_item(parcel.item); }

    class Taken {
      public:
        template <class Make>
        auto release(SegmentStore&, Make make) noexcept {
            return make(std::move(*item_));
        }

      private:
        friend class SegmentStore;
        std::optional<T> item_;
    };
    QueueResult try_take(Taken& into) noexcept {
        Place at;
        const QueueResult result = claim_get<shift>(at, type);
        if (result == QueueResult::done) {
            ClaimedItem claimed(*this, at);
            into.item_.emplace(*claimed);
        }
        return result;
    }
    template <class Make, class Else>
    auto take_now(Make make, Else otherwise) {
        Place at;
        const QueueResult result = claim_get<shift>(at, type);
        if (result != QueueResult::done) [[unlikely]]
            return otherwise(result);
        ClaimedItem claimed(*this, at);
        return make(*claimed);
    }

    bool link_putter(QueueWait& w) noexcept { return QueueCore::link_putter(w); }
    bool link_getter(QueueWait& w) noexcept { return QueueCore::link_getter(w); }

    void shutdown(bool immediate) noexcept {
        close();
        if (immediate) drop_unfinished(drop_all());
        wake_everybody();
    }

  private:
    std::uint64_t drop_all() noexcept {
        Place at;
        std::uint64_t n = 0;
        for (; claim_get<shift>(at, type) == QueueResult::done; ++n) ClaimedItem dropped(*this, at);
        return n;
    }
};

/// An item in a box of its own.
template <class T>
struct QueueNode {
    QueueNode* next = nullptr;
    QueueNode* child = nullptr; // PriorityOrder
    std::uint64_t turn = 0;     // PriorityOrder
    T item;
    explicit QueueNode(T&& from) : item(std::move(from)) {}
};

/// First in, first out.
template <class T>
class FifoOrder {
  public:
    using Node = QueueNode<T>;
    [[nodiscard]] bool empty() const noexcept { return !oldest_; }
    void push(Node* n) noexcept {
        n->next = nullptr;
        *end_ = n;
        end_ = &n->next;
    }
    Node* pop() noexcept {
        Node* const n = oldest_;
        oldest_ = n->next;
        if (!oldest_) end_ = &oldest_;
        return n;
    }
    /// Back to where it was.
    void push_back_in(Node* n) noexcept {
        n->next = oldest_;
        if (!oldest_) end_ = &n->next;
        oldest_ = n;
    }
    /// All of them, linked by `next`.
    Node* take_all() noexcept {
        end_ = &oldest_;
        return std::exchange(oldest_, nullptr);
    }

  private:
    Node* oldest_ = nullptr;
    Node** end_ = &oldest_;
};

/// Last in, first out.
template <class T>
class LifoOrder {
  public:
    using Node = QueueNode<T>;
    [[nodiscard]] bool empty() const noexcept { return !top_; }
    void push(Node* n) noexcept {
        n->next = top_;
        top_ = n;
    }
    Node* pop() noexcept { return std::exchange(top_, top_->next); }
    void push_back_in(Node* n) noexcept { push(n); }
    Node* take_all() noexcept { return std::exchange(top_, nullptr); }

  private:
    Node* top_ = nullptr;
};

/// The smallest first; equal ones in the order in which they came.
///
/// A pairing heap: push is one comparison or two, pop O(log n) amortised, no allocation. A comparison that throws leaves all
/// items in.        Source: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap", 1986
template <class T, class Compare>
class PriorityOrder {
  public:
    using Node = QueueNode<T>;
    PriorityOrder() = default;
    explicit PriorityOrder(Compare before) : before_(std::move(before)) {}
    [[nodiscard]] bool empty() const noexcept { return !root_ && !returned_; }
    void push(Node* n) {
        n->next = n->child = nullptr;
        n->turn = next_turn_;
        root_ = root_ ? meld(root_, n) : n;
        ++next_turn_;
    }
    Node* pop() {
        if (returned_) return std::exchange(returned_, returned_->next);
        Node* const top = root_;
        // First pass: pairs, from the youngest on. Second pass: all of them into one.
        Node* rest = top->child;
        Node* pairs = nullptr;
        try {
            while (rest) {
                Node* const a = rest;
                Node* const b = a->next;
                Node* const after = b ? b->next : nullptr;
                Node* const both = b ? meld(a, b) : a; // throws before it changes anything
                both->next = pairs;
                pairs = both;
                rest = after;
            }
            while (pairs && pairs->next) {
                Node* const a = pairs;
                Node* const b = a->next;
                Node* const after = b->next;
                Node* const both = meld(a, b);
                both->next = after;
                pairs = both;
            }
        } catch (...) {
            Node** end = &pairs;
            while (*end) end = &(*end)->next;
            *end = rest;
            top->child = pairs;
            throw;
        }
        root_ = pairs;
        return top;
    }
    void push_back_in(Node* n) noexcept { // it was the first, and comparing might throw
        n->next = returned_;
        returned_ = n;
    }
    Node* take_all() noexcept {
        Node* flat = std::exchange(returned_, nullptr);
        Node* todo = std::exchange(root_, nullptr);
        if (todo) todo->next = nullptr;
        while (todo) {
            Node* const n = std::exchange(todo, todo->next);
            if (n->child) {
                Node** end = &n->child;
                while (*end) end = &(*end)->next;
                *end = todo;
                todo = n->child;
            }
            n->next = flat;
            flat = n;
        }
        return flat;
    }

  private:
    bool goes_before(const Node& a, const Node& b) {
        if (before_(std::as_const(a.item), std::as_const(b.item))) return true;
        return a.turn < b.turn && !before_(std::as_const(b.item), std::as_const(a.item));
    }
    // Two heaps into one; their `next` is not kept.
    Node* meld(Node* a, Node* b) {
        if (goes_before(*b, *a)) std::swap(a, b);
        b->next = a->child;
        a->child = b;
        a->next = nullptr;
        return a;
    }
    Node* root_ = nullptr;
    Node* returned_ = nullptr; // came back from a get that failed; the last one first
    std::uint64_t next_turn_ = 0;
    [[no_unique_address]] Compare before_{};
};

/// For other orders than first in, first out, and for items whose move may throw: boxes under a lock. The boxes are made and
/// destroyed, and items moved, outside of it.
template <class T, class Order>
class NodeStore : public QueueCore {
    using Node = QueueNode<T>;
    static constexpr bool may_throw = !std::is_nothrow_move_constructible_v<T>;

  public:
    static constexpr bool boxes = true;

    explicit NodeStore(std::int64_t maxsize) : QueueCore(maxsize) {}
    NodeStore(std::int64_t maxsize, Order order) : QueueCore(maxsize), order_(std::move(order)) {}
    ~NodeStore() { drop_all(); }

    class Parcel {
      public:
        explicit Parcel(T&& from) : node_(std::make_unique<Node>(std::move(from))) {}

      private:
        friend class NodeStore;
        std::unique_ptr<Node> node_;
    };
    QueueResult try_put(Parcel& parcel) {
        wait::WakeList wakes;
        os::MutexGuard guard(mutex_);
        const QueueResult result = may_put();
        if (result == QueueResult::done) {
            order_.push(parcel.node_.get()); // a comparison may throw: nothing has changed
            static_cast<void>(parcel.node_.release());
            count_put(wakes);
        }
        return result;
    }
    QueueResult try_put_item(T& item) {
        {
            os::MutexGuard guard(mutex_);
            const QueueResult result = may_put();
            if (result != QueueResult::done) return result;
        }
        if constexpr (may_throw) {
            // The item is to stay whole when another putter is quicker: so it is moved once that can't be any more.
            RawNode raw;
            wait::WakeList wakes;
            os::MutexGuard guard(mutex_);
            const QueueResult result = may_put();
            if (result != QueueResult::done) return result;
            std::unique_ptr<Node> node(raw.construct(std::move(item)));
            order_.push(node.get());
            static_cast<void>(node.release());
            count_put(wakes);
            return result;
        } else {
            Parcel parcel(std::move(item));
            const QueueResult result = try_put(parcel);
            if (result != QueueResult::done) {
                std::destroy_at(std::addressof(item));
                std::construct_at(std::addressof(item), std::move(parcel.node_->item));
            }
            return result;
        }
    }

    class Taken {
      public:
        Taken() = default;
        Taken(Taken&& empty) noexcept : node_(std::exchange(empty.node_, nullptr)) {}
        Taken(const Taken&) = delete;
        Taken& operator=(const Taken&) = delete;
        ~Taken() { delete node_; }
        /// If the item's move throws, it is back in the queue.
        template <class Make>
        auto release(NodeStore& store, Make make) {
            if constexpr (may_throw) {
                Settled at_the_end{store, *this};
                try {
                    return make(std::move(node_->item));
                } catch (...) {
                    store.give_back(std::exchange(node_, nullptr));
                    throw;
                }
            } else {
                return make(std::move(node_->item));
            }
        }

      private:
        friend class NodeStore;
        struct Settled {
            NodeStore& store;
            Taken& taken;
            ~Settled() {
                if (taken.node_) store.settle_get();
            }
        };
        Node* node_ = nullptr;
    };
    QueueResult try_take(Taken& into) {
        wait::WakeList wakes;
        os::MutexGuard guard(mutex_);
        if (order_.empty()) return is_closed() ? QueueResult::shut_down : QueueResult::blocked;
        into.node_ = order_.pop(); // a comparison may throw: nothing has changed
        // An item whose move may throw keeps its room until it has been moved.
        if constexpr (!may_throw) count_gets(1, wakes);
        return QueueResult::done;
    }
    template <class Make, class Else>
    auto take_now(Make make, Else otherwise) {
        Taken taken;
        const QueueResult result = try_take(taken);
        if (result != QueueResult::done) return otherwise(result);
        return taken.release(*this, make);
    }

    bool link_putter(QueueWait& w) noexcept {
        os::MutexGuard guard(mutex_);
        if (may_put() != QueueResult::blocked) return false;
        link_putter_locked(w);
        return true;
    }
    bool link_getter(QueueWait& w) noexcept {
        os::MutexGuard guard(mutex_);
        if (!order_.empty() || is_closed()) return false;
        link_getter_locked(w);
        return true;
    }

    void shutdown(bool immediate) noexcept {
        close();
        if (immediate) drop_unfinished(drop_all());
        wake_everybody();
    }

  private:
    // Memory for a Node, as new would take it.
    struct RawNode {
        Node* memory = std::allocator<Node>().allocate(1);
        Node* construct(T&& from) {
            Node* const made = std::construct_at(memory, std::move(from));
            memory = nullptr;
            return made;
        }
        RawNode() = default;
        RawNode(const RawNode&) = delete;
        RawNode& operator=(const RawNode&) = delete;
        ~RawNode() {
            if (memory) std::allocator<Node>().deallocate(memory, 1);
        }
    };
    void settle_get() noexcept {
        wait::WakeList wakes;
        os::MutexGuard guard(mutex_);
        count_gets(1, wakes);
    }
    void give_back(Node* n) noexcept {
        wait::WakeList wakes;
        os::MutexGuard guard(mutex_);
        order_.push_back_in(n);
        claim_getter(wakes);
    }
    std::uint64_t drop_all() noexcept {
        Node* dropped = nullptr;
        std::uint64_t n = 0;
        {
            wait::WakeList wakes;
            os::MutexGuard guard(mutex_);
            dropped = order_.take_all();
            for (const Node* d = dropped; d; d = d->next) ++n;
            count_gets(n, wakes);
        }
        while (dropped) delete std::exchange(dropped, dropped->next);
        return n;
    }
    Order order_ SENNIT_GUARDED_BY(mutex_);
};

} // namespace sennit::sync

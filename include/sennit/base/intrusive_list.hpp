#pragma once

#include <sennit/base/atomic.hpp>

namespace sennit::base {

/// A node that can stand in one IntrusiveList. Neither copied nor moved while linked.
struct ListNode {
    plain<ListNode*> prev = nullptr;
    plain<ListNode*> next = nullptr;
    [[nodiscard]] bool linked() const noexcept { return next != nullptr; }
};

/// A doubly linked, circular list of nodes that live elsewhere: allocates nothing, every operation is constant time.
///
/// Agents    None by itself: whoever owns the list guards it.
/// Lifetime  A node leaves the list before it dies.
class IntrusiveList {
  public:
    constexpr IntrusiveList() noexcept : head_{&head_, &head_} {}
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;

    [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
    void push_back(ListNode& n) noexcept { insert(*head_.prev, n, head_); }
    void push_front(ListNode& n) noexcept { insert(head_, n, *head_.next); }
    [[nodiscard]] ListNode* front() noexcept { return after(head_); }
    [[nodiscard]] ListNode* back() noexcept {
        ListNode* const last = head_.prev;
        return last == &head_ ? nullptr : last;
    }
    /// The node after `n`, nullptr at the end.
    [[nodiscard]] ListNode* after(ListNode& n) noexcept {
        ListNode* const next = n.next;
        return next == &head_ ? nullptr : next;
    }
    ListNode* pop_front() noexcept {
        ListNode* n = front();
        if (n) remove(*n);
        return n;
    }
    static void remove(ListNode& n) noexcept {
        n.prev->next = n.next;
        n.next->prev = n.prev;
        n.prev = n.next = nullptr;
    }
    /// Moves all nodes of `other` to the end of this list.
    void splice_back(IntrusiveList& other) noexcept {
        if (other.empty()) return;
        ListNode* first = other.head_.next;
        ListNode* last = other.head_.prev;
        other.head_.prev = other.head_.next = &other.head_;
        first->prev = head_.prev;
        head_.prev->next = first;
        last->next = &head_;
        head_.prev = last;
    }

  private:
    static void insert(ListNode& before, ListNode& n, ListNode& after) noexcept {
        n.prev = &before;
        n.next = &after;
        before.next = &n;
        after.prev = &n;
    }
    ListNode head_;
};

} // namespace sennit::base

//   a future that is done                    the agent
//   d1  lock, append the node, count, unlock  g1  watch: a reference to the block; observe
//   d2  raise the flag, release a permit      g2  wait for flag or permit; next(): lock, take the oldest node
//   d3  give back the node's reference        g3  leave: unobserve each; where that came in time, its reference goes back
//
// A node's reference to the block is given back once: by d3, or by g3 when unobserve() says that d1 will never come.
// The agent's own goes last in g3. So the block outlives d2, which may be the last thing before the agent leaves.
#include <sennit/sync/future_group.hpp>

#include <new>

namespace sennit::sync {

struct FutureGroup::Node final : FutureObserver {
    void on_done(FutureCore& future) override;
    void discard() noexcept override;

    Block* block = nullptr;
    FutureCore* core = nullptr; // by the agent alone: nullptr once it was given by next()
    Node* next_done = nullptr;  // under the block's lock
};

struct FutureGroup::Block {
    Block(std::size_t n, Until u) : nodes(new Node[n]), size(n), until(u), left(n) {
        for (std::size_t i = 0; i < n; ++i) nodes[i].block = this;
        if (n == 0) flag.set();
    }
    void release() noexcept {
        // acq_rel: all that the others did is before the destruction.
        if (references.fetch_sub(1, memory_order_acq_rel) == 1) delete this;
    }

    const std::unique_ptr<Node[]> nodes;
    const std::size_t size;
    const Until until;
    atomic<std::size_t> references{1};
    os::Mutex mutex;
    Node* first SENNIT_GUARDED_BY(mutex) = nullptr;
    Node* last SENNIT_GUARDED_BY(mutex) = nullptr;
    std::size_t left SENNIT_GUARDED_BY(mutex);
    Event flag;
    Semaphore ready{0};
};

void FutureGroup::Node::on_done(FutureCore& future) {
    Block& b = *block;
    bool all = false;
    {
        os::MutexGuard guard(b.mutex);
        (b.last ? b.last->next_done : b.first) = this;
        b.last = this;
        all = --b.left == 0;
    }
    if (all || b.until == Until::first_done || (b.until == Until::first_error && future.has_failed())) b.flag.set();
    b.ready.release();
    b.release();
}

void FutureGroup::Node::discard() noexcept { block->release(); }

FutureGroup::FutureGroup(std::size_t size, Until until) : block_(new Block(size, until)) {}

FutureGroup::~FutureGroup() {
    if (!block_) return;
    for (std::size_t i = 0; i < block_->size; ++i) {
        Node& node = block_->nodes[i];
        if (node.core && node.core->unobserve(node)) block_->release();
    }
    block_->release();
}

void FutureGroup::watch(std::size_t index, FutureCore& core) {
    Node& node = block_->nodes[index];
    node.core = &core;
    block_->references.fetch_add(1, memory_order_relaxed); // we have one
    core.observe(node);
}

Event& FutureGroup::flag() const noexcept { return block_->flag; }
Semaphore& FutureGroup::ready() const noexcept { return block_->ready; }

bool FutureGroup::wait(Deadline deadline) {
    if (block_->flag.is_set()) return true;
    const Absence absence(FutureCore::current_wait_hook());
    return block_->flag.wait(deadline);
}

bool FutureGroup::wait_for_next(Deadline deadline) {
    if (block_->ready.try_acquire()) return true;
    if (deadline.is_poll()) return false;
    const Absence absence(FutureCore::current_wait_hook());
    return block_->ready.acquire(true, deadline);
}

std::size_t FutureGroup::next() noexcept {
    os::MutexGuard guard(block_->mutex);
    Node* const node = block_->first;
    block_->first = node->next_done;
    if (!block_->first) block_->last = nullptr;
    node->core = nullptr;
    return static_cast<std::size_t>(node - block_->nodes.get());
}

} // namespace sennit::sync

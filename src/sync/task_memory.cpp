#include <sennit/sync/task_memory.hpp>

#include <sennit/os/mutex.hpp>

#include <algorithm>
#include <cstdint>
#include <new>

namespace sennit::sync {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(SENNIT_MODEL)
constexpr bool pooled = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool pooled = false;
#else
constexpr bool pooled = true;
#endif
#else
constexpr bool pooled = true;
#endif

constexpr std::size_t line = 64; // a block of a whole line is on one
// Those of 64, 128, 192 and 256 bytes begin on a line.
constexpr std::size_t sizes[] = {64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256};
constexpr std::size_t kinds = detail::memory_kinds;
static_assert(kinds == std::size(sizes) && sizes[detail::memory_kind_of(65)] == 80 &&
              sizes[detail::memory_kind_of(80)] == 80 && sizes[detail::memory_kind_of(256)] == 256);
using Block = detail::MemoryBlock;
using detail::Magazine, detail::magazines;
constexpr std::uint32_t batch = 128;
constexpr std::size_t first_slab = std::size_t{32} * 1024, largest_slab = std::size_t{32} * 1024 * 1024;

/// Batches that no thread has, and the rest of the youngest slab. Never destroyed: futures may live until the very end.
class Store {
  public:
    Block* take_batch(std::size_t kind) {
        {
            os::MutexGuard guard(mutex_);
            if (Block* first = batches_) {
                batches_ = first->next_batch;
                return first;
            }
        }
        return carve(sizes[kind]);
    }
    void give_batch(Block* first) noexcept {
        os::MutexGuard guard(mutex_);
        first->next_batch = batches_;
        batches_ = first;
    }

  private:
    // A batch of new blocks, in the order of their addresses.
    Block* carve(std::size_t bytes) {
        char* at = nullptr;
        {
            os::MutexGuard guard(mutex_);
            if (left_ < batch * bytes) {
                // Each slab as large as all before, so that a small program stays small.
                slab_ = std::min(std::max(first_slab, slab_ * 2), largest_slab);
                at_ = static_cast<char*>(::operator new(slab_, std::align_val_t(line)));
                left_ = slab_;
            }
            at = at_;
            at_ += batch * bytes;
            left_ -= batch * bytes;
        }
        Block* first = nullptr;
        for (std::uint32_t i = batch; i-- > 0;) first = ::new (at + i * bytes) Block{first, nullptr};
        return first;
    }

    os::Mutex mutex_;
    Block* batches_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    char* at_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    std::size_t left_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::size_t slab_ SENNIT_GUARDED_BY(mutex_) = 0;
};
static_assert(batch * sizes[kinds - 1] <= first_slab);
constinit Store stores[kinds];

constinit thread_local bool over = false; // the thread's thread_locals are being destroyed

// Gives the blocks back when the thread ends. Apart from the magazines, which have no destructor and so are usable to the end.
struct Returner {
    bool armed = false;
    ~Returner() {
        over = true;
        for (std::size_t k = 0; k < kinds; ++k) {
            Magazine& m = magazines[k];
            if (m.full) stores[k].give_batch(m.full);
            if (m.now) stores[k].give_batch(m.now);
            m = {};
        }
    }
};
thread_local Returner returner;

} // namespace

constinit thread_local Magazine detail::magazines[memory_kinds]{};

// Both out of line: so the short ways save no registers.
void* TaskMemory::take_slow(std::size_t kind, std::size_t bytes) {
    if (!pooled) return ::operator new(bytes);
    Magazine& m = magazines[kind];
    if (m.full) {
        m.now = m.full;
        m.full = nullptr;
    } else {
        m.now = stores[kind].take_batch(kind);
        returner.armed = true;
    }
    Block* const block = m.now;
    m.now = block->next;
    // A batch that a thread left at its end may be shorter; then the room is too small, and the next full one smaller.
    m.room = 1;
    if (over) { // keep nothing that nobody would give back
        if (m.now) stores[kind].give_batch(m.now);
        m = {};
    }
    return block;
}

void TaskMemory::give_slow(std::size_t kind, void* memory) noexcept {
    if (!pooled) return ::operator delete(memory);
    Magazine& m = magazines[kind];
    auto* const block = ::new (memory) Block{nullptr, nullptr};
    if (over) return stores[kind].give_batch(block);
    returner.armed = true;
    if (m.now) { // a whole batch
        if (m.full) stores[kind].give_batch(m.full);
        m.full = m.now;
    }
    m.now = block;
    m.room = batch - 1;
}

} // namespace sennit::sync

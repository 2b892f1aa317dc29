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
constexpr std::size_t kinds = std::size(sizes);
static_assert(sizes[(65 - 49) / 16] == 80 && sizes[(80 - 49) / 16] == 80 && sizes[(256 - 49) / 16] == 256);
constexpr std::uint32_t batch = 128;
constexpr std::size_t first_slab = std::size_t{32} * 1024, largest_slab = std::size_t{32} * 1024 * 1024;

std::size_t kind_of(std::size_t bytes) noexcept { return bytes <= 64 ? 0 : bytes > 256 ? kinds : (bytes - 49) / 16; }

struct Block {
    Block* next;       // in its batch
    Block* next_batch; // of the first one of a batch, in the store
};

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

/// A thread's blocks of one size: those it takes and gives, and one full batch, so that no batch goes to and fro.
struct Magazine {
    Block* now = nullptr;
    std::uint32_t count = 0; // in `now`
    Block* full = nullptr;   // a whole batch, or none
};

struct Cache {
    Magazine of[kinds];
    bool over = false; // the thread's thread_locals are being destroyed
};
constinit thread_local Cache cache;

// Gives the blocks back when the thread ends. Apart from the cache, which has no destructor and so is usable to the end.
struct Returner {
    bool armed = false;
    ~Returner() {
        cache.over = true;
        for (std::size_t k = 0; k < kinds; ++k) {
            Magazine& m = cache.of[k];
            if (m.full) stores[k].give_batch(m.full);
            if (m.now) stores[k].give_batch(m.now);
            m = {};
        }
    }
};
thread_local Returner returner;

// Out of line: so the short ways save no registers.
[[gnu::noinline]] void* take_slow(std::size_t kind) {
    Magazine& m = cache.of[kind];
    if (m.full) {
        m.now = m.full;
        m.full = nullptr;
    } else {
        m.now = stores[kind].take_batch(kind);
        returner.armed = true;
    }
    Block* block = m.now;
    m.now = block->next;
    // A batch that a thread left at its end may be shorter; then the count is too large, and the next full one smaller.
    m.count = batch - 1;
    if (cache.over && m.now) { // keep nothing that nobody would give back
        stores[kind].give_batch(m.now);
        m = {};
    }
    return block;
}

[[gnu::noinline]] void give_slow(std::size_t kind) noexcept {
    Magazine& m = cache.of[kind];
    returner.armed = true;
    if (m.full) stores[kind].give_batch(m.full);
    m.full = m.now;
    m.now = nullptr;
    m.count = 0;
}

[[gnu::noinline]] void give_at_end(std::size_t kind, Block* block) noexcept {
    block->next = nullptr;
    stores[kind].give_batch(block);
}

} // namespace

void* TaskMemory::take(std::size_t bytes) {
    const std::size_t kind = pooled ? kind_of(bytes) : kinds;
    if (kind == kinds) return ::operator new(bytes);
    Magazine& m = cache.of[kind];
    Block* block = m.now;
    if (!block) [[unlikely]]
        return take_slow(kind);
    m.now = block->next;
    --m.count;
    return block;
}

void TaskMemory::give_back(void* memory, std::size_t bytes) noexcept {
    const std::size_t kind = pooled ? kind_of(bytes) : kinds;
    if (kind == kinds) return ::operator delete(memory);
    Magazine& m = cache.of[kind];
    auto* block = ::new (memory) Block{m.now, nullptr};
    if (cache.over) [[unlikely]]
        return give_at_end(kind, block);
    m.now = block;
    if (++m.count >= batch) [[unlikely]]
        give_slow(kind);
}

} // namespace sennit::sync

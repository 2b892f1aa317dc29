#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/rlock.hpp>

#include <sennit/base/fault_point.hpp>
#include <sennit/os/thread.hpp>

#include <new>
#include <string>

namespace sennit::multiprocessing {
namespace {

// For the list of agents: the holder's number if it is of this process.
std::uint64_t holder(const void* lock) noexcept {
    class Peek : public SharedLockBase {
      public:
        static std::uint64_t owner(const SharedLockBase& l) noexcept {
            return (l.*(&Peek::word_))->owner().load(memory_order_relaxed); // a hint
        }
    };
    const std::uint64_t tag = os::robust_thread().process_tag;
    const std::uint64_t owner = Peek::owner(*static_cast<const SharedLockBase*>(lock));
    constexpr std::uint64_t tag_bits = ~std::uint64_t{0} << 40;
    return (owner & tag_bits) == tag ? owner & ~tag_bits : 0;
}

// A thread looks again so many PAUSEs later before it marks the word to sleep: 13 us in all on Zen 3, about what to sleep and be
// woken takes. Who marks a word that is held for some nanoseconds does not come to sleep: it is let go before, and the mark costs
// its holder some system calls each time. The looks are far apart, for each takes the line from the holder.
#if defined(SENNIT_MODEL)
constexpr int looks_before_sleeping = 1, pauses = 1; // each PAUSE is a choice of the scheduler
#else
constexpr int looks_before_sleeping = 8, pauses = 64;
#endif
// Looked up once, before main: what a thread is pinned to later says nothing about the others.
const bool several_cores = os::usable_cpus() > 1;

void look_for_a_free(const os::RobustWord& word) noexcept {
    for (int looks = several_cores ? looks_before_sleeping : 0; looks > 0 && word.is_held(); --looks)
        for (int i = 0; i < pauses; ++i) cpu_relax();
}

} // namespace

constinit const wait::WaitSite Lock::acquire_site{"multiprocessing.Lock", "acquire", &holder};
constinit const wait::WaitSite RLock::acquire_site{"multiprocessing.RLock", "acquire", &holder};

SharedLockBase::SharedLockBase() : block_(sizeof(os::RobustWord)), word_(::new (block_.data()) os::RobustWord) {}

SharedLockBase::SharedLockBase(SharedBlock block)
    : block_(std::move(block)), word_(static_cast<os::RobustWord*>(block_.data())) {
    if (block_.size() < sizeof(os::RobustWord))
        throw UsageError("Lock: a block of " + std::to_string(block_.size()) +
                         " bytes holds no lock; pass another lock's block()");
}

void SharedLockBase::make_consistent() {
    if (!is_held_here())
        throw UsageError("make_consistent: the calling thread does not hold the lock; acquire() it first");
    word_->make_consistent();
}

void SharedLockBase::give_up() {
    if (!is_held_here()) throw UsageError("give_up: the calling thread does not hold the lock; acquire() it first");
    word_->depth() = 0;
    word_->owner().store(0, memory_order_relaxed);
    word_->give_up(os::robust_thread());
}

bool SharedAcquire::try_now(Deadline deadline) {
    if (!blocking_ && !deadline.is_forever())
        throw UsageError(
            std::string(site().object) +
            ".acquire: a deadline makes no sense with blocking = false; pass blocking = true, or no deadline");
    result_ = lock_.word_->try_lock(os::robust_thread());
    return result_ != os::RobustWord::Take::busy || !blocking_ || deadline.is_poll();
}

bool SharedAcquire::step() noexcept {
    woke_up();
    os::RobustThread& thread = os::robust_thread();
    if (outcome() == wait::Outcome::timed_out || outcome() == wait::Outcome::cancelled) {
        os::RobustWord::leave_wait(thread);
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    std::uint32_t seen = 0;
    if (is_thread()) look_for_a_free(*lock_.word_);
    result_ = lock_.word_->try_lock_or_mark(thread, slept(), is_thread(), seen);
    if (result_ != os::RobustWord::Take::busy) return true;
    sleep_on(lock_.word_->word(), seen);
    return false;
}

bool SharedAcquire::finish(wait::Agent& me) {
    if (cancelled_) me.throw_cancelled();
    if (result_ == os::RobustWord::Take::given_up) throw LockGivenUp();
    if (result_ != os::RobustWord::Take::taken) return false;
    lock_.word_->owner().store(owner_id(os::robust_thread(), me), memory_order_relaxed);
    lock_.word_->depth() = 1;
    return true;
}

bool Lock::acquire_slow(bool blocking, Deadline deadline) {
    SharedAcquire op(*this, acquire_site, blocking);
    return sync::run_blocking(op, deadline);
}

void Lock::refuse_release() {
    throw UsageError(
        "multiprocessing.Lock.release: the calling thread does not hold it; the thread that acquired it releases "
        "it, once for each acquire() that gave true. For a release by another one use a Semaphore");
}

bool RLock::acquire_slow(bool blocking, Deadline deadline) {
    SharedAcquire op(*this, acquire_site, blocking);
    return sync::run_blocking(op, deadline);
}

void RLock::refuse_arguments(bool release_first) {
    if (release_first) release_noexcept();
    throw UsageError(
        "multiprocessing.RLock.acquire: a deadline makes no sense with blocking = false; pass blocking = true, or "
        "no deadline");
}

void RLock::refuse_release() {
    throw UsageError(
        "multiprocessing.RLock.release: the calling agent does not hold it; only the agent that acquired it may "
        "release it, on the same thread, once for each acquire() that gave true");
}

} // namespace sennit::multiprocessing

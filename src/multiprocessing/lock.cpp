#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/rlock.hpp>

#include <sennit/base/fault_point.hpp>

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

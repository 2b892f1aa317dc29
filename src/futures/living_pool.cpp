#include "futures/living_pool.hpp"

#include <sennit/base/atomic.hpp>
#include <sennit/os/thread.hpp>

#include "threading/threads.hpp"

#include <utility>

namespace sennit::futures {
namespace {

constinit base::IntrusiveList pools; // under LivingPool::lock
constinit atomic<bool> ends{false};  // changed under the lock

} // namespace

constinit os::Mutex LivingPool::lock;

// acquire and release: told by itself, it orders nothing else.
bool LivingPool::process_ends() noexcept { return ends.load(memory_order_acquire); }

#if defined(SENNIT_MODEL) // which has no end of a process
void LivingPool::enter() noexcept {}
void LivingPool::leave() noexcept {}
#else
void LivingPool::enter() noexcept {
    static const bool done = [] {
        threading::detail::Threads::before_the_end(&LivingPool::end_of_process);
        os::at_fork(&LivingPool::before_fork, &LivingPool::after_fork_in_parent, &LivingPool::after_fork_in_child);
        return true;
    }();
    static_cast<void>(done);
    const os::MutexGuard guard(lock);
    pools.push_back(*this);
    if (ends.load(memory_order_relaxed)) close_at_end();
}

void LivingPool::leave() noexcept {
    const os::MutexGuard guard(lock);
    if (linked()) base::IntrusiveList::remove(*this);
}
#endif

void LivingPool::end_of_process() noexcept {
    {
        const os::MutexGuard guard(lock);
        ends.store(true, memory_order_release); // meets process_ends()
        for (base::ListNode* n = pools.front(); n; n = pools.after(*n)) static_cast<LivingPool*>(n)->close_at_end();
    }
    for (;;) {
        std::shared_ptr<LivingPool> next;
        {
            const os::MutexGuard guard(lock);
            for (base::ListNode* n = pools.front(); n && !next; n = pools.after(*n)) {
                auto& pool = static_cast<LivingPool&>(*n);
                if (!std::exchange(pool.waited_for_, true)) next = pool.hold();
            }
        }
        if (!next) return;
        next->wait_at_end();
    }
}

void LivingPool::before_fork() noexcept SENNIT_NO_TSA { lock.lock(); }

void LivingPool::after_fork_in_parent() noexcept SENNIT_NO_TSA { lock.unlock(); }

void LivingPool::after_fork_in_child() noexcept SENNIT_NO_TSA {
    lock.reset_after_fork();
    while (base::ListNode* n = pools.pop_front()) static_cast<LivingPool*>(n)->forget_threads();
}

} // namespace sennit::futures

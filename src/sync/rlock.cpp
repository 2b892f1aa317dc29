#include <sennit/sync/rlock.hpp>

#include <sennit/base/errors.hpp>

namespace sennit::sync {

constinit const wait::WaitSite RLock::acquire_site{"RLock", "acquire", &Lock::holder};

bool RLock::acquire_slow(bool blocking, Deadline deadline) {
    wait::Agent& me = wait::current_agent();
    AcquireOp op(*this, blocking);
    if (!op.try_now(deadline)) me.wait(op, deadline);
    return op.finish(me);
}

void RLock::refuse_arguments(bool release_first) {
    if (release_first) release_noexcept();
    throw UsageError(
        "RLock.acquire: a deadline makes no sense with blocking = false; pass blocking = true, or no deadline");
}

void RLock::refuse_release() {
    throw UsageError(
        "RLock.release: the calling agent does not hold it; only the agent (thread, green thread, coroutine) "
        "that acquired it may release it, once for each acquire() that gave true");
}

} // namespace sennit::sync

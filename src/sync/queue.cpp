#include <sennit/sync/queue.hpp>

namespace sennit::sync {

bool QueueJoinOp::step() noexcept {
    if (!linked_) {
        linked_ = core_.link_joiner(*this);
        done_ = !linked_;
        return done_;
    }
    if (outcome() == wait::Outcome::woken) return done_ = true;
    core_.leave_joiners(*this);
    cancelled_ = outcome() == wait::Outcome::cancelled;
    return true;
}

} // namespace sennit::sync

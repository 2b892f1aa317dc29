#include <sennit/sync/future.hpp>

namespace sennit::sync::detail {

void throw_not_done() { throw TimeoutError("Future.result: the future is not done at the deadline"); }

void throw_set_twice() {
    throw InvalidStateError(
        "Future: its result was set already, it was cancelled, or an executor runs it; a future is set once, "
        "by whoever made it");
}

void throw_cancelled() { throw CancelledError("Future.result: the future was cancelled"); }

} // namespace sennit::sync::detail

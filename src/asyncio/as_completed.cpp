#include <sennit/asyncio/as_completed.hpp>

#include <sennit/base/errors.hpp>

namespace sennit::asyncio::detail {

CompletionOrder::CompletionOrder(std::size_t count)
    : links_(std::make_unique<Link[]>(count)), order_(std::make_unique<std::size_t[]>(count)), count_(count) {}

CompletionOrder::~CompletionOrder() {
    for (std::size_t i = 0; i < count_; ++i)
        if (links_[i].task) links_[i].task.base().unobserve(links_[i]);
}

void CompletionOrder::watch(std::size_t index, const TaskRef& task) {
    Link& link = links_[index];
    link.owner = this;
    link.index = index;
    link.task = task;
    task.base().observe(link);
}

void CompletionOrder::told(std::size_t index) noexcept {
    order_[done_++] = index;
    links_[index].task = TaskRef(); // so that who takes the result may be the last with a handle
    ready_.release();
}

Coro<std::optional<std::size_t>> CompletionOrder::next(Deadline deadline) {
    if (claimed_ == count_) co_return std::nullopt;
    struct Claim { // given back by who times out or is cancelled
        std::size_t& claimed;
        bool kept = false;
        ~Claim() {
            if (!kept) --claimed;
        }
    } claim{claimed_};
    ++claimed_;
    if (!co_await ready_.async_acquire(true, deadline))
        throw TimeoutError("the time limit of asyncio::as_completed has passed");
    claim.kept = true;
    co_return order_[given_++];
}

} // namespace sennit::asyncio::detail

#include <sennit/loop/poller.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/loop/epoll_poller.hpp>

#include <cstdlib>
#include <string>
#include <string_view>

namespace sennit::loop {

void Poller::run_ended() noexcept {
    base::IntrusiveList now; // what done() ends anew has its turn later
    now.splice_back(ended_);
    while (base::ListNode* node = now.pop_front()) finish(static_cast<Operation&>(*node));
}

std::unique_ptr<Poller> make_poller() {
    const char* const wanted = std::getenv("SENNIT_POLLER");
    const std::string_view name = wanted ? wanted : "";
    if (!name.empty() && name != "epoll") {
        throw UsageError("SENNIT_POLLER is \"" + std::string(name) +
                         "\" in the environment, which is no poller; it may be epoll, or not set");
    }
    return std::make_unique<EpollPoller>();
}

} // namespace sennit::loop

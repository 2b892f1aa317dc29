#include <sennit/loop/poller.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/loop/uring_poller.hpp>
#include <sennit/os/io.hpp>

#include <cstdlib>
#include <new>
#include <string>
#include <string_view>

namespace sennit::loop {

void Poller::run_ended() noexcept {
    base::IntrusiveList now; // what done() ends anew has its turn later
    now.splice_back(ended_);
    while (base::ListNode* node = now.pop_front()) finish(static_cast<Operation&>(*node));
}

namespace {

// Once a process, in one write.
void tell_fallback(const char* why) noexcept {
    static constinit atomic<bool> told{false};
    if (told.exchange(true, memory_order_relaxed)) return; // relaxed: nothing hangs on it but the line
    try {
        const std::string line = std::string("sennit: event loops use epoll here: ") + why + "\n";
        os::write_some(2, line.data(), line.size());
    } catch (const std::bad_alloc&) { // without the line, then
    }
}

} // namespace

std::unique_ptr<Poller> make_poller() {
    const char* const wanted = std::getenv("SENNIT_POLLER");
    const std::string_view name = wanted ? wanted : "";
    if (name == "epoll") return std::make_unique<EpollPoller>();
    if (name == "io_uring") return std::make_unique<UringPoller>();
    if (!name.empty()) {
        throw UsageError("SENNIT_POLLER is \"" + std::string(name) +
                         "\" in the environment, which is no poller: set it to io_uring or epoll, or unset it");
    }
    if (!os::ring_is_built_in()) return std::make_unique<EpollPoller>();
    try {
        return std::make_unique<UringPoller>();
    } catch (const OSError& refused) {
        tell_fallback(refused.what());
        return std::make_unique<EpollPoller>();
    }
}

} // namespace sennit::loop

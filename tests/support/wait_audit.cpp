#include "wait_audit.hpp"

#include "watchdog.hpp"

#include <sennit/asyncio/sleep.hpp>

#include <fstream>
#include <poll.h>
#include <sstream>

namespace sennit::testing {

using namespace std::chrono_literals;

// Looks only when nothing has ended for a while: in a busy loop what is ready waits its turn. And poll(2) is no innocent looker: it
// asks a full socket to tell when there is room.
asyncio::Coro<void> WaitAudit::look(std::chrono::milliseconds patience) {
    constexpr auto interval = 100ms, quiet_enough = 500ms;
    constexpr int certain = 5;
    auto last_progress = std::chrono::steady_clock::now();
    std::uint64_t ended = ended_;
    for (;;) {
        co_await asyncio::sleep(interval);
        const auto now = std::chrono::steady_clock::now();
        const auto quiet = std::chrono::duration_cast<std::chrono::milliseconds>(now - last_progress);
        if (quiet > longest_quiet_) longest_quiet_ = quiet;
        if (ended != ended_) {
            ended = ended_;
            last_progress = now;
        }
        if (quiet < quiet_enough || ended_ != ended || last_progress == now) {
            for (base::ListNode* node = waiting_.front(); node; node = waiting_.after(*node))
                static_cast<Waiting&>(*node).looks_ = 0;
            continue;
        }
        ++looks_;
        for (base::ListNode* node = waiting_.front(); node; node = waiting_.after(*node)) {
            auto& w = static_cast<Waiting&>(*node);
            pollfd p{w.fd_, w.events_, 0};
            w.looks_ = ::poll(&p, 1, 0) > 0 ? w.looks_ + 1 : 0;
            if (w.looks_ != certain) continue;
            std::ostringstream line;
            line << "descriptor " << w.fd_ << " is ready (" << p.revents << "), and somebody waits for " << w.events_
                 << '\n';
            lost_ += line.str();
        }
        if (lost_.empty() && quiet < patience) Watchdog::kick();
    }
}

asyncio::Coro<void> WaitAudit::until_looks(std::uint64_t n) const {
    while (looks_ < n) co_await asyncio::sleep(10ms);
}

std::int64_t tcp_counter(const char* name) {
    std::ifstream file("/proc/net/netstat");
    std::string names, values;
    while (std::getline(file, names) && std::getline(file, values)) {
        std::istringstream n(names), v(values);
        for (std::string a, b; n >> a && v >> b;)
            if (a == name) return std::stoll(b);
    }
    return 0;
}

} // namespace sennit::testing

// Tells a lost event from a kernel that takes its time.
#pragma once

#include <sennit/asyncio/task.hpp>
#include <sennit/base/intrusive_list.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace sennit::testing {

/// A program whose loop has gone quiet either waits for the kernel (a SYN that was dropped is sent again after a second, then later
/// and later) or for an event that its poller has lost. The difference: in the second case somebody waits for a descriptor that
/// poll(2) says is ready, and goes on waiting.
///
///     WaitAudit audit;
///     Task<void> looking = create_task(audit.look());
///     { const WaitAudit::Waiting here(audit, fd, POLLIN); n = co_await sock_recv_into(fd, …); }
///
/// Agents    One loop.
class WaitAudit {
  public:
    class Waiting : base::ListNode {
      public:
        Waiting(WaitAudit& audit, int fd, short events) : audit_(audit), fd_(fd), events_(events) {
            audit.waiting_.push_back(*this);
        }
        ~Waiting() {
            base::IntrusiveList::remove(*this);
            ++audit_.ended_;
        }
        Waiting(const Waiting&) = delete;
        Waiting& operator=(const Waiting&) = delete;

      private:
        friend class WaitAudit;
        WaitAudit& audit_;
        int fd_;
        short events_;
        int looks_ = 0; // in a row that found it ready
    };

    /// To be run beside the rest, and cancelled at the end. While all wait for the kernel it keeps the watchdog quiet, for
    /// `patience` at most.
    asyncio::Coro<void> look(std::chrono::milliseconds patience = std::chrono::seconds(90));
    /// Until it has looked so often.
    asyncio::Coro<void> until_looks(std::uint64_t n) const;
    /// What somebody waited for although it was there, a line each; empty is what ought to be.
    [[nodiscard]] const std::string& lost() const noexcept { return lost_; }
    /// The longest time in which no wait ended.
    [[nodiscard]] std::chrono::milliseconds longest_quiet() const noexcept { return longest_quiet_; }
    [[nodiscard]] std::uint64_t looks() const noexcept { return looks_; }

  private:
    base::IntrusiveList waiting_;
    std::uint64_t ended_ = 0, looks_ = 0;
    std::chrono::milliseconds longest_quiet_{0};
    std::string lost_;
};

/// A counter of the kernel's for this network namespace, as nstat(8) names it ("ListenOverflows"); 0 when it can't be read.
std::int64_t tcp_counter(const char* name);

} // namespace sennit::testing

// A wait for a word in shared memory: what every process-shared primitive is made of.
#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/robust_word.hpp>
#include <sennit/wait/agent.hpp>

#include <cstdint>

namespace sennit::multiprocessing {

/// The lock's holder died, was not repaired, and its next holder has given it up: it can't be taken any more.
class LockGivenUp : public Error {
  public:
    explicit LockGivenUp(
        const std::string& what = "the lock was given up: a holder died, and who came next could not repair the data")
        : Error(what) {}
};

/// step() calls sleep_on() and returns false, and begins with woke_up(). An agent sleeps at most Wait::look_again_ns at a time:
/// so what a dead process leaves undone is found by those who wait.
///
/// A thread sleeps on the word itself (Wait::outside). For a coroutine a helper thread does, one for up to 127 of them, which
/// ends when there is none.
class SharedWait : public wait::Wait {
  public:
    SharedWait(const void* object, const wait::WaitSite& site) noexcept : Wait(object, site) { watch_.wait = this; }

  protected:
    SharedWait(SharedWait&& unbegun) noexcept : Wait(std::move(unbegun)) { watch_.wait = this; }
    ~SharedWait() = default;
    /// Sleeps while `word` has `value`, from the return of step() on. False: no helper thread can be had; try again, or fail.
    void sleep_on(os::FutexWord& word, std::uint32_t value) noexcept;
    /// After a sleep, or before the first.
    void woke_up() noexcept;
    [[nodiscard]] bool slept() const noexcept { return slept_; }
    [[nodiscard]] bool is_thread() const noexcept { return agent().may_spin(); }

  private:
    friend class SharedWatcher;
    struct Watch : base::ListNode {
        SharedWait* wait = nullptr;
    };
    Watch watch_;
    bool slept_ = false;
};

/// Who holds something: an agent of a process. No other agent of any living process has the same.
inline std::uint64_t owner_id(const os::RobustThread& thread, const wait::Agent& agent) noexcept {
    return thread.process_tag | agent.id();
}

} // namespace sennit::multiprocessing

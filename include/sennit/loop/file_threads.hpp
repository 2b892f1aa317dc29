#pragma once

#include <sennit/base/intrusive_list.hpp>
#include <sennit/loop/operation.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>

#include <array>
#include <cstddef>

namespace sennit::loop {

class Poller;

/// Carries out the file operations of a poller that has no other means: a disk makes one of these threads wait, not the loop.
///
/// Agents    start(), take_back(), take_done(), drop() and the destructor: the loop's thread.
/// Blocks    drop() and the destructor, until what is being carried out has ended.
/// Cost      A thread at the first operation, up to `most` when they are busy.
class FileThreads {
  public:
    static constexpr std::size_t most = 4;

    /// `poller` is woken whenever there is something to take.
    explicit FileThreads(Poller& poller) noexcept : poller_(poller) {}
    ~FileThreads();
    FileThreads(const FileThreads&) = delete;
    FileThreads& operator=(const FileThreads&) = delete;

    /// False when the system gives not even one thread.
    [[nodiscard]] bool start(Operation& op) noexcept;
    /// True: it had not begun, and is not carried out. False: its end is to come.
    [[nodiscard]] bool take_back(Operation& op) noexcept;
    /// What has ended, with its result, goes to the end of `list`.
    void take_done(base::IntrusiveList& list) noexcept;
    /// From now on nothing uses `fd`; what had not begun goes to the end of `list`.
    void drop(int fd, base::IntrusiveList& list) noexcept;

  private:
    void work() noexcept;

    Poller& poller_;
    os::Mutex mutex_;
    base::IntrusiveList waiting_ SENNIT_GUARDED_BY(mutex_);
    base::IntrusiveList done_ SENNIT_GUARDED_BY(mutex_);
    std::array<const Operation*, most> running_ SENNIT_GUARDED_BY(mutex_){};
    std::size_t idle_ SENNIT_GUARDED_BY(mutex_) = 0;
    bool stopping_ SENNIT_GUARDED_BY(mutex_) = false;
    os::FutexWord work_{0};  // counts what was put in: who is idle sleeps on it
    os::FutexWord ended_{0}; // counts what has ended: drop() sleeps on it
    std::array<pthread_t, most> threads_{};
    std::size_t thread_count_ = 0; // the loop's thread alone
};

} // namespace sennit::loop

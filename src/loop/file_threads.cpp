#include <sennit/loop/file_threads.hpp>

#include <sennit/loop/poller.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/thread.hpp>

#include <climits>

namespace sennit::loop {

FileThreads::~FileThreads() {
    {
        os::MutexGuard guard(mutex_);
        stopping_ = true;
        work_.fetch_add(1, memory_order_relaxed); // ordered by the mutex, and by the kernel's look at the word
    }
    os::futex_wake(work_, INT_MAX);
    for (std::size_t i = 0; i < thread_count_; ++i) os::join_thread(threads_[i]);
}

bool FileThreads::start(Operation& op) noexcept {
    bool somebody_idle = false;
    {
        os::MutexGuard guard(mutex_);
        waiting_.push_back(op);
        work_.fetch_add(1, memory_order_relaxed); // as above
        somebody_idle = idle_ > 0;
    }
    if (somebody_idle) {
        os::futex_wake(work_, 1);
        return true;
    }
    if (thread_count_ < most) {
        const auto body = [](void* self) -> void* {
            static_cast<FileThreads*>(self)->work();
            return nullptr;
        };
        if (os::start_thread(threads_[thread_count_], body, this, 0) == 0)
            ++thread_count_;
        else if (thread_count_ == 0)
            return !take_back(op);
    }
    return true;
}

bool FileThreads::take_back(Operation& op) noexcept {
    os::MutexGuard guard(mutex_);
    for (const base::ListNode* node = waiting_.front(); node; node = waiting_.after(const_cast<base::ListNode&>(*node)))
        if (node == &op) {
            base::IntrusiveList::remove(op);
            return true;
        }
    return false;
}

void FileThreads::take_done(base::IntrusiveList& list) noexcept {
    os::MutexGuard guard(mutex_);
    list.splice_back(done_);
}

void FileThreads::drop(int fd, base::IntrusiveList& list) noexcept {
    for (;;) {
        std::uint32_t seen = 0;
        bool in_use = false;
        {
            os::MutexGuard guard(mutex_);
            for (base::ListNode *node = waiting_.front(), *next = nullptr; node; node = next) {
                next = waiting_.after(*node);
                if (static_cast<Operation&>(*node).fd != fd) continue;
                base::IntrusiveList::remove(*node);
                list.push_back(*node);
            }
            for (const Operation* op : running_) in_use = in_use || (op && op->fd == fd);
            seen = ended_.load(memory_order_relaxed); // changed under the mutex alone
        }
        if (!in_use) return;
        os::futex_wait(ended_, seen, forever);
    }
}

void FileThreads::work() noexcept {
    std::size_t me = most;
    for (;;) {
        Operation* op = nullptr;
        std::uint32_t seen = 0;
        {
            os::MutexGuard guard(mutex_);
            op = static_cast<Operation*>(waiting_.pop_front());
            if (!op && stopping_) return;
            if (op) {
                for (me = 0; running_[me]; ++me) {}
                running_[me] = op;
            } else {
                ++idle_;
                seen = work_.load(memory_order_relaxed); // changed under the mutex alone
            }
        }
        if (!op) {
            os::futex_wait(work_, seen, forever);
            os::MutexGuard guard(mutex_);
            --idle_;
            continue;
        }
        const bool reads = op->kind == Operation::Kind::file_read;
        const ssize_t n = reads ? os::pread_some(op->fd, op->data, op->size, op->offset)
                                : os::pwrite_some(op->fd, op->data, op->size, op->offset);
        op->result = static_cast<int>(n);
        {
            os::MutexGuard guard(mutex_);
            running_[me] = nullptr;
            done_.push_back(*op);
            ended_.fetch_add(1, memory_order_relaxed); // as above
        }
        os::futex_wake(ended_, 1);
        poller_.wake(); // the poller outlives its threads
    }
}

} // namespace sennit::loop

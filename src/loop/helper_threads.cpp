#include <sennit/loop/helper_threads.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/agent.hpp>

#include <algorithm>
#include <mutex>
#include <string>

namespace sennit::loop {

HelperThreads::HelperThreads(std::size_t most) : most_(most) {
    if (most_ == 0) throw UsageError("HelperThreads: at least one thread is needed");
    threads_.reserve(most_);
}

HelperThreads::HelperThreads() : HelperThreads(static_cast<std::size_t>(std::min(32, os::usable_cpus() + 4))) {}

HelperThreads::~HelperThreads() { shutdown(ShutdownOptions{}); }

void HelperThreads::enqueue(sync::Task& task) {
    task.executor = this;
    try {
        tasks_.put(&task);
    } catch (const queue::ShutDown&) {
        throw UsageError("submit: these helper threads were shut down; submit before shutdown()");
    }
    // relaxed: at worst one thread more or less than needed; with none at all `threads_` is looked at under the lock.
    if (idle_.load(memory_order_relaxed) >= tasks_.qsize() && idle_.load(memory_order_relaxed) > 0) return;
    std::scoped_lock guard(lock_);
    if (threads_.size() >= most_) return;
    pthread_t thread;
    const int error = os::start_thread(
        thread,
        [](void* self) -> void* {
            static_cast<HelperThreads*>(self)->work();
            return nullptr;
        },
        this, 0);
    if (error == 0) {
        threads_.push_back(thread);
    } else if (threads_.empty()) {
        // Nobody would ever run it. Only this call's task can be in the queue without a thread, or those of calls that fail too.
        if (tasks_.try_get()) throw OSError(error, "submit: cannot start a helper thread");
    }
}

void HelperThreads::work() noexcept {
    wait::detail::adopt_new_thread("helper", true);
    for (;;) {
        sync::Task* task = nullptr;
        idle_.fetch_add(1, memory_order_relaxed);
        try {
            task = tasks_.get();
        } catch (const queue::ShutDown&) {}
        idle_.fetch_sub(1, memory_order_relaxed);
        if (!task) return;
        task->run();
    }
}

void HelperThreads::shutdown(ShutdownOptions options) {
    tasks_.shutdown();
    if (options.cancel_futures)
        while (auto task = tasks_.try_get()) (*task)->cancel_and_drop();
    if (!options.wait) return;
    std::vector<pthread_t> ours;
    {
        std::scoped_lock guard(lock_);
        ours.swap(threads_);
    }
    for (const pthread_t t : ours) os::join_thread(t);
}

} // namespace sennit::loop

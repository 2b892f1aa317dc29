#include <sennit/futures/thread_pool.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/cpu_count.hpp>

#include <utility>

namespace sennit::multiprocessing {

namespace {

constinit thread_local const void* running_callbacks = nullptr; // of which this thread runs one

} // namespace

namespace detail {

void check_not_in_callback_of(const void* callbacks) {
    if (running_callbacks != callbacks) [[likely]]
        return;
    throw UsageError(
        "a callback of a pool can't wait for work of the same pool, which goes on only after it; give that work a "
        "callback of its own, or wait in another thread");
}

void throw_not_ready() {
    throw UsageError("AsyncResult.successful: the result is not ready yet; wait() for it, or ask ready() first");
}

void throw_imap_timeout() { throw TimeoutError("imap: no result at the deadline"); }

} // namespace detail

namespace pool {
namespace detail {

void throw_bad_chunksize() { throw UsageError("ThreadPool.imap: chunksize must be at least 1, got 0"); }

std::size_t default_chunksize(std::size_t elements, std::size_t workers) noexcept {
    return std::max<std::size_t>(1, (elements + 4 * workers - 1) / (4 * workers));
}

void Callbacks::run(const std::function<void()>& f) noexcept {
    // Not interruptible: a cancelled agent tells all the same.
    wait::Agent& me = wait::current_agent();
    bool cancelled = false;
    for (;;) {
        try {
            lock_.acquire();
            break;
        } catch (...) {
            cancelled = true;
        }
    }
    const void* const outer = std::exchange(running_callbacks, this); // a callback may end the work of another pool
    try {
        f();
    } catch (...) {
        sync::report_unseen_error(std::current_exception(), "a callback of a pool");
    }
    running_callbacks = outer;
    lock_.release();
    if (cancelled) me.cancel();
}

} // namespace detail

namespace {

std::size_t checked(std::size_t processes) {
    if (processes < 1) throw UsageError("ThreadPool: the number of processes must be at least 1, got 0");
    return processes;
}

} // namespace

ThreadPool::ThreadPool() : ThreadPool(static_cast<std::size_t>(os::usable_cpu_count())) {}

ThreadPool::ThreadPool(std::size_t processes, PoolOptions options)
    : executor_(std::make_shared<futures::ThreadPoolExecutor>(
          checked(processes), futures::ThreadPoolOptions{.thread_name_prefix = std::move(options.thread_name_prefix),
                                                         .initializer = std::move(options.initializer),
                                                         .cancel_at_exit = true})),
      callbacks_(std::make_shared<detail::Callbacks>()) {}

ThreadPool::~ThreadPool() {
    executor_->shutdown({.wait = false, .cancel_futures = true});
    executor_.reset(); // waits for what runs, unless results of imap() still hold it
}

void ThreadPool::close() {
    closed_.store(true, memory_order_relaxed); // only asked by join(), of whoever has called this
    executor_->shutdown({.wait = false});
}

void ThreadPool::terminate() {
    closed_.store(true, memory_order_relaxed);
    executor_->shutdown({.wait = false, .cancel_futures = true});
}

void ThreadPool::check_closed() const {
    if (!closed_.load(memory_order_relaxed))
        throw UsageError("ThreadPool.join: the pool still takes work; close() or terminate() it first");
}

void ThreadPool::join() {
    check_closed();
    executor_->shutdown({.wait = true});
}

sync::Awaitable<futures::ThreadPoolExecutor::ShutdownOp> ThreadPool::async_join() {
    check_closed();
    return executor_->async_shutdown();
}

} // namespace pool
} // namespace sennit::multiprocessing

#include <sennit/asyncio/runner.hpp>

#include <sennit/os/signals.hpp>
#include <sennit/os/thread.hpp>

#include <csignal>
#include <cstdio>
#include <vector>

namespace sennit::asyncio {

Runner::~Runner() {
    try {
        close();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "sennit: closing a Runner: %s\n", e.what());
    }
}

EventLoop& Runner::get_loop() {
    if (closed_) throw UsageError("this Runner is closed; make a new one");
    if (!loop_) {
        loop_.emplace();
        if (options_.debug) loop_->set_debug(*options_.debug);
    }
    return *loop_;
}

namespace {

// While it lives, the first SIGINT cancels a task, and the next one does what it does by default.
class Interrupt {
  public:
    Interrupt(EventLoop& loop, const TaskRef& task)
        : loop_(loop), active_(os::is_main_thread() && os::is_default(SIGINT)) {
        if (!active_) return;
        loop.add_signal_handler_once(SIGINT, [this, task] {
            came_ = true;
            task.cancel();
        });
    }
    ~Interrupt() {
        if (active_) loop_.remove_signal_handler(SIGINT);
    }
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;
    [[nodiscard]] bool came() const noexcept { return came_; }

  private:
    EventLoop& loop_;
    const bool active_;
    bool came_ = false;
};

} // namespace

EventLoop& Runner::loop_to_run() {
    EventLoop& loop = get_loop();
    detail::check_may_run(loop);
    return loop;
}

void Runner::run_until_done(const TaskRef& task) {
    bool interrupted = false;
    {
        const Interrupt interrupt(*loop_, task);
        try {
            detail::run_until_done(*loop_, task);
        } catch (...) {
            task.cancel();
            throw;
        }
        interrupted = interrupt.came();
    }
    if (interrupted && task.cancelled() && task.uncancel() == 0) throw KeyboardInterrupt();
}

void Runner::close() {
    if (closed_) return;
    closed_ = true;
    if (!loop_) return;
    std::vector<TaskRef> left = all_tasks(*loop_);
    if (!left.empty()) {
        const EventLoop::Running runs(*loop_);
        for (const TaskRef& t : left) t.cancel();
        for (const TaskRef& t : left)
            while (!t.done()) loop_->turn(true);
        for (const TaskRef& t : left) {
            if (!t.base().failed()) continue;
            t.base().mark_error_seen();
            loop::ExceptionContext context;
            context.message = "a task failed while asyncio::run() ended";
            context.source = t.name();
            context.exception = t.base().stored_error();
            loop_->call_exception_handler(context);
        }
    }
    left.clear();
    loop_->close();
}

void detail::check_may_run(EventLoop& loop) { const EventLoop::Running may_run(loop); }

void detail::run_until_done(EventLoop& loop, const TaskRef& task) {
    const EventLoop::Running runs(loop);
    while (!task.done()) {
        loop.turn(true);
        if (loop.take_stop() && !task.done())
            throw UsageError("the event loop was stopped before the task " + task.name() +
                             " was done; run_until_complete needs it to end");
    }
}

} // namespace sennit::asyncio

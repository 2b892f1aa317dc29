#include <sennit/threading/thread.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/wait/process_end.hpp>

#include "base/type_name.hpp"
#include "report.hpp"
#include "threads.hpp"

#include <typeinfo>

namespace sennit::threading {

using detail::StatePtr;
using detail::Threads;
using detail::ThreadState;

namespace {

constexpr std::size_t least_stack = 32 * 1024;

constinit atomic<std::size_t> default_stack{0}; // relaxed: a setting
constinit atomic<std::uint64_t> next_number{1}; // relaxed: only uniqueness counts

std::size_t checked_stack(std::size_t bytes, const char* where) {
    if (bytes != 0 && bytes < least_stack)
        throw UsageError(std::string(where) + ": " + std::to_string(bytes) +
                         " bytes are too few for a stack; give at least " + std::to_string(least_stack) +
                         ", or 0 for the system's default");
    return bytes;
}

// A plain thread, for subclasses.
class PlainState final : public ThreadState {
  public:
    PlainState() : ThreadState(Kind::made) {}

  private:
    ~PlainState() override = default;
};

bool runs_in_face(const ThreadState& state) noexcept {
    return state.phase() == ThreadState::Phase::started && state.face_type();
}

} // namespace

std::size_t stack_size() noexcept { return default_stack.load(memory_order_relaxed); }

std::size_t stack_size(std::size_t bytes) {
    return default_stack.exchange(checked_stack(bytes, "stack_size"), memory_order_relaxed);
}

Thread::Thread() : Thread(ThreadOptions{}) {}

Thread::Thread(ThreadOptions options) : Thread(StatePtr::adopt(new PlainState), std::move(options)) {}

Thread::Thread(StatePtr state, ThreadOptions options) : ThreadRef(std::move(state)) {
    state_->configure(std::move(options.name),
                      options.name.empty() ? next_number.fetch_add(1, memory_order_relaxed) : 0);
    state_->stack_bytes = checked_stack(options.stack_size, "Thread: stack_size");
    const ThreadState* maker = Threads::current_or_null();
    // One that sennit did not start is a daemon in name only: what it makes is waited for.
    const bool inherited = maker && maker->kind() == ThreadState::Kind::made && maker->daemon();
    state_->set_daemon(options.daemon.given() ? bool(options.daemon) : inherited);
}

Thread::Thread(Thread&& other) : ThreadRef(other) { // NOLINT(performance-noexcept-move-constructor)
    if (state_ && runs_in_face(*state_))
        throw UsageError(
            "Thread: " + base::readable_type_name(state_->face_type()) +
            " can't be moved while its run() runs in it; move it before start(), or keep it in a unique_ptr");
    other.state_ = {};
}

Thread& Thread::operator=(Thread&& other) { // NOLINT(performance-noexcept-move-constructor)
    if (this == &other) return *this;
    if (other.state_ && runs_in_face(*other.state_))
        throw UsageError(
            "Thread: " + base::readable_type_name(other.state_->face_type()) +
            " can't be moved while its run() runs in it; move it before start(), or keep it in a unique_ptr");
    leave();
    state_ = std::exchange(other.state_, {});
    return *this;
}

Thread::~Thread() { leave(); }

void Thread::leave() noexcept {
    if (!state_ || state_->phase() != ThreadState::Phase::started) return;
    const bool self = state_.get() == Threads::current_or_null();
    if (const char* type = state_->face_type()) {
        if (state_->daemon() && wait::ProcessEnd::begun()) return; // held, or beyond help
        try {
            const std::string name = base::readable_type_name(type);
            detail::report_misuse(
                *this,
                name + " is destroyed while its run() runs, and its members are gone already; " +
                    (self ? "don't destroy it in its own thread"
                          : "call join_if_started() in the destructor of " + name + ". Waiting for the thread now"));
        } catch (...) {
            detail::report_misuse(*this, {});
        }
        if (!self) state_->wait_to_the_end("~Thread", false);
    } else if (!state_->daemon() && !self) {
        state_->wait_to_the_end("~Thread", false);
    }
}

void Thread::join_if_started() noexcept {
    if (state_ && state_->phase() == ThreadState::Phase::started && state_.get() != Threads::current_or_null())
        state_->wait_to_the_end("join_if_started()", false);
}

void Thread::start() {
    ThreadState& it = state("start");
    const std::type_info& type = typeid(*this);
    // Exactly a Thread, or a class of ours: the running thread needs the state alone.
    const bool contained = it.self_contained || type == typeid(Thread);
    it.start(contained ? nullptr : this, contained ? nullptr : type.name());
}

void Thread::run() { state("run").call(); }

} // namespace sennit::threading

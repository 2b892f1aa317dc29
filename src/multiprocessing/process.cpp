// Life of a process that was started here
//
//   made      start()         started     its end is seen      ended     close()     closed
//     ──────────────────────────>  ───────────────────────────>  ────────────────────>
//
// Its end is seen by whoever looks first, under the state's lock, and the status is kept; nobody reaps while it waits, so any number may
// wait. Processes that run are on one list, which has a share in their states: so a Process may be destroyed before its process ends.
#include <sennit/multiprocessing/process.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/os/fork.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/system_state.hpp>
#include <sennit/os/thread.hpp>

#include "this_process.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <typeinfo>

namespace sennit::multiprocessing {
namespace detail {

class ProcessState {
  public:
    enum class Kind { child, self, parent };
    enum class Phase { made, starting, started, ended, closed };

    explicit ProcessState(Kind kind) : kind(kind), owner(os::process_id()) {}

    // The name for messages.
    [[nodiscard]] std::string quoted() const { return '\'' + name + '\''; }
    void check_open(const char* what) const {
        if (phase == Phase::closed)
            throw UsageError(std::string("Process.") + what + ": process " + quoted() + " is closed");
    }
    void check_owner(const char* what) const {
        if (kind == Kind::child && owner != os::process_id())
            throw UsageError(std::string("Process.") + what + ": process " + quoted() +
                             " can be asked by the process alone that made it");
    }
    // Whether it has ended. With the lock.
    bool look() {
        if (phase == Phase::started) {
            if (kind == Kind::parent) {
                if (pidfd && !os::has_ended(pidfd.get())) return false;
            } else {
                const auto& status = child.status();
                if (!status) return false;
                unknown = status->unknown;
                code = status->code;
            }
            phase = Phase::ended;
        }
        return phase >= Phase::ended;
    }
    [[nodiscard]] int descriptor() const noexcept { return kind == Kind::parent ? pidfd.get() : child.pidfd(); }

    const Kind kind;
    os::Mutex mutex; // guards what follows
    const int owner;
    Phase phase = Phase::made;
    std::string name, identity, authkey;
    bool daemon = false;
    Context context;
    std::unique_ptr<ProcessTarget> target; // until it is started
    bool had_target = false;
    Child child;
    os::Fd pidfd; // of the parent
    pid_t number = 0;
    int code = 0;
    bool unknown = false;
};

namespace {

using StatePtr = std::shared_ptr<ProcessState>;
using Kind = ProcessState::Kind;
using Phase = ProcessState::Phase;

/// Those that were started and not seen to end.
struct Running {
    os::Mutex mutex;
    std::vector<StatePtr> list;

    static Running& get() {
        static Running* const it = [] {
            static auto* const made = new Running; // never destroyed: it is asked at the very end
            ThisProcess::get();
            os::at_fork([]() SENNIT_NO_TSA noexcept { made->mutex.lock(); },
                        []() SENNIT_NO_TSA noexcept { made->mutex.unlock(); },
                        []() noexcept {
                            made->mutex.reset_after_fork();
                            made->list.clear(); // they are the parent's
                        });
            at_end_of_children(end_of_process);
            return made;
        }();
        return *it;
    }
    std::vector<StatePtr> copy() {
        const os::MutexGuard guard(mutex);
        return list;
    }
    void remove(const ProcessState& state) noexcept {
        const os::MutexGuard guard(mutex);
        std::erase_if(list, [&state](const StatePtr& it) { return it.get() == &state; });
    }
    static void end_of_process() noexcept;
};

// Waits for the end; nobody reaps while it waits.
bool wait_for_end(ProcessState& state, Deadline deadline) {
    for (;;) {
        int fd = -1;
        {
            const os::MutexGuard guard(state.mutex);
            if (state.look()) return true;
            fd = state.descriptor();
        }
        if (deadline.has_passed()) return false;
        pollfd ended{fd, POLLIN, 0};
        if (const int n = os::poll_fds({&ended, 1}, deadline); n < 0)
            throw OSError(-n, "poll: cannot wait for a process");
    }
}

void Running::end_of_process() noexcept {
    try {
        std::vector<StatePtr> all = get().copy();
        std::erase_if(all, [](const StatePtr& it) { // another thread is starting it: the lifeline ends it
            const os::MutexGuard guard(it->mutex);
            return it->phase < Phase::started;
        });
        for (const StatePtr& it : all)
            if (it->daemon) it->child.terminate();
        const Deadline grace = std::chrono::seconds(1);
        for (const StatePtr& it : all) {
            if (!it->daemon || wait_for_end(*it, grace)) continue;
            it->child.kill();
            wait_for_end(*it, std::chrono::seconds(1));
        }
        for (const StatePtr& it : all) wait_for_end(*it, forever);
    } catch (...) { // no memory for the list: the lifeline ends them
    }
}

void signal(ProcessState& state, int number, const char* what) {
    const os::MutexGuard guard(state.mutex);
    state.check_open(what);
    state.check_owner(what);
    if (state.kind != Kind::child)
        throw UsageError(std::string("Process.") + what + ": process " + state.quoted() +
                         " was not started by this one");
    if (state.phase == Phase::made)
        throw UsageError(std::string("Process.") + what + ": process " + state.quoted() + " was not started");
    if (state.look()) return;
    if (const int error = state.child.send_signal(number); error != 0)
        throw OSError(error, "pidfd_send_signal: cannot signal process " + state.quoted());
}

} // namespace

// ---- JoinWait

namespace {
const wait::WaitSite& join_site() noexcept {
    static const wait::WaitSite site{"Process", "join"};
    return site;
}
} // namespace

JoinWait::JoinWait(std::shared_ptr<ProcessState> process)
    : IoWait(join_site(), Kind::poll_in, process->descriptor(), nullptr, 0), process_(std::move(process)) {}

bool JoinWait::try_now(Deadline deadline) {
    {
        const os::MutexGuard guard(process_->mutex);
        ended_ = process_->look();
    }
    if (ended_ || deadline.is_poll()) return known_ = true;
    return IoWait::try_now(deadline);
}

bool JoinWait::finish(wait::Agent& me) {
    if (known_) {
        if (ended_) Running::get().remove(*process_);
        return ended_;
    }
    try {
        check(me);
    } catch (const TimeoutError&) {
        return false;
    }
    {
        const os::MutexGuard guard(process_->mutex);
        ended_ = process_->look();
    }
    if (ended_) Running::get().remove(*process_);
    return ended_;
}

} // namespace detail

using detail::ProcessState;
using detail::Running;
using detail::ThisProcess;

// ---- ProcessRef

ProcessState& ProcessRef::state() const {
    if (!state_) throw UsageError("Process: this one was moved away");
    return *state_;
}

std::string ProcessRef::name() const {
    ProcessState& it = state();
    const os::MutexGuard guard(it.mutex);
    return it.name;
}

void ProcessRef::set_name(const std::string& name) const {
    ProcessState& it = state();
    if (it.kind == ProcessState::Kind::self) {
        ThisProcess& me = ThisProcess::get();
        const os::MutexGuard guard(me.mutex);
        me.name = name;
    }
    const os::MutexGuard guard(it.mutex);
    it.name = name;
}

std::optional<pid_t> ProcessRef::pid() const {
    ProcessState& it = state();
    const os::MutexGuard guard(it.mutex);
    it.check_open("pid");
    return it.number != 0 ? std::optional(it.number) : std::nullopt;
}

bool ProcessRef::daemon() const {
    ProcessState& it = state();
    const os::MutexGuard guard(it.mutex);
    return it.daemon;
}

void ProcessRef::set_daemon(bool daemon) const {
    ProcessState& it = state();
    const os::MutexGuard guard(it.mutex);
    if (it.phase != ProcessState::Phase::made)
        throw UsageError("Process.set_daemon: process " + it.quoted() + " has started; set it before start()");
    it.daemon = daemon;
}

std::string ProcessRef::authkey() const {
    ProcessState& it = state();
    {
        const os::MutexGuard guard(it.mutex);
        if (!it.authkey.empty()) return it.authkey;
    }
    return ThisProcess::get().key();
}

void ProcessRef::set_authkey(const std::string& key) const {
    ProcessState& it = state();
    if (it.kind == ProcessState::Kind::self) {
        ThisProcess& me = ThisProcess::get();
        const os::MutexGuard guard(me.mutex);
        me.authkey = key;
    }
    const os::MutexGuard guard(it.mutex);
    it.authkey = key;
}

std::optional<int> ProcessRef::exitcode() const {
    ProcessState& it = state();
    const os::MutexGuard guard(it.mutex);
    it.check_open("exitcode");
    if (it.kind != ProcessState::Kind::child) return std::nullopt;
    it.check_owner("exitcode");
    if (!it.look()) return std::nullopt;
    if (it.unknown)
        throw OSError(ECHILD,
                      "Process.exitcode: the exit status of process " + it.quoted() +
                          " is unknown: something else in this program reaped it (a waitpid(-1), or SIGCHLD ignored)");
    return it.code;
}

bool ProcessRef::is_alive() const {
    ProcessState& it = state();
    {
        const os::MutexGuard guard(it.mutex);
        it.check_open("is_alive");
        if (it.kind == ProcessState::Kind::self) return true;
        it.check_owner("is_alive");
        if (it.phase == ProcessState::Phase::made || it.phase == ProcessState::Phase::starting) return false;
        if (!it.look()) return true;
    }
    if (it.kind == ProcessState::Kind::child) Running::get().remove(it);
    return false;
}

int ProcessRef::sentinel() const {
    ProcessState& it = state();
    const os::MutexGuard guard(it.mutex);
    it.check_open("sentinel");
    if (it.descriptor() < 0) throw UsageError("Process.sentinel: process " + it.quoted() + " was not started");
    return it.descriptor();
}

namespace {

void check_join(ProcessState& it, const char* what) {
    const os::MutexGuard guard(it.mutex);
    it.check_open(what);
    it.check_owner(what);
    if (it.kind == ProcessState::Kind::self)
        throw UsageError(std::string("Process.") + what + ": a process can't wait for its own end");
    if (it.phase == ProcessState::Phase::made || it.phase == ProcessState::Phase::starting)
        throw UsageError(std::string("Process.") + what + ": process " + it.quoted() +
                         " was not started; call start() first");
}

} // namespace

bool ProcessRef::join(Deadline deadline) const {
    ProcessState& it = state();
    check_join(it, "join");
    if (!detail::wait_for_end(it, deadline)) return false;
    if (it.kind == ProcessState::Kind::child) Running::get().remove(it);
    return true;
}

sync::Awaitable<detail::JoinWait> ProcessRef::async_join(Deadline deadline) const {
    check_join(state(), "async_join");
    return sync::Awaitable<detail::JoinWait>(deadline, state_);
}

void ProcessRef::terminate() const { detail::signal(state(), SIGTERM, "terminate"); }
void ProcessRef::interrupt() const { detail::signal(state(), SIGINT, "interrupt"); }
void ProcessRef::kill() const { detail::signal(state(), SIGKILL, "kill"); }

void ProcessRef::close() const {
    ProcessState& it = state();
    {
        const os::MutexGuard guard(it.mutex);
        if (it.phase == ProcessState::Phase::closed) return;
        it.check_owner("close");
        if (it.kind == ProcessState::Kind::self) throw UsageError("Process.close: this process runs");
        if (it.phase == ProcessState::Phase::starting || !(it.phase == ProcessState::Phase::made || it.look()))
            throw UsageError("Process.close: process " + it.quoted() + " runs; join() it, or kill() it, first");
        if (auto* const loop = loop::EventLoop::running_or_null(); loop != nullptr && it.descriptor() >= 0)
            loop->poller().forget(it.descriptor()); // nobody waits for it; the loop may still know its number
        it.phase = ProcessState::Phase::closed;
        it.child = Child();
        it.pidfd.reset();
        it.target.reset();
    }
    if (it.kind == ProcessState::Kind::child) Running::get().remove(it);
}

// ---- Process

Process::Process(const ProcessOptions& options, std::unique_ptr<detail::ProcessTarget> target)
    : ProcessRef(std::make_shared<ProcessState>(ProcessState::Kind::child)) {
    ProcessState& it = *state_;
    it.identity = ThisProcess::get().next_identity();
    it.name = options.name.empty() ? "Process-" + it.identity : options.name;
    it.daemon = options.daemon;
    it.context = options.context;
    it.target = std::move(target);
    it.had_target = it.target != nullptr;
}

void Process::run() {
    ProcessState& it = state();
    detail::ProcessTarget* target = nullptr;
    {
        const os::MutexGuard guard(it.mutex);
        target = it.target.get();
        if (target == nullptr && it.had_target)
            throw UsageError("Process.run: process " + it.quoted() +
                             " was started, and its function and arguments have gone to it; call the function itself");
    }
    if (target != nullptr) target->call();
}

Entry Process::pack_self(CargoWriter&) const { return nullptr; }

namespace {

// In a fork: the object is where it was.
void run_copied_object(CargoReader& in, CargoWriter&) { in.read_raw<Process*>()->run(); }

} // namespace

void Process::start() {
    ProcessState& it = state();
    Running& running = Running::get();
    ChildOptions options;
    CargoWriter cargo;
    Entry entry = nullptr;
    {
        const os::MutexGuard guard(it.mutex);
        it.check_open("start");
        it.check_owner("start");
        if (it.phase != ProcessState::Phase::made)
            throw UsageError("Process.start: process " + it.quoted() +
                             " was started already; make another Process to run it again");
        if (ThisProcess::get().daemon)
            throw UsageError("Process.start: this process is a daemon, which is ended without notice and so may have "
                             "no children; make it "
                             "without .daemon");
        options.method = it.context.method();
        if (typeid(*this) == typeid(Process)) {
            if (!it.target) {
                entry = [](CargoReader&, CargoWriter&) {}; // as Python's Process() without a target
            } else {
                it.target->pack(cargo);
                entry = it.target->entry();
            }
        } else if ((entry = pack_self(cargo)) == nullptr) {
            if (options.method != StartMethod::fork)
                throw UsageError("Process.start: a subclass with its own run() is an object of this process, and the "
                                 "start method \"" +
                                 std::string(to_string(options.method)) +
                                 "\" copies nothing of this process: derive it from ProcessOf, give the function to "
                                 "Process instead, or take "
                                 "{.context = \"fork\"}");
            cargo.write_raw(this);
            entry = run_copied_object;
        }
        options.name = it.name;
        options.identity = it.identity;
        options.daemon = it.daemon;
        options.authkey = it.authkey;
        it.phase = ProcessState::Phase::starting;
    }
    try {
        {
            const os::MutexGuard guard(running.mutex);
            running.list.push_back(state_);
        }
        Child child = Child::start(options, entry, std::move(cargo));
        std::unique_ptr<detail::ProcessTarget> sent; // destroyed outside of the lock: it closes what went to the child
        const os::MutexGuard guard(it.mutex);
        it.number = child.pid();
        it.child = std::move(child);
        it.phase = ProcessState::Phase::started;
        sent = std::move(it.target);
    } catch (...) {
        running.remove(it);
        const os::MutexGuard guard(it.mutex);
        it.phase = ProcessState::Phase::made;
        throw;
    }
}

// ---- who is who

Context get_context(const std::string& name) { return name.empty() ? Context() : Context(name); }

std::vector<ProcessHandle> active_children() {
    std::vector<ProcessHandle> alive;
    Running& running = Running::get();
    for (const auto& it : running.copy()) {
        bool ended = false;
        {
            const os::MutexGuard guard(it->mutex);
            if (it->phase < ProcessState::Phase::started) continue;
            ended = it->look();
        }
        if (ended)
            running.remove(*it);
        else
            alive.emplace_back(it);
    }
    return alive;
}

ProcessHandle current_process() {
    ThisProcess& me = ThisProcess::get();
    auto it = std::make_shared<ProcessState>(ProcessState::Kind::self);
    it->phase = ProcessState::Phase::started;
    it->number = os::process_id();
    const os::MutexGuard guard(me.mutex);
    it->name = me.name;
    it->identity = me.identity;
    it->daemon = me.daemon;
    return ProcessHandle(std::move(it));
}

std::optional<ProcessHandle> parent_process() {
    ThisProcess& me = ThisProcess::get();
    if (!me.is_child) return std::nullopt;
    auto it = std::make_shared<ProcessState>(ProcessState::Kind::parent);
    it->phase = ProcessState::Phase::started;
    it->number = me.parent;
    it->pidfd = os::open_process(me.parent);
    if (os::parent_id() != me.parent) it->pidfd.reset(); // it had ended: the number may be somebody else's
    const os::MutexGuard guard(me.mutex);
    it->name = me.parent_name;
    return ProcessHandle(std::move(it));
}

int cpu_count() noexcept { return os::machine_cpus(); }
int process_cpu_count() noexcept { return os::usable_cpus(); }

} // namespace sennit::multiprocessing

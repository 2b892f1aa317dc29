#include <sennit/multiprocessing/child.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/fork.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/packet.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/shared_memory.hpp>

#include "child_run.hpp"
#include "this_process.hpp"
#include "zygote.hpp"

#include <cerrno>
#include <csignal>
#include <vector>

namespace sennit::multiprocessing {

using namespace detail;

namespace {

// As much as goes in one packet; what is longer goes as a file.
constexpr std::size_t most_inline = os::packet_bytes - 4096;

// All that is sent, in a file of its own.
os::Fd in_file(const StartHeader* header, CargoWriter& preparation, CargoWriter& cargo) {
    const std::size_t head = header != nullptr ? sizeof *header : 0;
    int error = 0;
    os::Fd file = os::make_memfd("sennit-start", 0, error);
    std::int64_t at = 0;
    const auto write = [&](const void* data, std::size_t bytes) {
        if (error == 0 && bytes != 0) error = -os::write_all_at(file.get(), data, bytes, at);
        at += static_cast<std::int64_t>(bytes);
    };
    if (file) {
        write(header, head);
        write(preparation.bytes().data(), preparation.bytes().size());
        cargo.for_each_piece([&](std::span<const std::byte> piece) { write(piece.data(), piece.size()); });
    }
    if (!file || error != 0) throw OSError(error, "cannot write down the arguments of a process in memory");
    return file;
}

os::ChildProcess start_by_zygote(StartHeader header, CargoWriter& preparation, CargoWriter& cargo) {
    std::vector<int> fds;
    os::Fd file;
    std::vector<iovec> pieces{{&header, sizeof header}};
    if (header.preparation_bytes + header.cargo_bytes <= most_inline) {
        const auto body = preparation.bytes();
        pieces.push_back({const_cast<std::byte*>(body.data()), body.size()});
        cargo.for_each_piece([&](std::span<const std::byte> piece) {
            pieces.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
        });
    } else {
        file = in_file(nullptr, preparation, cargo);
        header.in_memfd = 1;
        fds.push_back(file.get());
    }
    header.has_out = os::is_open(1);
    header.has_err = os::is_open(2);
    if (header.has_out != 0) fds.push_back(1);
    if (header.has_err != 0) fds.push_back(2);
    fds.insert(fds.end(), cargo.fds().begin(), cargo.fds().end());
    if (fds.size() > os::packet_fds)
        throw UsageError("a process can be given " + std::to_string(os::packet_fds - 3) +
                         " descriptors and shared objects at most, and this one gets " +
                         std::to_string(cargo.fds().size()));
    return Zygote::get().start(pieces, fds);
}

os::ChildProcess start_by_exec(const StartHeader& header, CargoWriter& preparation, CargoWriter& cargo) {
    const os::Fd file = in_file(&header, preparation, cargo);
    const os::Fd null = os::open_null();
    std::vector<os::FdMapping> fds{
        {null.get(), 0}, {file.get(), ChildFds::commands}, {os::Lifeline::read_end(), ChildFds::lifeline}};
    int number = ChildFds::cargo;
    for (const int fd : cargo.fds()) fds.push_back({fd, number++});
    const std::string count = std::to_string(cargo.fds().size());
    const char* const argv[] = {program_name(), child_mark, "spawn", count.c_str(), nullptr};
    os::SpawnRequest request;
    request.file = this_program;
    request.argv = argv;
    request.fds = fds;
    request.process_group = 0;
    os::ChildProcess child;
    if (const auto failure = os::spawn(request, child); failure.step != os::SpawnStep::none)
        throw OSError(failure.error, os::describe(failure, request));
    return child;
}

os::ChildProcess start_by_fork(const StartHeader& header, CargoWriter& preparation, CargoWriter& cargo) {
    // All that may fail, before there are two.
    std::vector<std::byte> body;
    body.reserve(header.preparation_bytes + header.cargo_bytes);
    const auto head = preparation.bytes();
    body.insert(body.end(), head.begin(), head.end());
    cargo.for_each_piece(
        [&](std::span<const std::byte> piece) { body.insert(body.end(), piece.begin(), piece.end()); });
    Start start;
    start.header = header;
    for (const int fd : cargo.fds()) start.fds.push_back(os::duplicate(fd));
    const int lifeline = os::Lifeline::read_end();
    const os::Fd held = os::duplicate(lifeline); // the child's fork handler closes the parent's own
    const os::Fd null = os::open_null();
    os::warn_of_threads_before_fork("the start method \"fork\"");
    os::flush_before_fork();
    pid_t pid = -1;
    os::ChildProcess child;
    if (const int error = os::fork_child(pid, child); error != 0)
        throw OSError(error, "fork: cannot copy this process");
    if (pid != 0) return child;
    try {
        os::Fd watch;
        os::lead_process_group();
        os::set_standard_stream(null.get(), 0);
        os::Lifeline::die_with(held.get(), watch);
        watch.release(); // for ever
        start.body = body;
    } catch (...) {
        os::exit_now(1);
    }
    run_child(std::move(start), true);
}

} // namespace

Child Child::start(const ChildOptions& options, Entry entry, CargoWriter&& cargo) {
    check_may_start();
    ThisProcess::get();
    fix_start_method();
    CargoWriter preparation = make_preparation(options, entry);
    StartHeader header;
    header.preparation_bytes = preparation.size();
    header.cargo_bytes = cargo.size();
    header.parent = os::process_id();
    header.fd_count = static_cast<std::uint32_t>(cargo.fds().size());
    Child child;
    child.owner_ = header.parent;
    switch (options.method) {
    case StartMethod::forkserver:
        child.process_ = start_by_zygote(header, preparation, cargo);
        break;
    case StartMethod::spawn:
        child.process_ = start_by_exec(header, preparation, cargo);
        break;
    case StartMethod::fork:
        child.process_ = start_by_fork(header, preparation, cargo);
        break;
    }
    FAULT_POINT("child.started");
    return child;
}

Child& Child::operator=(Child&& other) noexcept {
    if (this == &other) return *this;
    Child former(std::move(*this)); // ends what this one had
    process_ = std::move(other.process_);
    status_ = std::exchange(other.status_, std::nullopt);
    owner_ = other.owner_;
    return *this;
}

Child::~Child() {
    if (!process_ || status_ || owner_ != os::process_id()) return;
    process_.send_signal(SIGKILL);
    join();
}

const std::optional<os::ExitStatus>& Child::status() noexcept {
    if (!status_ && process_ && owner_ == os::process_id()) {
        status_ = process_.try_wait();
        // Ended by a signal it can't have ended what it has started; a group that is gone already is none (and no stranger's).
        if (status_ && !status_->unknown && status_->code < 0) process_.send_signal_to_group(SIGKILL);
    }
    return status_;
}

std::optional<int> Child::exitcode() {
    const auto& now = status();
    if (!now) return std::nullopt;
    if (now->unknown)
        throw OSError(ECHILD,
                      "the exit status of process " + std::to_string(pid()) +
                          " is unknown: something else in this program reaped it (a waitpid(-1), or SIGCHLD ignored)");
    return now->code;
}

bool Child::join(Deadline deadline) noexcept {
    while (!status()) {
        if (!process_ || deadline.has_passed()) return false;
        pollfd ended{process_.pidfd(), POLLIN, 0};
        os::poll_fds({&ended, 1}, deadline);
    }
    return true;
}

int Child::send_signal(int signal) const noexcept {
    if (!process_ || owner_ != os::process_id()) return 0;
    return process_.send_signal(signal);
}
int Child::terminate() const noexcept { return send_signal(SIGTERM); }
int Child::kill() const noexcept { return send_signal(SIGKILL); }

namespace detail {

void stop_forkserver() noexcept {
    try {
        Zygote::get().stop();
    } catch (...) { // there is none
    }
}

pid_t forkserver_pid() noexcept {
    try {
        return Zygote::get().pid();
    } catch (...) {
        return 0;
    }
}

} // namespace detail
} // namespace sennit::multiprocessing

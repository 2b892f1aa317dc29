// this process, who starts              the zygote                              the child
//
//   p1  page.made = 0                    z1  takes the packet
//   p2  sends the packet                 z2  clones: the kernel writes           c1  leads a group, holds on to the lifeline
//   p3  takes the answer                     page.made, then lets the child go   c2  closes what is not its own
//   p4  no answer, the zygote is         z3  answers: number and pidfd           c3  runs the entry
//       dead: page.made tells                                                    c4  exits
//
// 1. The child is a child of p, not of the zygote (CLONE_PARENT): p alone reaps it, and its status is p's to see whatever becomes of the
//    zygote. As page.made is written by the kernel before the child's first instruction, a start has happened exactly if p finds a number
//    there: no start is lost or made twice when the zygote is killed between z2 and z3.
// 2. The zygote has one thread and no lock is held while it clones, so the child may use all of libc and of this library.
// 3. The zygote sleeps in recvmsg. The end of the socket is the end of p: it kills those that it has made, with what they left in their
//    groups, and ends. The children die without it too, by the lifeline.
#include "zygote.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/fork.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/packet.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/system_state.hpp>
#include <sennit/os/thread.hpp>

#include "child_run.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

namespace sennit::multiprocessing::detail {
namespace {

struct Hello {
    static constexpr std::uint64_t the_magic = 0x73656e6e69740002;
    std::uint64_t magic;
    std::int32_t threads;
};

struct Answer {
    std::int32_t pid;
    std::int32_t error;
};

std::string how_it_ended(os::ChildProcess& process) {
    const auto status = process.wait(std::chrono::seconds(2));
    if (!status || status->unknown) return "";
    if (status->code < 0) return " (signal " + std::to_string(-status->code) + ')';
    return " (exit code " + std::to_string(status->code) + ')';
}

} // namespace

// ---- on the side of who starts

Zygote& Zygote::get() {
    static Zygote& it = []() -> Zygote& {
        static Zygote* const made = new Zygote; // never destroyed: processes are started until the very end
        if (const int error =
                os::at_fork([]() SENNIT_NO_TSA noexcept { made->mutex_.lock(); },
                            []() SENNIT_NO_TSA noexcept { made->mutex_.unlock(); }, []() noexcept { made->forget(); }))
            throw OSError(error, "pthread_atfork: cannot prepare for a fork");
        return *made;
    }();
    return it;
}

void Zygote::forget() noexcept SENNIT_NO_TSA {
    mutex_.reset_after_fork();
    socket_.reset();
    process_ = os::ChildProcess();
    if (page_ != nullptr) os::unmap(const_cast<pid_t*>(&page_->made), os::page_bytes());
    page_ = nullptr;
}

void Zygote::drop() noexcept {
    socket_.reset(); // it ends by this, if it has not
    os::release_to_reaper(std::move(process_));
    process_ = os::ChildProcess();
    if (page_ != nullptr) os::unmap(const_cast<pid_t*>(&page_->made), os::page_bytes());
    page_ = nullptr;
}

void Zygote::launch() {
    int error = 0;
    const os::Fd page = os::make_memfd("sennit-zygote", os::page_bytes(), error);
    void* const memory = page ? os::map_shared(page.get(), os::page_bytes(), error) : nullptr;
    if (memory == nullptr)
        throw OSError(error, "cannot make the memory that is shared with the process that starts others");
    page_ = static_cast<Page*>(memory);
    try {
        auto [here, there] = os::make_packet_pair();
        const os::Fd null = os::open_null();
        const os::FdMapping fds[] = {{null.get(), 0},
                                     {there.get(), ChildFds::commands},
                                     {os::Lifeline::read_end(), ChildFds::lifeline},
                                     {page.get(), ChildFds::page}};
        const char* const argv[] = {program_name(), child_mark, "zygote", nullptr};
        os::SpawnRequest request;
        request.file = this_program;
        request.argv = argv;
        request.fds = fds;
        request.process_group = 0;
        if (const auto failure = os::spawn(request, process_); failure.step != os::SpawnStep::none)
            throw OSError(failure.error, os::describe(failure, request));
        there.reset();
        Hello hello{};
        std::vector<os::Fd> none;
        const iovec room{&hello, sizeof hello};
        const ssize_t got = os::receive_packet(here.get(), {&room, 1}, none);
        if (got != sizeof hello || hello.magic != Hello::the_magic) {
            here.reset();
            const std::string how = how_it_ended(process_);
            throw Error(
                "the process that starts others (start method forkserver) ended before it began" + how +
                ": it is this program, executed anew up to main(); one of its static objects ends it, or the "
                "library did not take over before main(): then call multiprocessing::freeze_support() first there");
        }
        if (hello.threads > 1) {
            here.reset();
            throw UsageError(
                "the process that starts others (start method forkserver) has " + std::to_string(hello.threads) +
                " threads before main(): a static object of the program starts them, and a copy would not have them. "
                "Start threads in main(), or take the start method \"spawn\"");
        }
        socket_ = std::move(here);
    } catch (...) {
        drop();
        throw;
    }
}

os::ChildProcess Zygote::start(std::span<const iovec> pieces, std::span<const int> fds) {
    const os::MutexGuard guard(mutex_);
    for (int attempt = 0; attempt < 4; ++attempt) {
        if (!socket_) launch();
        page_->made = 0;
        if (const int error = os::send_packet(socket_.get(), pieces, fds); error != 0) {
            if (error != -EPIPE && error != -ECONNRESET)
                throw OSError(-error, "sendmsg: cannot tell the process that starts others what to start");
            drop();
            continue;
        }
        FAULT_POINT("zygote.asked");
        Answer answer{};
        std::vector<os::Fd> pidfd;
        const iovec room{&answer, sizeof answer};
        const ssize_t got = os::receive_packet(socket_.get(), {&room, 1}, pidfd);
        if (got == sizeof answer && pidfd.size() == 1) return {answer.pid, std::move(pidfd.front())};
        if (got == sizeof answer && answer.pid == 0)
            throw OSError(answer.error, "clone: the system refuses a copy of the process that starts others");
        // No descriptor was left here for the pidfd, or the zygote is dead: was the child made?
        const pid_t made = page_->made;
        if (got != -EMFILE) drop();
        if (made == 0) continue;
        os::ChildProcess child;
        if (const int error = os::adopt_child(made, child); error != 0)
            throw OSError(error, "pidfd_open: cannot hold on to a child that was started; it was ended");
        return child;
    }
    throw OSError(ECONNRESET, "cannot start a process: the process that starts others is killed again and again");
}

void Zygote::stop() noexcept {
    const os::MutexGuard guard(mutex_);
    if (!process_) return;
    socket_.reset();
    if (!process_.wait(std::chrono::seconds(2))) process_.send_signal(SIGKILL);
    drop();
}

pid_t Zygote::pid() noexcept {
    const os::MutexGuard guard(mutex_);
    return socket_ ? process_.pid() : 0;
}

// ---- the zygote

namespace {

// Those that were made and may have left somebody in their groups.
class Made {
  public:
    void add(os::Fd pidfd) {
        if (all_.size() >= look_at_) {
            std::erase_if(
                all_, [](const os::Fd& fd) { return os::has_ended(fd.get()) && !os::signal_with_group(fd.get(), 0); });
            look_at_ = all_.size() + 64;
        }
        all_.push_back(std::move(pidfd));
    }
    void kill() noexcept {
        for (const os::Fd& pidfd : all_) os::signal_with_group(pidfd.get(), SIGKILL);
    }

  private:
    std::vector<os::Fd> all_;
    std::size_t look_at_ = 64;
};

// In the child, with nothing but the packet.
[[noreturn]] void become_child(Start& start, std::vector<os::Fd>& fds) {
    os::lead_process_group();
    os::Fd watch;
    if (os::Lifeline::die_with(ChildFds::lifeline, watch) != 0 && os::parent_id() != start.header.parent)
        os::exit_now(1); // no /proc, and the parent is gone: the zygote's sweep is all there is
    std::size_t next = 0;
    os::Fd file;
    if (start.header.in_memfd != 0) file = std::move(fds[next++]);
    if (start.header.has_out != 0) os::set_standard_stream(fds[next++].get(), 1);
    if (start.header.has_err != 0) os::set_standard_stream(fds[next++].get(), 2);
    std::vector<int> keep{watch.get(), file.get()};
    for (; next < fds.size(); ++next) {
        keep.push_back(fds[next].get());
        start.fds.push_back(std::move(fds[next]));
    }
    std::sort(keep.begin(), keep.end());
    os::close_all_but(keep);
    for (os::Fd& closed : fds) closed.release();
    if (file) {
        int error = 0;
        const auto bytes = static_cast<std::size_t>(os::file_bytes(file.get()));
        void* const body = os::map_shared(file.get(), bytes, error);
        if (body == nullptr) os::exit_now(1);
        start.body = {static_cast<const std::byte*>(body), bytes};
    }
    watch.release(); // for ever
    file.reset();
    run_child(std::move(start), false);
}

} // namespace

void run_zygote() {
    int error = 0;
    auto* const page = static_cast<volatile pid_t*>(os::map_shared(ChildFds::page, os::page_bytes(), error));
    if (page == nullptr) os::exit_now(1);
    os::Fd(ChildFds::page).reset();
    const Hello hello{Hello::the_magic, os::thread_count()};
    const iovec greeting{const_cast<Hello*>(&hello), sizeof hello};
    if (os::send_packet(ChildFds::commands, {&greeting, 1}, {}) != 0 || hello.threads > 1) os::exit_now(1);
    os::set_kernel_thread_name("sennit-zygote");

    Made made;
    static std::byte buffer[os::packet_bytes];
    std::vector<os::Fd> fds;
    for (;;) {
        fds.clear();
        Start start;
        const iovec room[] = {{&start.header, sizeof start.header}, {buffer, sizeof buffer}};
        const ssize_t got = os::receive_packet(ChildFds::commands, room, fds);
        if (got == 0 || (got < 0 && got != -EMFILE && got != -EMSGSIZE)) break;
        Answer answer{0, got == -EMFILE ? EMFILE : EINVAL};
        os::Fd pidfd;
        const std::size_t expected =
            start.header.fd_count + start.header.in_memfd + start.header.has_out + start.header.has_err;
        if (got >= static_cast<ssize_t>(sizeof start.header) && start.header.magic == StartHeader::the_magic &&
            fds.size() == expected) {
            start.body = {buffer, static_cast<std::size_t>(got) - sizeof start.header};
            pid_t pid = -1;
            answer.error = os::fork_sibling(pid, pidfd, page);
            if (answer.error == 0 && pid == 0) {
                os::unmap(const_cast<pid_t*>(page), os::page_bytes());
                become_child(start, fds);
            }
            if (answer.error == 0) answer.pid = pid;
            FAULT_POINT("zygote.cloned");
        }
        const iovec piece{&answer, sizeof answer};
        const int number = pidfd.get();
        if (os::send_packet(ChildFds::commands, {&piece, 1}, {&number, pidfd ? 1U : 0U}) != 0) {
            if (pidfd) made.add(std::move(pidfd));
            break;
        }
        if (pidfd) made.add(std::move(pidfd));
    }
    made.kill();
    os::exit_now(0);
}

} // namespace sennit::multiprocessing::detail

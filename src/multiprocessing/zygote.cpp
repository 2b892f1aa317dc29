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
// 3. Who starts often finds a spare: a child that the zygote made ahead, which has done c1 and c2 and sleeps on a socket of its own, whose
//    other end p got with its pidfd. Then a start is one packet to the spare (c3), and an order for the next one to the zygote. The packet
//    is in the spare's queue or it is not: so a start has happened or not, whoever dies. A spare whose answer was lost is found by
//    page.spares, and ended; one that p closes ends by itself. A spare is no process of the program's yet: nobody counts or sees it.
// 4. The zygote sleeps in recvmsg. The end of the socket is the end of p: it kills those that it has made, with what they left in their
//    groups, and ends. The children die without it too, by the lifeline.
#include "zygote.hpp"

#include <sennit/base/deadline.hpp>
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
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

namespace sennit::multiprocessing::detail {
namespace {

// A second start within this time makes a spare for the third; within the other, as many as there may be.
constexpr std::int64_t often_ns = 1'000'000'000, very_often_ns = 100'000'000;
// With more descriptors the zygote is asked, whose refusal is an answer.
constexpr std::size_t most_fds_of_spare = 64;

struct Order {
    static constexpr std::uint64_t the_magic = 0x73656e6e69740003;
    std::uint64_t magic = the_magic;
    std::uint64_t place = 0; // among page.spares
};
static_assert(offsetof(Order, place) == offsetof(StartHeader, preparation_bytes)); // where it is read

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
    spares_.clear();
    ordered_ = 0;
    last_start_ns_ = 0;
    if (page_ != nullptr) os::unmap(page_, os::page_bytes());
    page_ = nullptr;
}

void Zygote::drop() noexcept {
    socket_.reset(); // it ends by this, if it has not
    for (Spare& spare : spares_) end(std::move(spare));
    spares_.clear();
    ordered_ = 0;
    last_start_ns_ = 0;
    os::release_to_reaper(std::move(process_));
    process_ = os::ChildProcess();
    if (page_ != nullptr) os::unmap(page_, os::page_bytes());
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
        // Its functions of libraries are bound now, not in each copy anew. It takes that out of its environment again.
        const bool binds = os::has_variable(bind_now);
        std::vector<const char*> envp;
        if (!binds) envp = os::environment_and(bind_now_line);
        const char* const argv[] = {program_name(), child_mark, binds ? "zygote" : "zygote-bound", nullptr};
        os::SpawnRequest request;
        request.file = this_program;
        request.argv = argv;
        if (!binds) request.envp = envp.data();
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
    const std::int64_t now = base::monotonic_ns();
    const std::int64_t since = now - last_start_ns_;
    const unsigned wanted = last_start_ns_ == 0 || since >= often_ns ? 0 : since >= very_often_ns ? 1 : most_spares;
    os::ChildProcess child;
    if (!start_by_spare(pieces, fds, child)) child = start_by_clone(pieces, fds);
    last_start_ns_ = now;
    while (socket_ && spares_.size() < wanted && order_spare()) {}
    return child;
}

// False: there is none, or they were killed before.
bool Zygote::start_by_spare(std::span<const iovec> pieces, std::span<const int> fds, os::ChildProcess& child) {
    while (!spares_.empty() && fds.size() <= most_fds_of_spare) {
        if (!spares_.front().process) {
            take_answer();
            continue;
        }
        Spare spare = std::move(spares_.front());
        spares_.erase(spares_.begin());
        const int error = os::send_packet(spare.socket.get(), pieces, fds);
        if (error == 0) {
            FAULT_POINT("zygote.asked");
            child = std::move(spare.process);
            return true;
        }
        end(std::move(spare));
        if (error != -EPIPE && error != -ECONNRESET) throw OSError(-error, "sendmsg: cannot tell a process what to do");
    }
    return false;
}

// False: the zygote is dead, as the next start finds.
bool Zygote::order_spare() noexcept {
    try {
        Order order;
        order.place = next_place_;
        page_->spares[order.place] = 0;
        spares_.reserve(most_spares);
        const iovec piece{&order, sizeof order};
        if (os::send_packet(socket_.get(), {&piece, 1}, {}) != 0) return false;
        spares_.push_back({os::ChildProcess(), os::Fd(), static_cast<unsigned>(order.place)});
    } catch (...) {
        return false;
    }
    next_place_ = (next_place_ + 1) % most_spares;
    ++ordered_;
    return true;
}

// To what was ordered first; it is on its way.
void Zygote::take_answer() {
    const auto first = spares_.end() - ordered_;
    Answer answer{};
    std::vector<os::Fd> fds;
    const iovec room{&answer, sizeof answer};
    const ssize_t got = os::receive_packet(socket_.get(), {&room, 1}, fds);
    if (got == sizeof answer && fds.size() == 2) {
        first->process = os::ChildProcess(answer.pid, std::move(fds[0]));
        first->socket = std::move(fds[1]);
    } else if (got == sizeof answer || got == -EMFILE) { // none was made; or no descriptor was left here
        end(std::move(*first));
        spares_.erase(first);
    } else {
        drop();
        return;
    }
    --ordered_;
}

// It sleeps, or dies; or was not made.
void Zygote::end(Spare spare) noexcept {
    spare.socket.reset();
    if (!spare.process && page_->spares[spare.place] != 0) os::adopt_child(page_->spares[spare.place], spare.process);
    if (!spare.process) return;
    spare.process.send_signal(SIGKILL);
    if (!spare.process.wait(std::chrono::seconds(2))) os::release_to_reaper(std::move(spare.process));
}

os::ChildProcess Zygote::start_by_clone(std::span<const iovec> pieces, std::span<const int> fds) {
    for (int attempt = 0; attempt < 4; ++attempt) {
        while (ordered_ > 0) take_answer(); // they come before ours
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
    for (Spare& spare : spares_) spare.socket.reset();
    socket_.reset();
    if (!process_.wait(std::chrono::seconds(2))) process_.send_signal(SIGKILL);
    drop();
}

pid_t Zygote::pid() noexcept {
    const os::MutexGuard guard(mutex_);
    return socket_ ? process_.pid() : 0;
}

std::vector<pid_t> Zygote::spare_pids() {
    const os::MutexGuard guard(mutex_);
    std::vector<pid_t> all;
    for (const Spare& spare : spares_) all.push_back(spare.process ? spare.process.pid() : page_->spares[spare.place]);
    return all;
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
            look_at_ = 2 * all_.size() + few;
        }
        all_.push_back(std::move(pidfd));
    }
    void kill() noexcept {
        for (const os::Fd& pidfd : all_) os::signal_with_group(pidfd.get(), SIGKILL);
    }

  private:
    std::vector<os::Fd> all_;
    static constexpr std::size_t few = 8; // more are copied, and closed, by each child
    std::size_t look_at_ = few;
};

// One that tells a start. What came, or -errno, or 0 at the end.
ssize_t receive_start(int socket, Start& start, std::vector<os::Fd>& fds) {
    static std::byte buffer[os::packet_bytes];
    const iovec room[] = {{&start.header, sizeof start.header}, {buffer, sizeof buffer}};
    const ssize_t got = os::receive_packet(socket, room, fds);
    if (got > static_cast<ssize_t>(sizeof start.header))
        start.body = {buffer, static_cast<std::size_t>(got) - sizeof start.header};
    return got;
}

bool is_whole(const Start& start, ssize_t got, std::size_t fds) noexcept {
    const StartHeader& h = start.header;
    return got >= static_cast<ssize_t>(sizeof h) && h.magic == StartHeader::the_magic &&
           fds == h.fd_count + std::size_t{h.in_memfd} + h.has_out + h.has_err;
}

// In the child, first. `watch` stays open for ever; it is none where there is no /proc.
void settle(os::Fd& watch) {
    os::lead_process_group();
    if (watch && os::Lifeline::arm(watch) != 0) watch.reset();
}

// In the child, with nothing but the packet.
[[noreturn]] void become_child(Start& start, std::vector<os::Fd>& fds, os::Fd watch) {
    os::set_kernel_thread_name(program_short_name());
    if (!watch && os::parent_id() != start.header.parent)
        os::exit_now(1); // the parent is gone: the zygote's sweep is all there is
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

// In the child that is made ahead.
[[noreturn]] void become_spare(os::Fd socket, os::Fd watch) {
    os::set_kernel_thread_name("sennit-spare");
    settle(watch);
    int keep[] = {watch.get(), socket.get()};
    std::sort(std::begin(keep), std::end(keep));
    os::close_all_but(keep);
    rehearse(); // the copies of pages that this makes are not made when it counts
    Start start;
    std::vector<os::Fd> fds;
    const ssize_t got = receive_start(socket.get(), start, fds);
    socket.reset();
    if (got == 0 || got == -ECONNRESET) os::exit_now(0); // nothing to be
    if (!is_whole(start, got, fds.size())) {
        std::fputs("sennit: a process can't read what it should do: no descriptor was left for what it is given\n",
                   stderr);
        os::exit_now(1);
    }
    become_child(start, fds, std::move(watch));
}

} // namespace

void run_zygote() {
    int error = 0;
    auto* const page = static_cast<Zygote::Page*>(os::map_shared(ChildFds::page, os::page_bytes(), error));
    if (page == nullptr) os::exit_now(1);
    os::Fd(ChildFds::page).reset();
    os::keep_from_copies(page, os::page_bytes());
    const Hello hello{Hello::the_magic, os::thread_count()};
    const iovec greeting{const_cast<Hello*>(&hello), sizeof hello};
    if (os::send_packet(ChildFds::commands, {&greeting, 1}, {}) != 0 || hello.threads > 1) os::exit_now(1);
    os::set_kernel_thread_name("sennit-zygote");
    rehearse();
    const os::Fd own_fds = os::Lifeline::open_own_fds();

    Made made;
    std::vector<os::Fd> fds;
    for (;;) {
        fds.clear();
        Start start;
        const ssize_t got = receive_start(ChildFds::commands, start, fds);
        if (got == 0 || (got < 0 && got != -EMFILE && got != -EMSGSIZE)) break;
        const bool is_order = got == sizeof(Order) && start.header.magic == Order::the_magic;
        Answer answer{0, got == -EMFILE ? EMFILE : EINVAL};
        os::Fd pidfd;
        os::PacketPair pair;
        if (is_order) {
            try {
                pair = os::make_packet_pair();
                answer.error = 0;
            } catch (const OSError& refused) {
                answer.error = refused.code();
            }
        } else if (is_whole(start, got, fds.size())) {
            answer.error = 0;
        }
        if (answer.error == 0) {
            pid_t pid = -1;
            os::Fd watch;
            os::Lifeline::open_watch(ChildFds::lifeline, watch,
                                     own_fds); // here: in a child /proc would have to be made
            answer.error = os::fork_sibling(
                pid, pidfd,
                is_order ? &page->spares[start.header.preparation_bytes % Zygote::most_spares] : &page->made);
            if (answer.error == 0 && pid == 0) {
                if (is_order) {
                    pair.there.reset();
                    become_spare(std::move(pair.here), std::move(watch));
                }
                settle(watch);
                become_child(start, fds, std::move(watch));
            }
            if (answer.error == 0) answer.pid = pid;
            FAULT_POINT("zygote.cloned");
        }
        const iovec piece{&answer, sizeof answer};
        const int given[] = {pidfd.get(), pair.there.get()};
        const std::size_t count = !pidfd ? 0 : is_order ? 2 : 1;
        const int lost = os::send_packet(ChildFds::commands, {&piece, 1}, {given, count});
        if (pidfd) made.add(std::move(pidfd));
        if (lost != 0) break;
    }
    made.kill();
    os::exit_now(0);
}

} // namespace sennit::multiprocessing::detail

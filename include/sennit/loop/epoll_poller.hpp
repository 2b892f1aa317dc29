#pragma once

#include <sennit/loop/descriptor_table.hpp>
#include <sennit/loop/file_threads.hpp>
#include <sennit/loop/poller.hpp>
#include <sennit/os/epoll.hpp>
#include <sennit/os/fd.hpp>

#include <cstdint>
#include <memory>

namespace sennit::loop {

/// The poller for every kernel: non-blocking calls, and epoll for what would wait.
///
/// Cost      One epoll_ctl in the life of a descriptor that ever waits for input, one more when it first waits for output; then
///           each operation is its own system call alone, made when it can succeed. A turn is one epoll_wait.
/// Source    epoll(7), edge-triggered; the conditions under which a short read says "empty" are those of its questions 9 and 10.
class EpollPoller final : public Poller {
  public:
    /// Throws OSError.
    EpollPoller();
    ~EpollPoller() override;

    bool start_or_finish(Operation& op) noexcept override;
    void cancel(Operation& op) noexcept override;
    void forget(int fd) noexcept override;
    void turn(Deadline deadline) noexcept override;
    void wake() noexcept override;
    [[nodiscard]] const char* name() const noexcept override { return "epoll"; }

  private:
    struct Descriptor {
        base::IntrusiveList readers, writers; // operations that wait, oldest first
        std::uint32_t generation = 0;         // of the watch: an event of an older one is none of ours
        std::uint32_t events = 0;             // what epoll watches; 0: nothing
        std::uint32_t closings = 0;           // os::closings_of() when the rest was found out
        bool readable = true, writable = true;
        bool sticky = false;
        bool always_ready = false; // epoll does not take it: a regular file
        bool known = false;        // the next two are
        bool tcp = false;
        bool nonblocking = false;
    };
    int watch(int fd, Descriptor& d, std::uint32_t events) noexcept;
    void run_queue(Descriptor& d, base::IntrusiveList& queue, bool& ready) noexcept;
    void found_empty(int fd, Descriptor& d, bool& ready) noexcept;
    static void start_anew(Descriptor& d) noexcept;
    static bool emptied(const Descriptor& d, const Operation& op) noexcept;
    void on_event(std::uint64_t tag, std::uint32_t events) noexcept;
    static void end_all_of(EpollPoller& self, base::IntrusiveList& queue, int result) noexcept;

    os::Epoll epoll_;
    os::Fd bell_; // an eventfd, edge-triggered: it is never read
    DescriptorTable<Descriptor> descriptors_;
    std::unique_ptr<FileThreads> files_; // from the first file operation on
};

} // namespace sennit::loop

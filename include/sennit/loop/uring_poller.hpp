#pragma once

#include <sennit/loop/descriptor_table.hpp>
#include <sennit/loop/poller.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/ring.hpp>

#include <memory>

namespace sennit::loop {

/// The poller on io_uring: operations are handed to the kernel in one system call a turn, which also waits and brings back what has
/// ended.
///
/// Cost      A turn is one system call, whatever was started and whatever ended.
/// Source    io_uring(7). What is refused, and when, stands with os::Ring.
class UringPoller final : public Poller {
  public:
    static constexpr unsigned default_submissions = 512;
    static constexpr unsigned default_completions = 4096;

    /// Throws OSError when the kernel refuses. With smaller queues it does the same, slower: for tests.
    explicit UringPoller(unsigned submissions = default_submissions, unsigned completions = default_completions);
    ~UringPoller() override;

    void attach() override;
    bool start_or_finish(Operation& op) noexcept override;
    void cancel(Operation& op) noexcept override;
    void forget(int fd) noexcept override;
    void turn(Deadline deadline) noexcept override;
    void wake() noexcept override;
    [[nodiscard]] bool repeats(OperationKind kind) const noexcept override {
        return kind == OperationKind::accept_each;
    }
    [[nodiscard]] const char* name() const noexcept override { return "io_uring"; }

  private:
    // Where an operation stands: Operation::step_.
    enum Step : std::uint8_t {
        carried_out, // the kernel has it
        polled,      // it would have waited on a non-blocking descriptor: the kernel tells when to try again
        held_back,   // the kernel takes no more for the time being: in held_back_
    };
    struct Descriptor {
        base::IntrusiveList operations; // that the kernel has
        bool nonempty = false;          // the last recv said that there is more
    };

    void submit(Operation& op, Step step) noexcept;
    bool queue(Operation& op, Step step) noexcept;
    void watch_bell() noexcept;
    void go_on() noexcept;
    void reap() noexcept;
    void on_completion(const os::Ring::Completion& completion) noexcept;
    void on_repeated(RepeatedOperation& op, const os::Ring::Completion& completion) noexcept;
    void run_told() noexcept;

    unsigned submissions_, completions_;
    std::unique_ptr<os::Ring> ring_;
    bool attached_ = false;
    os::Fd bell_; // an eventfd, watched for each event: it is never read
    bool bell_watched_ = false;
    bool ends_ = false; // it is being destroyed
    DescriptorTable<Descriptor> descriptors_;
    base::IntrusiveList held_back_; // to be submitted again
    base::IntrusiveList to_cancel_; // cancel() found no room; the kernel has them
    base::IntrusiveList told_;      // RepeatedOperations of which something has come
};

} // namespace sennit::loop

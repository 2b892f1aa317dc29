// What Queue, JoinableQueue and SimpleQueue have in common: messages in a file in memory. See src/multiprocessing/queue_core.cpp.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <utility>
#include <vector>

namespace sennit::multiprocessing {

class QueueCore {
  public:
    /// Throws OSError. maxsize <= 0: none. `takes_fds`: whether its messages may have descriptors.
    explicit QueueCore(std::int64_t maxsize, bool takes_fds = false);
    /// The one in this file, and in this box. Throws OSError, CargoError.
    explicit QueueCore(os::Fd file, os::Fd box = os::Fd());
    QueueCore(const QueueCore&) = delete;
    QueueCore& operator=(const QueueCore&) = delete;
    ~QueueCore();

    [[nodiscard]] std::uint64_t size() const noexcept;
    [[nodiscard]] std::uint64_t maxsize() const noexcept;
    /// One item less to be done. False: there is none.
    bool task_done();
    [[nodiscard]] std::uint64_t unfinished() const noexcept;
    [[nodiscard]] int fd() const noexcept { return file_.get(); }
    /// Where descriptors are on their way; -1: this queue's messages have none.
    [[nodiscard]] int box() const noexcept { return box_.get(); }

    class PutOp;
    class GetOp;
    class JoinOp;

    /// What is done with a message that lies in one piece: under the readers' lock, so no code of the user's.
    using Take = void (*)(void* to, std::span<const std::byte> message);
    /// The ops' work where nothing stands in its way: the lock is free, and there is room in the chunk, or an item in one piece and
    /// without descriptors. False: nothing was done, and an op is to do it.
    bool put_quickly(std::span<const std::byte> bytes) noexcept;
    /// Looks for a while whether one comes. What `take` throws leaves the item where it is.
    bool get_quickly(Take take, void* to);

    struct Shared;
    struct State;
    struct End;
    struct Values;

  private:
    void map_control();
    [[nodiscard]] std::byte* at(std::uint64_t position);
    std::byte* chunk(std::uint64_t number);
    [[nodiscard]] std::byte* at_or_null(std::uint64_t position) noexcept;
    [[nodiscard]] bool turns(const Values& tail, std::uint64_t need) const noexcept;
    void prepare(std::uint64_t position, std::uint64_t bytes) noexcept;
    bool put_here(const Values& tail, std::span<const std::byte> bytes, bool& wake) noexcept;
    bool take_here(const Values& head, const Values& tail, Take take, void* to, bool& wake);
    struct Source;
    void put(const Source& source, bool& wake);
    std::uint64_t send_fds(std::span<const int> fds);
    bool look_at_fds(std::uint64_t parcel, std::vector<os::Fd>& fds);

    os::Fd file_, box_;
    Shared* shared_ = nullptr;
    // Where each chunk of the file is mapped here; set once. The first ones, which most queues keep to, and pieces of a table for the
    // others, made when they are needed.
    static constexpr std::uint32_t near_chunks = 8, per_far = 64, most_far = 256;
    struct Far;
    atomic<std::byte*>& place(std::uint64_t number);
    atomic<std::byte*> near_[near_chunks] = {};
    atomic<Far*> far_[most_far] = {};
    // Up to where the memory of the first chunks was made by this process. Under the writers' lock.
    std::uint64_t prepared_[near_chunks] = {};
};

/// The wait of put(): for the writers' lock, and for room.
class QueueCore::PutOp final : public SharedWait {
  public:
    PutOp(QueueCore& core, const CargoWriter& cargo, const wait::WaitSite& site) noexcept
        : SharedWait(&core, site), core_(core), cargo_(&cargo) {}
    /// Of these bytes, which stay where they are.
    PutOp(QueueCore& core, std::span<const std::byte> bytes, const wait::WaitSite& site) noexcept
        : SharedWait(&core, site), core_(core), bytes_(bytes) {}
    bool try_now(Deadline deadline);
    bool step() noexcept override;
    /// False: there was no room by the deadline.
    bool finish(wait::Agent& me);

  private:
    bool attempt() noexcept;
    QueueCore& core_;
    const CargoWriter* cargo_ = nullptr;
    std::span<const std::byte> bytes_; // without a cargo
    std::exception_ptr error_;
    std::uint32_t seen_ = 0; // of the word to sleep on
    bool done_ = false, cancelled_ = false, slept_for_room_ = false;
};

/// The wait of get(): for the readers' lock, and for an item.
class QueueCore::GetOp : public SharedWait {
  public:
    using Take = QueueCore::Take;
    GetOp(QueueCore& core, const wait::WaitSite& site, bool looks, Take take = nullptr, void* to = nullptr) noexcept
        : SharedWait(&core, site), core_(core), take_(take), to_(to), looks_(looks) {}
    bool try_now(Deadline deadline);
    /// try_now() does not look for a while: get_quickly() has.
    void has_looked() noexcept { has_looked_ = true; }
    bool step() noexcept override;
    /// False: there was no item by the deadline. Else it has been taken, or is in body().
    bool finish_get(wait::Agent& me);
    [[nodiscard]] CargoWriter& body() noexcept { return body_; }
    /// What came with body().
    [[nodiscard]] std::vector<os::Fd> take_fds() noexcept { return std::move(fds_); }
    [[nodiscard]] bool taken() const noexcept { return taken_; }

  private:
    struct Taken;
    bool attempt() noexcept;
    bool take(const Taken& values) noexcept;
    QueueCore& core_;
    Take take_;
    void* to_;
    CargoWriter body_;
    std::vector<os::Fd> fds_;
    std::exception_ptr error_;
    std::int64_t slept_at_ = 0;
    std::uint32_t seen_ = 0;
    bool looks_, has_looked_ = false, done_ = false, taken_ = false, cancelled_ = false, slept_for_item_ = false;
};

class QueueCore::JoinOp final : public SharedWait {
  public:
    JoinOp(QueueCore& core, const wait::WaitSite& site) noexcept : SharedWait(&core, site), core_(core) {}
    bool try_now(Deadline deadline);
    bool step() noexcept override;
    bool finish(wait::Agent& me) {
        if (cancelled_) me.throw_cancelled();
        return done_;
    }

  private:
    QueueCore& core_;
    bool done_ = false, cancelled_ = false;
};

} // namespace sennit::multiprocessing

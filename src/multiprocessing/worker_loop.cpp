// The worker's side of a process pool.
//
//   1  wait for a record; read the job                         pool.worker.job_taken
//   2  claim it: from here on it has been begun                pool.worker.noted_started
//   3  run it                                                  pool.worker.before_run, after_run
//   4  write its result                                        pool.worker.encoded
//   5  publish it: from here on it is done                     pool.worker.before_publish, after_publish
//   6  ring the parent's bell                                  pool.worker.before_bell
//
// Between 2 and 5 a death is the job's; before and after, nobody's. The bell comes last, and the parent hears of the death itself, so
// a worker that dies between 5 and 6 delays nothing.
#include "multiprocessing/worker_loop.hpp"

#include "multiprocessing/crash_note.hpp"
#include "multiprocessing/worker_page.hpp"
#include "os/patience.hpp"

#include <sennit/base/fault_point.hpp>
#include <sennit/multiprocessing/entry.hpp>
#include <sennit/multiprocessing/worker_pool.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/limits.hpp>
#include <sennit/os/packet.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/throw_stack.hpp>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <vector>

namespace sennit::multiprocessing::detail {
namespace {

bool result_is_raw = false; // of the job that runs: a worker has one at a time

class WorkerLoop {
  public:
    WorkerLoop(WorkerMemory memory, int bell, int socket)
        : page_(*memory.page),
          jobs_(page_.jobs, memory.jobs, memory.ring_bytes),
          results_(page_.results, memory.results, memory.ring_bytes),
          bell_(bell),
          socket_(socket) {}

    // False: the initializer threw, which the parent has been told.
    bool begin(Entry initializer, CargoReader& arguments) {
        try {
            if (initializer) initializer(arguments, out_);
        } catch (...) {
            send_error(ToParent::refused, 0);
            return false;
        }
        out_.clear();
        send(ToParent::ready, 0, 0);
        return true;
    }

    void run() {
        RingReader::Record record;
        while (next(record)) {
            switch (static_cast<ToWorker>(record.header.kind)) {
            case ToWorker::job:
                job(record);
                break;
            case ToWorker::entry: {
                CargoReader in(record.payload);
                entries_.push_back(unpack_entry(in));
                break;
            }
            case ToWorker::quit:
                jobs_.release();
                return;
            }
            // Not each time: the head's cache line is the parent's to read.
            unreleased_ += record_bytes(record.header.bytes);
            if (unreleased_ > results_.most_payload()) release();
        }
    }

  private:
    void ring_parent() noexcept {
        FAULT_POINT("pool.worker.before_bell");
        const std::uint32_t was = page_.parent_bell.exchange(bell_awake, memory_order_acq_rel); // r2
        if (was == bell_asleep) {
            const std::uint64_t one = 1;
            os::write_some(bell_, &one, sizeof one); // EAGAIN: it rings already
        } else if (was == bell_on_word) {
            os::futex_wake_shared(page_.parent_bell, 1);
        }
    }
    void release() noexcept {
        unreleased_ = 0;
        if (jobs_.release()) ring_parent(); // who may have waited for room
    }
    template <class There>
    void sleep_until(There there, std::uint32_t bell = bell_asleep) noexcept {
        if (patience_.look(false, there)) return;
        const std::int64_t began = base::monotonic_ns();
        sleep_on_bell(page_.worker_bell, bell, there);
        patience_.learn(base::monotonic_ns() - began);
    }
    bool next(RingReader::Record& record) {
        for (;;) {
            switch (jobs_.next(record)) {
            case RingReader::Got::record:
                return true;
            case RingReader::Got::broken:
                return false;
            case RingReader::Got::nothing:
                release();
                sleep_until([this] { return jobs_.has_more(); });
            }
        }
    }

    std::vector<os::Fd> take_fds(const RecordHeader& header) {
        std::vector<os::Fd> fds;
        if (header.fds > 0) {
            std::byte mark[8];
            const iovec room{mark, sizeof mark};
            os::receive_packet(socket_, {&room, 1}, fds);
        }
        return fds;
    }

    void job(RingReader::Record& record) {
        const RecordHeader header = record.header;
        std::span<const std::byte> payload = record.payload;
        if (header.flags & record_more) {
            if (!collect(record)) return;
            payload = parts_;
        }
        FAULT_POINT("pool.worker.job_taken");
        if (!begin_job(page_.claim, begun_)) {
            take_fds(header);
            pass_over();
            return;
        }
        ++begun_;
        FAULT_POINT("pool.worker.noted_started");
        result_is_raw = false;
        out_.clear();
        try {
            CargoReader in(payload, take_fds(header));
            if (header.entry >= entries_.size())
                throw CargoError("a worker of a pool was sent a function it has not heard of");
            FAULT_POINT("pool.worker.before_run");
            call_ = {entries_[header.entry], &in, &out_};
            os::call_noting_throw(
                [](void* call) {
                    auto* const c = static_cast<Call*>(call);
                    c->entry(*c->in, *c->out);
                },
                &call_, stack_);
            FAULT_POINT("pool.worker.after_run");
        } catch (...) {
            send_error(ToParent::error, header.id);
            return;
        }
        send(ToParent::result, result_is_raw ? record_raw : 0, header.id);
    }
    // The rest of a job that came in pieces.
    bool collect(RingReader::Record& record) {
        parts_.assign(record.payload.begin(), record.payload.end());
        while (record.header.flags & record_more) {
            release();
            if (!next(record)) return false;
            parts_.insert(parts_.end(), record.payload.begin(), record.payload.end());
        }
        release();
        return true;
    }
    // The jobs that lie here have been taken away.
    void pass_over() {
        RingReader::Record record;
        std::uint64_t passed = 1;
        while (jobs_.next(record) == RingReader::Got::record) {
            if (static_cast<ToWorker>(record.header.kind) == ToWorker::entry) {
                CargoReader in(record.payload);
                entries_.push_back(unpack_entry(in));
            } else if (!(record.header.flags & record_more)) {
                ++passed;
            }
            take_fds(record.header);
        }
        release();
        begun_ += passed;
        page_.claim.store(begun_, memory_order_release); // meets the parent's load: it may hand out jobs again
        ring_parent();
    }

    void send_error(ToParent kind, std::uint32_t id) {
        out_.clear();
        std::string stack;
        try {
            stack = stack_.describe();
        } catch (...) {
            // without it, then
        }
        pack_exception(out_, std::current_exception(), stack);
        send(kind, 0, id);
    }
    void send(ToParent kind, std::uint8_t flags, std::uint32_t id) {
        const std::span<const std::byte> bytes = out_.bytes();
        const std::span<const int> fds = out_.fds();
        FAULT_POINT("pool.worker.encoded");
        if (!fds.empty()) {
            std::byte mark[8] = {};
            const iovec piece{mark, sizeof mark};
            os::send_packet(socket_, {&piece, 1}, fds);
        }
        std::size_t sent = 0;
        do {
            const std::size_t n = std::min(bytes.size() - sent, results_.most_payload());
            std::byte* room = results_.reserve(n);
            if (!room) {
                ring_parent();
                sleep_until([&] { return (room = results_.reserve(n)) != nullptr || results_.broken(); },
                            bell_for_room);
                if (!room) return;
            }
            if (n > 0) std::memcpy(room, bytes.data() + sent, n);
            const bool more = sent + n < bytes.size();
            results_.commit({.bytes = static_cast<std::uint32_t>(n),
                             .kind = static_cast<std::uint8_t>(kind),
                             .flags = static_cast<std::uint8_t>(flags | (more ? record_more : 0)),
                             .fds = static_cast<std::uint16_t>(sent == 0 ? fds.size() : 0),
                             .id = id});
            sent += n;
            if (!more) FAULT_POINT("pool.worker.before_publish");
            results_.publish();
            if (more) ring_parent();
        } while (sent < bytes.size());
        FAULT_POINT("pool.worker.after_publish");
        ring_parent();
    }

    struct Call {
        Entry entry;
        CargoReader* in;
        CargoWriter* out;
    };
    WorkerPage& page_;
    RingReader jobs_;
    RingWriter results_;
    int bell_, socket_;
    std::uint64_t begun_ = 0;
    std::size_t unreleased_ = 0;
    std::vector<Entry> entries_;
    std::vector<std::byte> parts_;
    CargoWriter out_;
    Call call_{};
    os::ThrowStack stack_;
    os::Patience patience_{os::Patience::Pace::eager};
};

} // namespace

void mark_result_raw() noexcept { result_is_raw = true; }

void run_worker(CargoReader& in, CargoWriter&) {
    const auto settings = in.read_raw<WorkerSettings>();
    const os::Fd memory = in.take_fd(), bell = in.take_fd(), socket = in.take_fd();
    Entry initializer = nullptr;
    std::vector<os::Fd> fds; // numbered in the initializer's arguments by their own count
    if (settings.has_initializer) {
        initializer = unpack_entry(in);
        for (std::uint64_t i = 0; i < settings.initializer_fds; ++i) fds.push_back(in.take_fd());
    }
    const std::size_t left = in.remaining();
    CargoReader arguments({in.take(left), left}, std::move(fds));
    int error = 0;
    const std::size_t bytes = WorkerMemory::total(settings.ring_bytes);
    void* const base = os::map_shared(memory.get(), bytes, error);
    if (!base) throw OSError(error, "a worker of a pool cannot map the memory it shares with its parent");
    WorkerMemory shared = WorkerMemory::at(base, settings.ring_bytes);

    // Ctrl-C is for the program in front: the parent ends its workers.
    const os::IgnoredSignal no_interrupt(SIGINT);
    note_crashes(shared.page->crash);
    if (settings.memory_limit > 0) os::limit_memory(settings.memory_limit);

    WorkerLoop loop(shared, bell.get(), socket.get());
    if (loop.begin(initializer, arguments)) loop.run();
}

} // namespace sennit::multiprocessing::detail

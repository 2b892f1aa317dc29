// A queue of messages in a file without a name, which nobody can leave torn.
//
// The file: the control block, then chunks. The messages are one stream of bytes; its positions only grow. The stream's chunk number n
// lies in the file's chunk table(n). A message is a header and its bytes, in one chunk if it fits into one at all.
//
//   put: under the writers' lock               get: under the readers' lock
//   p1  room for it behind the tail            g1  is there an item between head and tail?
//   p2  the bytes                              g2  copy its bytes
//   p3  publish the tail                       g3  publish the head
//   p4  unlock; wake a reader if one sleeps    g4  unlock; wake a writer if one sleeps
//
// Deaths. Nothing that lies behind the tail is ever read, and nothing between head and tail is changed but for g3 and p3. Each of those is
// one store: the new state is written beside the old one, and then the end's word says which of the two holds. So who dies at
// any instruction has put a whole item or none, and has taken it or not; the lock is robust, and whoever gets it after a death goes
// on with what is there: there is nothing to repair. Who dies between p3 and p4 leaves sleepers, which look by themselves each 100 ms.
//
// Descriptors can't lie in a file. Those of a message go by the box, a socket that sends to itself, as one datagram with a number that the
// message's header has: sent under the writers' lock before p3, looked at under the readers' lock before g3 (the look makes copies)
// and dropped after it. So who dies leaves at most a datagram whose message was not put, or has been taken: its number is less than
// the next one that is looked for, and it is dropped then. Numbers are never used twice.
//
// Chunks are used again when head has left them: the last `chunks` entries of the table are all chunks that the file has, each once, in
// the order of their use. So chunk n of the stream is that of n - chunks if head has left that, else a new one. `chunks` is
// published with the tail: entries behind it are as if they were not there. A burst's memory is given back chunk by chunk.
// A queue that is empty now and then leaves a chunk after its first pages: see turns().
#include <sennit/multiprocessing/queue_core.hpp>

#include "os/patience.hpp"

#include <sennit/base/fault_point.hpp>
#include <sennit/os/fd_passing.hpp>
#include <sennit/os/file_part.hpp>
#include <sennit/os/robust_word.hpp>
#include <sennit/os/shared_memory.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <new>
#include <string>

namespace sennit::multiprocessing {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t chunk_bytes = (std::size_t{2} << 20) + 16 * page; // two messages of 1 MiB
constexpr std::uint64_t most_chunks = 16'384;                           // 32 GiB
constexpr std::uint64_t turns_from = 8 * page;                          // see turns()
constexpr std::uint64_t most_ahead = 16 * page;                         // of memory that is made before it is needed
constexpr std::uint64_t kept_chunks = 8; // as long as there are no more, they keep their memory
constexpr std::uint64_t alignment = 16;
constexpr std::uint64_t skip = ~std::uint64_t{0}; // instead of a size: the rest of the chunk is empty

struct Header {
    std::uint64_t size;
    std::uint64_t parcel; // the number of the datagram with its descriptors; 0: none
};
static_assert(sizeof(Header) == alignment && chunk_bytes % page == 0);

constexpr std::uint64_t room_for(std::uint64_t bytes) {
    return sizeof(Header) + (bytes + alignment - 1) / alignment * alignment;
}
constexpr std::uint64_t number_of(std::uint64_t position) { return position / chunk_bytes; }
constexpr std::uint64_t begin_of(std::uint64_t number) { return number * chunk_bytes; }

} // namespace

// One of an end's two states.
struct QueueCore::State {
    // release and acquire: who reads a state that is being written anew sees by the word that it is not the one that holds.
    atomic<std::uint64_t> position{0}, count{0};
    // Of the tail: how many chunks the file has. Of the head: the first chunk of the stream that may not be used again.
    atomic<std::uint64_t> chunks{0};
};

struct QueueCore::Source {
    const CargoWriter* cargo;
    std::span<const std::byte> bytes;
    [[nodiscard]] std::size_t size() const noexcept { return cargo ? cargo->size() : bytes.size(); }
    [[nodiscard]] std::span<const int> fds() const noexcept { return cargo ? cargo->fds() : std::span<const int>(); }
    template <class F>
    void for_each_piece(F&& take) const {
        if (cargo)
            cargo->for_each_piece(take);
        else
            take(bytes);
    }
};
struct QueueCore::Values {
    std::uint64_t position, count, chunks;
};
struct QueueCore::GetOp::Taken {
    Values head, tail;
};

struct alignas(64) QueueCore::End {
    // The word: which state holds, counted up by 2 with each publication (bit 1 says which), and bit 0: somebody may sleep on it. It
    // may be set without one.
    static constexpr std::uint32_t waiters = 1, step = 2;
    os::RobustWord lock;
    alignas(64) os::FutexWord word{0};
    // Where who published last ran (os::Patience::core_here()). relaxed: a hint, for who looks.
    atomic<std::uint32_t> core{0};
    State states[2];

    [[nodiscard]] Values read(std::uint32_t& seen) const noexcept {
        for (;;) {
            seen = word.load(memory_order_acquire); // meets publish()
            const State& s = states[(seen / step) & 1];
            const Values values = {s.position.load(memory_order_acquire), s.count.load(memory_order_acquire),
                                   s.chunks.load(memory_order_acquire)};
            const std::uint32_t now = word.load(memory_order_relaxed); // ordered by the loads above
            if ((now | waiters) == (seen | waiters)) return values;
        }
    }
    [[nodiscard]] Values read() const noexcept {
        std::uint32_t seen = 0;
        return read(seen);
    }
    // By the holder of the lock. Whether somebody may sleep.
    bool publish(const Values& values) noexcept {
        const std::uint32_t next = (word.load(memory_order_relaxed) & ~waiters) + step;
        State& s = states[(next / step) & 1];
        s.position.store(values.position, memory_order_release);
        s.count.store(values.count, memory_order_release);
        s.chunks.store(values.chunks, memory_order_release);
        // release: meets read(), for the states and the bytes of the message.
        return (word.exchange(next, memory_order_acq_rel) & waiters) != 0;
    }
    // Marks the word, if it still is `seen`: so that the caller may sleep on it.
    bool mark(std::uint32_t& seen) noexcept {
        if ((seen & waiters) == 0 &&
            !word.compare_exchange_strong(seen, seen | waiters, memory_order_relaxed, memory_order_relaxed))
            return false; // relaxed: nothing is published by it; the futex call compares the word
        seen |= waiters;
        return true;
    }
    // By one that has slept: who else sleeps is to be seen by the next publication; and now, if there is more.
    void pass_on(bool more) noexcept {
        word.fetch_or(waiters, memory_order_relaxed);
        if (more) os::futex_wake_shared(word, 1);
    }
};

struct QueueCore::Shared {
    static constexpr std::uint64_t magic_number = 0x736e5175657565;
    const std::uint64_t magic = magic_number;
    std::uint64_t maxsize = 0;
    End tail, head;
    alignas(64) atomic<std::uint64_t> finished{0}; // of task_done()
    os::FutexWord all_finished{0};                 // counted up each time nothing is left to be done
    atomic<std::uint64_t> parcels{0};              // numbers given to datagrams; under the writers' lock

    // The chunk of the stream's chunk n; relaxed: published with the tail. They lie behind this object and nobody makes them, for a new
    // file reads as zeroes, and to write these would make 64 KiB of memory: an entry that was never stored is never needed (head and
    // tail tell which are), and a look at one finds a valid number.
    [[nodiscard]] atomic<std::uint32_t>& table(std::uint64_t n) noexcept {
        return reinterpret_cast<atomic<std::uint32_t>*>(this + 1)[n % most_chunks];
    }
};

namespace {
// Not of the class: Shared is incomplete in the header.
template <class Shared>
constexpr std::uint64_t control_bytes() {
    static_assert(sizeof(Shared) % alignof(atomic<std::uint32_t>) == 0);
    return (sizeof(Shared) + most_chunks * sizeof(atomic<std::uint32_t>) + page - 1) / page * page;
}
} // namespace

struct QueueCore::Far {
    atomic<std::byte*> chunks[per_far] = {};
    static_assert(kept_chunks == near_chunks && most_chunks == most_far * per_far);
};

QueueCore::QueueCore(std::int64_t maxsize, bool takes_fds) {
    if (takes_fds) box_ = os::make_shared_box();
    int error = 0;
    file_ = os::make_memfd("sennit-queue", control_bytes<Shared>(), error);
    if (!file_) throw OSError(error, "Queue: cannot make shared memory");
    map_control();
    ::new (static_cast<void*>(shared_)) Shared;
    shared_->maxsize = maxsize > 0 ? static_cast<std::uint64_t>(maxsize) : 0;
}

QueueCore::QueueCore(os::Fd file, os::Fd box) : file_(std::move(file)), box_(std::move(box)) {
    const std::int64_t bytes = os::file_bytes(file_.get());
    if (bytes < static_cast<std::int64_t>(control_bytes<Shared>()))
        throw CargoError("Queue: what came is no queue's memory; do both sides name the same type?");
    map_control();
    if (shared_->magic != Shared::magic_number) {
        os::unmap(shared_, control_bytes<Shared>());
        throw CargoError("Queue: what came is no queue's memory; do both sides name the same type?");
    }
}

void QueueCore::map_control() {
    int error = 0;
    shared_ = static_cast<Shared*>(os::map_part(file_.get(), 0, control_bytes<Shared>(), error));
    if (!shared_) throw OSError(error, "Queue: cannot map shared memory");
}

QueueCore::~QueueCore() {
    const auto unmap = [](const atomic<std::byte*>& chunk) noexcept {
        if (std::byte* const mapped = chunk.load(memory_order_relaxed)) os::unmap(mapped, chunk_bytes);
    };
    for (const auto& chunk : near_) unmap(chunk);
    for (const auto& place : far_) {
        const std::unique_ptr<Far> far(place.load(memory_order_relaxed));
        if (!far) continue;
        for (const auto& chunk : far->chunks) unmap(chunk);
    }
    os::unmap(shared_, control_bytes<Shared>());
}

// Where a chunk of the file is mapped. Throws bad_alloc.
atomic<std::byte*>& QueueCore::place(std::uint64_t number) {
    if (number < near_chunks) return near_[number];
    atomic<Far*>& there = far_[number / per_far];
    Far* far = there.load(memory_order_acquire); // meets the exchange below
    if (!far) {
        auto made = std::make_unique<Far>();
        // release: the places are empty for who finds them here.
        if (there.compare_exchange_strong(far, made.get(), memory_order_acq_rel, memory_order_acquire))
            far = made.release();
    }
    return far->chunks[number % per_far];
}

// Of the file. Throws OSError, bad_alloc.
std::byte* QueueCore::chunk(std::uint64_t number) {
    if (number >= most_chunks) throw InvalidStateError("Queue: its memory was written over by a process that has it");
    atomic<std::byte*>& there = place(number);
    std::byte* mapped = there.load(memory_order_acquire); // meets the exchange below
    if (mapped) return mapped;
    int error = 0;
    mapped = static_cast<std::byte*>(
        os::map_part(file_.get(), control_bytes<Shared>() + number * chunk_bytes, chunk_bytes, error));
    if (!mapped) throw OSError(error, "Queue: cannot map shared memory");
    std::byte* other = nullptr;
    if (there.compare_exchange_strong(other, mapped, memory_order_acq_rel, memory_order_acquire)) return mapped;
    os::unmap(mapped, chunk_bytes);
    return other;
}

// Whether a message of so many bytes goes to the beginning of the next chunk, though it may fit behind the tail: where the queue is
// empty time and again, two pieces of memory serve by turns, which stay in the caches. Asked once a page, as the head is the readers'.
bool QueueCore::turns(const Values& tail, std::uint64_t need) const noexcept {
    const std::uint64_t from = tail.position % chunk_bytes;
    return from >= turns_from && from / page != (from + need) / page && shared_->head.read().count == tail.count;
}

// Of the stream; nullptr if it is not mapped here.
std::byte* QueueCore::at_or_null(std::uint64_t position) noexcept {
    const std::uint64_t n = number_of(position);
    const std::uint32_t number = shared_->table(n).load(memory_order_relaxed);
    std::byte* chunk = nullptr;
    if (number < near_chunks) [[likely]] {
        chunk = near_[number].load(memory_order_acquire); // meets the exchange in chunk()
    } else {
        if (number >= most_chunks) return nullptr;                                // at() says it
        const Far* const far = far_[number / per_far].load(memory_order_acquire); // meets the exchange in place()
        if (!far) return nullptr;
        chunk = far->chunks[number % per_far].load(memory_order_acquire); // meets the exchange in chunk()
    }
    return chunk ? chunk + (position - begin_of(n)) : nullptr;
}

// Under the writers' lock: before these bytes are written, in a chunk that is mapped. A page that is made when it is written costs as
// much as many messages; so several are made at once, the more the more of the chunk was used.
void QueueCore::prepare(std::uint64_t position, std::uint64_t bytes) noexcept {
    const std::uint32_t number = shared_->table(number_of(position)).load(memory_order_relaxed);
    if (number >= kept_chunks) return; // one that has given its memory back, or will
    const std::uint64_t from = position % chunk_bytes, end = std::min<std::uint64_t>(from + bytes, chunk_bytes);
    std::uint64_t& prepared = prepared_[number];
    if (end <= prepared) return;
    prepared = std::max(prepared, from / page * page);
    const std::uint64_t ahead = std::clamp<std::uint64_t>(from / page * page, page, most_ahead);
    const std::uint64_t to = std::min<std::uint64_t>((end - 1) / page * page + ahead, chunk_bytes);
    os::prepare_part(near_[number].load(memory_order_relaxed) + prepared, static_cast<std::size_t>(to - prepared));
    prepared = to;
}

// Of the stream.
std::byte* QueueCore::at(std::uint64_t position) {
    const std::uint32_t number = shared_->table(number_of(position)).load(memory_order_relaxed);
    return chunk(number) + position % chunk_bytes;
}

std::uint64_t QueueCore::size() const noexcept {
    const std::uint64_t head = shared_->head.read().count; // first: so it is not ahead of the tail
    return shared_->tail.read().count - head;
}
std::uint64_t QueueCore::maxsize() const noexcept { return shared_->maxsize; }

std::uint64_t QueueCore::unfinished() const noexcept {
    const std::uint64_t done = shared_->finished.load(memory_order_acquire);
    return shared_->tail.read().count - done;
}

bool QueueCore::task_done() {
    std::uint64_t done = shared_->finished.load(memory_order_relaxed);
    do {
        if (done >= shared_->tail.read().count) return false;
        // release: meets the acquire of join(), for what was done.
    } while (!shared_->finished.compare_exchange_weak(done, done + 1, memory_order_acq_rel, memory_order_relaxed));
    if (done + 1 == shared_->tail.read().count) {
        shared_->all_finished.fetch_add(1, memory_order_release); // meets step() of JoinOp
        os::futex_wake_shared(shared_->all_finished, INT_MAX);
    }
    return true;
}

// p1 to p3, under the lock. Throws OSError, and nothing has changed then.
void QueueCore::put(const Source& source, bool& wake) {
    Shared& s = *shared_;
    const Values tail = s.tail.read();
    const std::uint64_t need = room_for(source.size());
    std::uint64_t position = tail.position, chunks = tail.chunks;
    const std::uint64_t rest = (chunk_bytes - position % chunk_bytes) % chunk_bytes;
    const bool skips = rest > 0 && (need > rest || turns(tail, need));
    if (skips) position += rest;
    const std::uint64_t first_new = (tail.position + chunk_bytes - 1) / chunk_bytes; // behind the tail's own
    for (std::uint64_t n = first_new; n <= number_of(position + need - 1); ++n) {
        // Only now: the readers' line is elsewhere. What it says may grow meanwhile.
        const std::uint64_t free_before = s.head.read().chunks;
        std::uint32_t number = 0;
        if (chunks > 0 && n >= chunks && n - chunks < free_before) {
            number = s.table(n - chunks).load(memory_order_relaxed);
        } else {
            if (chunks == most_chunks)
                throw OSError(ENOMEM, "Queue.put: it holds " + std::to_string(most_chunks * chunk_bytes >> 30) +
                                          " GiB of items that nobody has taken; give it a maxsize");
            const int error = os::grow_file(file_.get(), control_bytes<Shared>() + (chunks + 1) * chunk_bytes);
            if (error < 0) throw OSError(-error, "Queue.put: there is no more shared memory");
            number = static_cast<std::uint32_t>(chunks++);
        }
        s.table(n).store(number, memory_order_relaxed);
        chunk(number); // what can fail fails here
    }
    FAULT_POINT("queue.put.room");
    const std::uint64_t parcel = source.fds().empty() ? 0 : send_fds(source.fds()); // the last that can fail
    const Header header{source.size(), parcel};
    static_cast<void>(at(position)); // maps it
    prepare(position, need);
    if (skips) {
        const Header empty{skip, 0};
        std::memcpy(at(tail.position), &empty, sizeof empty);
    }
    std::memcpy(at(position), &header, sizeof header);
    std::uint64_t to = position + sizeof header;
    source.for_each_piece([&](std::span<const std::byte> piece) {
        while (!piece.empty()) {
            const std::size_t n = std::min<std::size_t>(piece.size(), chunk_bytes - to % chunk_bytes);
            std::memcpy(at(to), piece.data(), n);
            to += n;
            piece = piece.subspan(n);
        }
    });
    FAULT_POINT("queue.put.copied");
    s.tail.core.store(os::Patience::core_here(), memory_order_relaxed);
    wake = s.tail.publish({position + need, tail.count + 1, chunks});
    FAULT_POINT("queue.put.published");
}

// p1 to p3, under the lock, of what fits behind the tail in a chunk that is mapped. False: it does not.
bool QueueCore::put_here(const Values& tail, std::span<const std::byte> bytes, bool& wake) noexcept {
    Shared& s = *shared_;
    const std::uint64_t need = room_for(bytes.size()), from = tail.position % chunk_bytes;
    if (from == 0 || need > chunk_bytes - from || turns(tail, need)) return false;
    std::byte* const to = at_or_null(tail.position);
    if (to == nullptr) return false;
    FAULT_POINT("queue.put.room");
    prepare(tail.position, need);
    const Header header{bytes.size(), 0};
    std::memcpy(to, &header, sizeof header);
    std::memcpy(to + sizeof header, bytes.data(), bytes.size());
    FAULT_POINT("queue.put.copied");
    s.tail.core.store(os::Patience::core_here(), memory_order_relaxed);
    wake = s.tail.publish({tail.position + need, tail.count + 1, tail.chunks});
    FAULT_POINT("queue.put.published");
    FAULT_POINT("queue.put.before_unlock");
    return true;
}

bool QueueCore::put_quickly(std::span<const std::byte> bytes) noexcept {
    Shared& s = *shared_;
    os::RobustThread& thread = os::robust_thread();
    if (s.tail.lock.try_lock(thread) != os::RobustWord::Take::taken) return false;
    if (s.tail.lock.owner_died()) s.tail.lock.make_consistent(); // there is nothing to repair
    const Values tail = s.tail.read();
    const bool full = s.maxsize > 0 && tail.count - s.head.read().count >= s.maxsize;
    bool wake = false;
    const bool done = !full && put_here(tail, bytes, wake);
    s.tail.lock.unlock(thread);
    if (wake) os::futex_wake_shared(s.tail.word, 1);
    return done;
}

// Under the writers' lock. Throws OSError.
std::uint64_t QueueCore::send_fds(std::span<const int> fds) {
    const std::uint64_t number = shared_->parcels.load(memory_order_relaxed) + 1;
    shared_->parcels.store(number, memory_order_relaxed); // published with the lock
    const iovec piece{const_cast<std::uint64_t*>(&number), sizeof number};
    const auto sent = static_cast<int>(os::send_with_fds(box_.get(), {&piece, 1}, fds));
    if (sent == -EAGAIN || sent == -ETOOMANYREFS)
        throw OSError(-sent, "Queue.put: more descriptors lie in the queue than the system lets wait there; let items "
                             "be taken, or give the queue a maxsize of at most 100");
    if (sent < 0) throw OSError(-sent, "sendmsg: cannot put descriptors into the queue");
    return number;
}

// Under the readers' lock. False: they are not there. Throws OSError, and they stay.
bool QueueCore::look_at_fds(std::uint64_t parcel, std::vector<os::Fd>& fds) {
    for (;;) {
        fds.clear();
        std::uint64_t number = 0;
        const auto got = static_cast<int>(os::look_with_fds(box_.get(), &number, sizeof number, fds));
        if (got == sizeof number && number == parcel) return true;
        if (got == -EMFILE)
            throw OSError(EMFILE, "Queue.get: this process may open no more descriptors, and the item has some; it "
                                  "stays in the queue");
        if (got < 0 || number > parcel) break;
        os::drop_datagram(box_.get()); // of one who died
    }
    fds.clear();
    return false;
}

// True: it is over. False: to sleep on `seen_` of the lock, or of the head's word (slept_for_room_).
bool QueueCore::PutOp::attempt() noexcept {
    Shared& s = *core_.shared_;
    os::RobustThread& thread = os::robust_thread();
    for (;;) {
        if (s.tail.lock.try_lock_or_mark(thread, slept() && !slept_for_room_, is_thread(), seen_) !=
            os::RobustWord::Take::taken) {
            slept_for_room_ = false;
            return false;
        }
        if (s.tail.lock.owner_died()) s.tail.lock.make_consistent(); // there is nothing to repair
        if (s.maxsize > 0) {
            const std::uint64_t puts = s.tail.read().count;
            const Values head = s.head.read(seen_);
            if (puts - head.count >= s.maxsize) {
                const bool marked = s.head.mark(seen_);
                s.tail.lock.unlock(thread);
                if (!marked) continue;
                slept_for_room_ = true;
                return false;
            }
        }
        bool wake = false;
        try {
            core_.put({cargo_, bytes_}, wake);
            done_ = true;
        } catch (...) {
            error_ = std::current_exception();
        }
        FAULT_POINT("queue.put.before_unlock");
        s.tail.lock.unlock(thread);
        if (wake) os::futex_wake_shared(s.tail.word, 1);
        return true;
    }
}

bool QueueCore::PutOp::try_now(Deadline deadline) {
    Shared& s = *core_.shared_;
    os::RobustThread& thread = os::robust_thread();
    // As attempt(), but marks nothing and sleeps nowhere.
    for (int tries = deadline.is_poll() ? 1'000 : 1;;) {
        if (s.tail.lock.try_lock(thread) == os::RobustWord::Take::taken) break;
        if (--tries == 0) return deadline.is_poll();
        os::yield_core(); // the holder copies a message
    }
    if (s.tail.lock.owner_died()) s.tail.lock.make_consistent();
    const bool full = s.maxsize > 0 && s.tail.read().count - s.head.read().count >= s.maxsize;
    bool wake = false;
    if (!full) {
        try {
            core_.put({cargo_, bytes_}, wake);
            done_ = true;
        } catch (...) {
            error_ = std::current_exception();
        }
    }
    FAULT_POINT("queue.put.before_unlock");
    s.tail.lock.unlock(thread);
    if (wake) os::futex_wake_shared(s.tail.word, 1);
    return !full || deadline.is_poll();
}

bool QueueCore::PutOp::step() noexcept {
    woke_up();
    Shared& s = *core_.shared_;
    if (outcome() == wait::Outcome::timed_out || outcome() == wait::Outcome::cancelled) {
        os::RobustWord::leave_wait(os::robust_thread());
        // A wake-up that came as well goes to another.
        if (slept_for_room_) s.head.pass_on(s.tail.read().count - s.head.read().count < s.maxsize);
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    const bool had_slept_for_room = slept_for_room_;
    if (attempt()) {
        if (had_slept_for_room) s.head.pass_on(s.tail.read().count - s.head.read().count < s.maxsize);
        return true;
    }
    sleep_on(slept_for_room_ ? s.head.word : s.tail.lock.word(), seen_);
    return false;
}

bool QueueCore::PutOp::finish(wait::Agent& me) {
    if (cancelled_) me.throw_cancelled();
    if (error_) std::rethrow_exception(error_);
    return done_;
}

namespace {

[[noreturn]] void refuse_memory() {
    throw InvalidStateError("Queue: its memory was written over by a process that has it; make another queue");
}

os::Patience& patience() noexcept {
    thread_local constinit os::Patience it{os::Patience::Pace::eager};
    return it;
}

// Whether who put the last item runs on another core than the caller: then to look may pay even if this process has one alone.
bool is_elsewhere(const atomic<std::uint32_t>& core) noexcept {
    const std::uint32_t there = core.load(memory_order_relaxed);
    return there != 0 && there != os::Patience::core_here();
}

} // namespace

// g2 and g3: under the lock, when there is an item. Whether a writer may sleep.
bool QueueCore::GetOp::take(const Taken& values) noexcept {
    Shared& s = *core_.shared_;
    const auto& [head, tail] = values;
    try {
        std::uint64_t position = head.position;
        Header header{};
        std::memcpy(&header, core_.at(position), sizeof header);
        if (header.size == skip) {
            position = begin_of(number_of(position) + 1);
            std::memcpy(&header, core_.at(position), sizeof header);
        }
        const std::uint64_t end = position + room_for(header.size);
        if (header.size > tail.position || end > tail.position) refuse_memory();
        const std::uint64_t from = position + sizeof header;
        const auto size = static_cast<std::size_t>(header.size);
        // (An empty one may end where the next chunk begins, which need not be there.)
        if (take_ && (size == 0 || number_of(from) == number_of(from + size - 1))) {
            take_(to_, {size == 0 ? nullptr : core_.at(from), size});
            taken_ = true;
        } else {
            body_.clear();
            std::byte* to = body_.extend(size);
            for (std::uint64_t at = from; at < from + size;) {
                const std::uint64_t n = std::min<std::uint64_t>(from + size - at, chunk_bytes - at % chunk_bytes);
                std::memcpy(to, core_.at(at), static_cast<std::size_t>(n));
                at += n;
                to += n;
            }
        }
        if (header.parcel != 0 && !core_.look_at_fds(header.parcel, fds_))
            error_ = std::make_exception_ptr(
                CargoError("Queue.get: the descriptors of an item are lost: a process that has the queue took them "
                           "out of it by itself"));
        FAULT_POINT("queue.get.copied");
        std::uint64_t left = number_of(end);
        if (tail.chunks > kept_chunks) {
            // Those that were left before; none is used again before that is published.
            left = number_of(head.position);
            for (std::uint64_t n = head.chunks; n < left; ++n)
                os::give_back_part(core_.file_.get(),
                                   control_bytes<Shared>() + s.table(n).load(memory_order_relaxed) * chunk_bytes,
                                   chunk_bytes);
        }
        done_ = true;
        const bool wake = s.head.publish({end, head.count + 1, left});
        FAULT_POINT("queue.get.published");
        if (header.parcel != 0 && !error_) os::drop_datagram(core_.box_.get());
        return wake;
    } catch (...) {
        error_ = std::current_exception(); // the item stays
        return false;
    }
}

// The same for a message in one piece, without descriptors, in a chunk that is mapped. False: it is not that.
bool QueueCore::take_here(const Values& head, const Values& tail, Take take, void* to, bool& wake) {
    const std::byte* const from = at_or_null(head.position);
    if (from == nullptr || tail.chunks > kept_chunks) return false;
    Header header{};
    std::memcpy(&header, from, sizeof header);
    const std::uint64_t room = chunk_bytes - head.position % chunk_bytes - sizeof header;
    if (header.size > room || header.parcel != 0) return false; // also where the rest is empty
    const std::uint64_t end = head.position + room_for(header.size);
    if (end > tail.position) return false; // refused by who looks closer
    take(to, {from + sizeof header, static_cast<std::size_t>(header.size)});
    FAULT_POINT("queue.get.copied");
    wake = shared_->head.publish({end, head.count + 1, number_of(end)});
    FAULT_POINT("queue.get.published");
    return true;
}

bool QueueCore::get_quickly(Take take, void* to) {
    Shared& s = *shared_;
    const auto has_item = [&s]() noexcept { return s.tail.read().count != s.head.read().count; };
    if (!has_item() && !patience().look(false, has_item, is_elsewhere(s.tail.core))) return false;
    os::RobustThread& thread = os::robust_thread();
    if (s.head.lock.try_lock(thread) != os::RobustWord::Take::taken) return false;
    if (s.head.lock.owner_died()) s.head.lock.make_consistent();
    const Values head = s.head.read(), tail = s.tail.read();
    bool done = false, wake = false;
    try {
        done = tail.count != head.count && take_here(head, tail, take, to, wake);
    } catch (...) {
        s.head.lock.unlock(thread);
        throw;
    }
    s.head.lock.unlock(thread);
    if (wake) os::futex_wake_shared(s.head.word, 1);
    return done;
}

// g1 to g4. True: it is over. False: to sleep on `seen_` of the lock, or of the tail's word (slept_for_item_).
bool QueueCore::GetOp::attempt() noexcept {
    Shared& s = *core_.shared_;
    os::RobustThread& thread = os::robust_thread();
    for (;;) {
        if (s.head.lock.try_lock_or_mark(thread, slept() && !slept_for_item_, is_thread(), seen_) !=
            os::RobustWord::Take::taken) {
            slept_for_item_ = false;
            return false;
        }
        if (s.head.lock.owner_died()) s.head.lock.make_consistent(); // there is nothing to repair
        const Values head = s.head.read(), tail = s.tail.read(seen_);
        if (tail.count == head.count) {
            const bool marked = s.tail.mark(seen_);
            s.head.lock.unlock(thread);
            if (!marked) continue;
            slept_for_item_ = true;
            return false;
        }
        const bool wake = take({head, tail});
        s.head.lock.unlock(thread);
        if (wake) os::futex_wake_shared(s.head.word, 1);
        return true;
    }
}

bool QueueCore::GetOp::try_now(Deadline deadline) {
    Shared& s = *core_.shared_;
    const auto has_item = [&s]() noexcept { return s.tail.read().count != s.head.read().count; };
    os::RobustThread& thread = os::robust_thread();
    // While another one copies the only item there may be none: a poll looks for a while.
    for (int tries = deadline.is_poll() ? 1'000 : 1; tries > 0; --tries) {
        if (!has_item() && (!looks_ || has_looked_ || deadline.is_poll() ||
                            !patience().look(false, has_item, is_elsewhere(s.tail.core))))
            break;
        if (s.head.lock.try_lock(thread) != os::RobustWord::Take::taken) {
            os::yield_core();
            continue;
        }
        if (s.head.lock.owner_died()) s.head.lock.make_consistent();
        const Values head = s.head.read(), tail = s.tail.read();
        const bool there = tail.count != head.count;
        const bool wake = there && take({head, tail});
        s.head.lock.unlock(thread);
        if (wake) os::futex_wake_shared(s.head.word, 1);
        if (there) return true;
    }
    return deadline.is_poll();
}

bool QueueCore::GetOp::step() noexcept {
    woke_up();
    Shared& s = *core_.shared_;
    if (slept_at_ != 0) {
        if (looks_) patience().learn(base::monotonic_ns() - slept_at_);
        slept_at_ = 0;
    }
    if (outcome() == wait::Outcome::timed_out || outcome() == wait::Outcome::cancelled) {
        os::RobustWord::leave_wait(os::robust_thread());
        if (slept_for_item_) s.tail.pass_on(s.tail.read().count != s.head.read().count);
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    const bool had_slept_for_item = slept_for_item_;
    if (attempt()) {
        if (had_slept_for_item) s.tail.pass_on(s.tail.read().count != s.head.read().count);
        return true;
    }
    if (looks_) slept_at_ = base::monotonic_ns();
    sleep_on(slept_for_item_ ? s.tail.word : s.head.lock.word(), seen_);
    return false;
}

bool QueueCore::GetOp::finish_get(wait::Agent& me) {
    if (cancelled_) me.throw_cancelled();
    if (error_) std::rethrow_exception(error_);
    return done_;
}

bool QueueCore::JoinOp::try_now(Deadline deadline) {
    done_ = core_.unfinished() == 0;
    return done_ || deadline.is_poll();
}

bool QueueCore::JoinOp::step() noexcept {
    woke_up();
    if (outcome() == wait::Outcome::timed_out || outcome() == wait::Outcome::cancelled) {
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    const std::uint32_t seen = core_.shared_->all_finished.load(memory_order_acquire); // meets task_done()
    if (core_.unfinished() == 0) return done_ = true;
    sleep_on(core_.shared_->all_finished, seen);
    return false;
}

} // namespace sennit::multiprocessing

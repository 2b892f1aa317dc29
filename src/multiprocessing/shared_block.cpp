#include <sennit/multiprocessing/shared_block.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/thread.hpp>

#include <string>
#include <vector>

namespace sennit::multiprocessing {
namespace {

constexpr std::size_t segment_bytes = std::size_t{1} << 20, alignment = 64;

void check_place(std::uint64_t offset, std::uint64_t bytes, std::uint64_t all) {
    if (bytes == 0 || offset > all || bytes > all - offset || offset % alignment != 0)
        throw InvalidStateError("shared memory: " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                                " do not lie in a segment of " + std::to_string(all));
}

} // namespace

struct SharedBlock::Segment {
    Segment(os::Fd file, std::size_t bytes) : fd(std::move(file)), size(bytes) {
        int error = 0;
        address = os::map_shared(fd.get(), bytes, error);
        if (!address) throw OSError(error, "cannot map " + std::to_string(bytes) + " bytes of shared memory");
    }
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment() { os::unmap(address, size); }

    os::Fd fd;
    std::size_t size;
    os::FileId id; // of one that has been sent or has come
    void* address = nullptr;
    std::size_t used = 0; // under the heap's lock
};

struct SharedBlock::Heap {
    os::Mutex mutex;
    std::weak_ptr<Segment> current SENNIT_GUARDED_BY(mutex);
    // Those that have been sent or have come: what comes back is the memory that is mapped already.
    std::vector<std::weak_ptr<Segment>> travelled SENNIT_GUARDED_BY(mutex);

    std::shared_ptr<Segment> find(const os::FileId& id) SENNIT_REQUIRES(mutex) {
        std::erase_if(travelled, [](const auto& one) { return one.expired(); });
        for (const auto& one : travelled)
            if (auto segment = one.lock(); segment && segment->id == id) return segment;
        return nullptr;
    }

    // Never destroyed: static objects may be in it.
    static Heap& get() {
        static Heap* const it = [] {
            auto* const made = new Heap;
            os::at_fork([]() SENNIT_NO_TSA noexcept { get().mutex.lock(); },
                        []() SENNIT_NO_TSA noexcept { get().mutex.unlock(); },
                        []() SENNIT_NO_TSA noexcept {
                            get().current.reset(); // the rest of that segment is the parent's
                            get().mutex.unlock();
                        });
            return made;
        }();
        return *it;
    }
};

SharedBlock::SharedBlock(std::size_t bytes) : size_(bytes) {
    const std::size_t room = (bytes + alignment - 1) / alignment * alignment;
    Heap& heap = Heap::get();
    std::shared_ptr<Segment> segment;
    {
        os::MutexGuard guard(heap.mutex);
        segment = heap.current.lock();
        if (segment && segment->size - segment->used >= room) {
            segment_ = std::move(segment);
            offset_ = segment_->used;
            segment_->used += room;
            return;
        }
    }
    const std::size_t size = room > segment_bytes / 4 ? room : segment_bytes;
    int error = 0;
    os::Fd file = os::make_memfd("sennit", size, error);
    if (!file) throw OSError(error, "cannot make " + std::to_string(size) + " bytes of shared memory");
    segment_ = std::make_shared<Segment>(std::move(file), size);
    segment_->used = room;
    os::MutexGuard guard(heap.mutex);
    if (size == segment_bytes) heap.current = segment_;
}

void SharedBlock::pack(CargoWriter& to) const {
    if (!segment_) throw UsageError("shared memory: an empty SharedBlock can't be sent; make it with a size");
    {
        Heap& heap = Heap::get();
        os::MutexGuard guard(heap.mutex);
        if (segment_->id == os::FileId()) {
            segment_->id = os::file_id(segment_->fd.get());
            heap.travelled.push_back(segment_);
        }
    }
    to.attach(segment_->fd.get(), segment_);
    to.write_raw(offset_);
    to.write_raw(static_cast<std::uint64_t>(size_));
}

SharedBlock SharedBlock::unpack(CargoReader& from) {
    const int fd = from.borrow_fd();
    const auto offset = from.read_raw<std::uint64_t>();
    const auto bytes = static_cast<std::size_t>(from.read_raw<std::uint64_t>());
    const os::FileId id = os::file_id(fd);
    Heap& heap = Heap::get();
    {
        os::MutexGuard guard(heap.mutex);
        if (auto segment = heap.find(id)) {
            SharedBlock block;
            block.offset_ = offset;
            block.size_ = bytes;
            check_place(offset, bytes, segment->size);
            block.segment_ = std::move(segment);
            return block;
        }
    }
    SharedBlock block(os::duplicate(fd), offset, bytes);
    os::MutexGuard guard(heap.mutex);
    block.segment_->id = id;
    heap.travelled.push_back(block.segment_);
    return block;
}

SharedBlock::SharedBlock(os::Fd segment, std::uint64_t offset, std::size_t bytes) : offset_(offset), size_(bytes) {
    const std::int64_t size = os::file_bytes(segment.get());
    if (size < 0) throw OSError(static_cast<int>(-size), "cannot tell the size of a segment of shared memory");
    const auto all = static_cast<std::uint64_t>(size);
    check_place(offset, bytes, all);
    segment_ = std::make_shared<Segment>(std::move(segment), all);
}

void* SharedBlock::data() const noexcept {
    return segment_ ? static_cast<std::byte*>(segment_->address) + offset_ : nullptr;
}

int SharedBlock::fd() const noexcept { return segment_ ? segment_->fd.get() : -1; }

void SharedBlock::keep_for_ever() const {
    if (segment_) new std::shared_ptr<Segment>(segment_); // NOLINT: on purpose
}

} // namespace sennit::multiprocessing

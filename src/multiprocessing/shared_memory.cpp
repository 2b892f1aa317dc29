#include <sennit/multiprocessing/shared_memory.hpp>

#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/name_guard.hpp>
#include <sennit/os/thread.hpp>

#include <cerrno>
#include <utility>

namespace sennit::multiprocessing::shared_memory {
namespace {

struct Guards {
    os::Mutex mutex;
    std::weak_ptr<os::NameGuard> now SENNIT_GUARDED_BY(mutex); // this process's; ends with the last owner
    int process SENNIT_GUARDED_BY(mutex) = 0;
};

// Never destroyed: owners may be static objects.
Guards& guards() {
    static Guards* const it = [] {
        auto* const made = new Guards;
        os::at_fork([]() SENNIT_NO_TSA noexcept { guards().mutex.lock(); },
                    []() SENNIT_NO_TSA noexcept { guards().mutex.unlock(); },
                    []() SENNIT_NO_TSA noexcept { guards().mutex.unlock(); });
        return made;
    }();
    return *it;
}

std::string quoted(std::string_view name) { return '"' + std::string(name) + '"'; }

void check_name(std::string_view name) {
    if (name.find('\0') != name.npos)
        throw UsageError("SharedMemory: the name has a NUL in it, at " + std::to_string(name.find('\0')) +
                         "; use a name without");
    if (name.find('/') != name.npos || name == "." || name == "..")
        throw UsageError("SharedMemory: the name " + quoted(name) +
                         " has a slash in it; names lie flat in /dev/shm, use another sign");
    if (name.size() > os::NameGuard::longest_name)
        throw OSError(ENAMETOOLONG, "SharedMemory: the name has " + std::to_string(name.size()) +
                                        " bytes, and may have " + std::to_string(os::NameGuard::longest_name));
}

std::string new_name() {
    unsigned char bytes[4];
    os::random_bytes(bytes, sizeof bytes);
    std::string name = "psm_";
    for (const unsigned char b : bytes) {
        name += "0123456789abcdef"[b >> 4];
        name += "0123456789abcdef"[b & 15];
    }
    return name;
}

} // namespace

// Whoever has one owns the name.
class SharedMemory::Care {
  public:
    // Before the name exists: what can fail fails first.
    Care() : process_(os::process_id()) {
        Guards& all = guards();
        os::MutexGuard guard(all.mutex);
        if (all.process == process_) guard_ = all.now.lock();
        if (guard_) return;
        guard_ = std::make_shared<os::NameGuard>();
        all.now = guard_;
        all.process = process_;
    }
    Care(const Care&) = delete;
    Care& operator=(const Care&) = delete;
    ~Care() {
        Guards& all = guards();
        os::MutexGuard guard(all.mutex);
        forget_place();
        guard_.reset(); // under the lock, for the order of the last and the next first
    }
    // False in the child of a fork: the name is the parent's.
    [[nodiscard]] bool is_ours() const noexcept { return os::process_id() == process_; }
    void take(const std::string& name, const os::FileId& id) {
        os::MutexGuard guard(guards().mutex);
        place_ = guard_->add(name.c_str(), id);
        if (place_ == os::NameGuard::most)
            throw OSError(EMFILE, "SharedMemory: this process owns " + std::to_string(os::NameGuard::most) +
                                      " names already; close some, or use .track = false");
    }
    void forget() {
        os::MutexGuard guard(guards().mutex);
        forget_place();
    }

  private:
    void forget_place() noexcept {
        if (is_ours() && place_ != os::NameGuard::most) guard_->forget(place_);
        place_ = os::NameGuard::most;
    }
    int process_;
    std::shared_ptr<os::NameGuard> guard_;
    std::size_t place_ = os::NameGuard::most;
};

SharedMemory::SharedMemory(std::string_view name, SharedMemoryOptions options)
    : SharedMemory(name, options, nullptr, nullptr) {}

SharedMemory::SharedMemory(std::string_view name, SharedMemoryOptions options,
                           void (*fill)(std::span<std::byte>, const void*), const void* from) {
    if (name.starts_with('/')) name.remove_prefix(1);
    if (name.empty() && !options.create)
        throw UsageError("SharedMemory: a name is needed to attach; give one, or .create = true for a new block");
    check_name(name);
    int error = 0;
    os::Fd file;
    if (options.create) {
        if (options.size <= 0)
            throw UsageError("SharedMemory: .size is " + std::to_string(options.size) +
                             "; a new block has at least 1 byte");
        if (options.track) care_ = std::make_unique<Care>();
        file = os::make_nameless_segment(static_cast<std::uint64_t>(options.size), error);
        if (!file)
            throw OSError(error, "SharedMemory: cannot make a block of " + std::to_string(options.size) +
                                     " bytes in /dev/shm");
        size_ = static_cast<std::size_t>(options.size);
        id_ = os::file_id(file.get());
        map(file.get());
        if (fill) fill(buf(), from);
        try {
            do {
                name_ = name.empty() ? new_name() : std::string(name);
                if (care_) care_->take(name_, id_); // before it is there, lest its creator die in between
                error = -os::name_segment(file.get(), name_.c_str());
                if (error != 0 && care_) care_->forget();
            } while (error == EEXIST && name.empty());
            if (error == EEXIST)
                throw OSError(error, "SharedMemory: the name " + quoted(name) +
                                         " is taken; choose another, or attach to that block without .create");
            if (error != 0)
                throw OSError(error, "SharedMemory: cannot make the name " + quoted(name_) + " in /dev/shm");
        } catch (...) {
            close();
            throw;
        }
    } else {
        name_ = name;
        file = os::open_shared_memory(name_.c_str(), error);
        if (error != 0) throw OSError(error, "SharedMemory: cannot attach to " + quoted(name));
        const std::int64_t bytes = os::file_bytes(file.get());
        if (bytes < 0) throw OSError(static_cast<int>(-bytes), "SharedMemory: cannot tell the size of " + quoted(name));
        if (bytes == 0)
            throw InvalidStateError("SharedMemory: " + quoted(name) +
                                    " has no bytes; its creator has not sized it yet, or never will: try again later");
        size_ = static_cast<std::size_t>(bytes);
        id_ = os::file_id(file.get());
        map(file.get());
    }
}

void SharedMemory::map(int fd) {
    int error = 0;
    address_ = os::map_shared(fd, size_, error);
    if (!address_)
        throw OSError(error, "SharedMemory: cannot map " + std::to_string(size_) + " bytes of " + quoted(name_));
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : name_(std::move(other.name_)),
      size_(std::exchange(other.size_, 0)),
      address_(std::exchange(other.address_, nullptr)),
      id_(other.id_),
      care_(std::move(other.care_)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
    if (this != &other) {
        close();
        disown();
        name_ = std::move(other.name_);
        size_ = std::exchange(other.size_, 0);
        address_ = std::exchange(other.address_, nullptr);
        id_ = other.id_;
        care_ = std::move(other.care_);
    }
    return *this;
}

SharedMemory::~SharedMemory() {
    close();
    disown();
}

void SharedMemory::disown() noexcept {
    // The name may have gone by other hands: that is no fault of this one.
    if (care_ && care_->is_ours()) os::unlink_shared_memory(name_.c_str(), id_);
    care_.reset();
}

void SharedMemory::pack(CargoWriter& to) const { multiprocessing::pack(to, name_); }
SharedMemory SharedMemory::unpack(CargoReader& from) {
    return SharedMemory(multiprocessing::unpack<std::string>(from));
}

std::span<std::byte> SharedMemory::buf() const {
    if (!address_) throw UsageError("SharedMemory.buf: " + quoted(name_) + " was closed here; attach to it again");
    return {static_cast<std::byte*>(address_), size_};
}

void SharedMemory::close() noexcept {
    if (address_) os::unmap(std::exchange(address_, nullptr), size_);
}

void SharedMemory::unlink() {
    const int error = -os::unlink_shared_memory(name_.c_str(), id_);
    if (error == 0 || error == ENOENT) care_.reset();
    if (error != 0)
        throw OSError(error, "SharedMemory.unlink: " + quoted(name_) +
                                 (error == ENOENT ? " is gone already, or another block has that name by now" : ""));
}

} // namespace sennit::multiprocessing::shared_memory

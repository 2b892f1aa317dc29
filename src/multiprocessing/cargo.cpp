#include <sennit/multiprocessing/cargo.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>

namespace sennit::multiprocessing {

CargoWriter::CargoWriter(CargoWriter&& other) noexcept
    : depth(std::exchange(other.depth, 0)),
      buffer_(std::exchange(other.buffer_, nullptr)),
      used_(std::exchange(other.used_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      lent_(std::exchange(other.lent_, 0)),
      lends_(other.lends_),
      loans_(std::exchange(other.loans_, {})),
      fds_(std::exchange(other.fds_, {})),
      kept_(std::exchange(other.kept_, {})) {}

CargoWriter& CargoWriter::operator=(CargoWriter&& other) noexcept {
    if (this != &other) {
        this->~CargoWriter();
        ::new (this) CargoWriter(std::move(other));
    }
    return *this;
}

CargoWriter::~CargoWriter() {
    std::free(buffer_); // NOLINT(cppcoreguidelines-no-malloc)
}

void CargoWriter::grow(std::size_t more) {
    if (more > std::numeric_limits<std::size_t>::max() / 4 - used_) throw std::bad_alloc();
    const std::size_t capacity = std::max({std::size_t{256}, capacity_ * 2, used_ + more});
    // realloc: large buffers are moved by the kernel, not copied.
    void* const buffer = std::realloc(buffer_, capacity); // NOLINT(cppcoreguidelines-no-malloc)
    if (!buffer) throw std::bad_alloc();
    buffer_ = static_cast<std::byte*>(buffer);
    capacity_ = capacity;
}

void CargoWriter::lend(const void* data, std::size_t bytes) {
    loans_.push_back({used_, {static_cast<const std::byte*>(data), bytes}});
    lent_ += bytes;
}

std::span<const std::byte> CargoWriter::bytes() {
    if (lent_ > 0) {
        CargoWriter whole;
        std::byte* to = whole.extend(size());
        for_each_piece([&to](std::span<const std::byte> piece) {
            std::memcpy(to, piece.data(), piece.size());
            to += piece.size();
        });
        std::swap(buffer_, whole.buffer_);
        std::swap(used_, whole.used_);
        std::swap(capacity_, whole.capacity_);
        loans_.clear();
        lent_ = 0;
    }
    return {buffer_, used_};
}

void CargoWriter::clear() noexcept {
    used_ = lent_ = 0;
    depth = 0;
    loans_.clear();
    fds_.clear();
    kept_.clear();
}

void CargoWriter::check_fds() const {
    if (fds_.size() >= most_fds)
        throw UsageError("a message has " + std::to_string(most_fds) +
                         " descriptors already, and can't take more; send what has them in several messages");
}

void CargoWriter::attach(int fd) { attach(os::duplicate(fd)); }

void CargoWriter::attach(os::Fd fd) {
    check_fds();
    write_raw(static_cast<std::uint32_t>(fds_.size()));
    kept_.push_back(std::make_shared<const os::Fd>(std::move(fd)));
    fds_.push_back(static_cast<const os::Fd*>(kept_.back().get())->get());
}

void CargoWriter::attach(int fd, std::shared_ptr<const void> keep) {
    for (std::size_t i = 0; i < fds_.size(); ++i) {
        if (kept_[i] == keep && fds_[i] == fd) {
            write_raw(static_cast<std::uint32_t>(i));
            return;
        }
    }
    check_fds();
    write_raw(static_cast<std::uint32_t>(fds_.size()));
    kept_.push_back(std::move(keep));
    fds_.push_back(fd);
}

void CargoReader::refuse(std::size_t bytes) const {
    throw CargoError("a message ends too early: " + std::to_string(bytes) + " bytes were to come at " +
                     std::to_string(at_) + ", and there are " + std::to_string(remaining()) +
                     "; do both sides name the same type?");
}

std::size_t CargoReader::read_count(std::size_t bytes_each) {
    const auto n = read_raw<std::uint64_t>();
    if (n > remaining() / bytes_each)
        throw CargoError("a message is no good: it promises " + std::to_string(n) + " items of at least " +
                         std::to_string(bytes_each) + " bytes, and " + std::to_string(remaining()) +
                         " bytes are left; do both sides name the same type?");
    return static_cast<std::size_t>(n);
}

void CargoReader::check_end() const {
    if (remaining() > 0)
        throw CargoError("a message has " + std::to_string(remaining()) +
                         " bytes more than its object; do both sides name the same type?");
}

std::size_t CargoReader::fd_index() {
    const auto i = read_raw<std::uint32_t>();
    if (i >= fds_.size() || !fds_[i])
        throw CargoError("a message names descriptor " + std::to_string(i) + " of " + std::to_string(fds_.size()) +
                         ", which did not come with it or is taken already");
    return i;
}

os::Fd CargoReader::take_fd() { return std::move(fds_[fd_index()]); }
int CargoReader::borrow_fd() { return fds_[fd_index()].get(); }

namespace detail {

void refuse_depth(bool packing) {
    const std::string text = "objects lie in objects " + std::to_string(most_depth) +
                             " deep; a chain or tree as deep as that travels as a std::vector of its nodes";
    if (packing) throw UsageError(text);
    throw CargoError("a message is no good: " + text);
}

void refuse_value(const char* what, std::uint64_t value) {
    throw CargoError("a message is no good: " + std::to_string(value) + " can't be " + what +
                     "; do both sides name the same type?");
}

void pack_number(CargoWriter& to, std::uint64_t number) { to.write_raw(number); }
std::uint64_t unpack_number(CargoReader& from) { return from.read_raw<std::uint64_t>(); }

} // namespace detail
} // namespace sennit::multiprocessing

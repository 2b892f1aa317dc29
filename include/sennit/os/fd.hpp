#pragma once

#include <cstdint>
#include <utility>

namespace sennit::os {

/// Owns a file descriptor and closes it. Always close-on-exec: every function of os/ that makes one asks for that from birth.
///
/// Agents    One at a time. Blocks: close() of a regular file on a network file system may.
class Fd {
  public:
    Fd() noexcept = default;
    explicit Fd(int fd) noexcept : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    ~Fd() { reset(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
    int release() noexcept { return std::exchange(fd_, -1); }
    /// Closes what it owns and owns `fd` from now on.
    void reset(int fd = -1) noexcept;

  private:
    int fd_ = -1;
};

/// A number that changes when an Fd closes `fd`, and seldom besides: who keeps something about a descriptor by its number compares.
/// By the thread that uses `fd`, or one that was given it.
std::uint32_t closings_of(int fd) noexcept;

struct Pipe {
    Fd read_end;
    Fd write_end;
};

/// A pipe, both ends close-on-exec. Throws OSError.
Pipe make_pipe();
/// A copy of `fd`, close-on-exec, with a number of at least `at_least`. Throws OSError.
Fd duplicate(int fd, int at_least = 3);
/// Sets or clears O_NONBLOCK. Throws OSError.
void set_nonblocking(int fd, bool on);
/// An eventfd: 8-byte counter, close-on-exec, non-blocking. Throws OSError.
Fd make_eventfd();

} // namespace sennit::os

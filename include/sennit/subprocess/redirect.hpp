#pragma once

#include <sennit/subprocess/pipe_reader.hpp>
#include <sennit/subprocess/pipe_writer.hpp>

#include <cstdint>

namespace sennit::subprocess {

/// What a standard stream of a child is connected to: the parent's (default), PIPE, DEVNULL, STDOUT (stderr_ alone: the same
/// as stdout_), a descriptor, or a pipe of another child: `.stdin_ = first.std_out()`.
///
/// Descriptors stay the caller's; they are needed only until the child has started.
class Redirect {
  public:
    enum class Kind : std::uint8_t { inherit, pipe, std_out, devnull, descriptor };

    constexpr Redirect() noexcept = default;
    constexpr Redirect(int fd) noexcept : kind_(Kind::descriptor), fd_(fd) {} // NOLINT(google-explicit-constructor)
    Redirect(const os::Fd& fd) noexcept : Redirect(fd.get()) {}               // NOLINT(google-explicit-constructor)
    Redirect(const PipeReader& pipe) : Redirect(pipe.fileno()) {}             // NOLINT(google-explicit-constructor)
    Redirect(const PipeWriter& pipe) : Redirect(pipe.fileno()) {}             // NOLINT(google-explicit-constructor)
    /// PIPE, STDOUT and DEVNULL are made with this.
    static constexpr Redirect of(Kind kind) noexcept {
        Redirect r;
        r.kind_ = kind;
        return r;
    }

    [[nodiscard]] constexpr Kind kind() const noexcept { return kind_; }
    [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

  private:
    Kind kind_ = Kind::inherit;
    int fd_ = -1;
};

/// A new pipe, whose other end is Popen::std_in(), std_out() or std_err().
inline constexpr Redirect PIPE = Redirect::of(Redirect::Kind::pipe);
/// Standard error goes where standard output goes.
inline constexpr Redirect STDOUT = Redirect::of(Redirect::Kind::std_out);
/// /dev/null.
inline constexpr Redirect DEVNULL = Redirect::of(Redirect::Kind::devnull);

} // namespace sennit::subprocess

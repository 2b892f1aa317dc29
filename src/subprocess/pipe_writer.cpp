#include <sennit/subprocess/pipe_writer.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>

#include <cerrno>

namespace sennit::subprocess {

int PipeWriter::fileno() const {
    if (!fd_) throw UsageError("fileno() on a child's standard input that is closed");
    return fd_.get();
}

std::size_t PipeWriter::write(std::string_view data, Deadline deadline) {
    if (!fd_)
        throw UsageError("write() to a child's standard input that is closed; write before close() and communicate()");
    const os::SigpipeGuard guard;
    std::size_t done = 0;
    while (done < data.size()) {
        if (done > 0 && deadline.has_passed()) break; // a child that never stops reading is always ready
        const std::string_view rest = data.substr(done);
        ssize_t n = 0;
        if (deadline.is_forever()) {
            n = os::write_some(fd_.get(), rest.data(), rest.size());
        } else {
            pollfd ready{fd_.get(), POLLOUT, 0};
            n = os::poll_fds({&ready, 1}, deadline);
            if (n == 0) break;
            if (n > 0) n = os::write_nowait(fd_.get(), rest.data(), rest.size());
            if (n == -EAGAIN) continue;
        }
        if (n < 0) {
            throw OSError(static_cast<int>(-n), n == -EPIPE
                                                    ? "write: the child does not read its standard input any more"
                                                    : "write: cannot write to the child's standard input");
        }
        done += static_cast<std::size_t>(n);
    }
    return done;
}

} // namespace sennit::subprocess

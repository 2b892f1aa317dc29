#include <sennit/multiprocessing/errors.hpp>

#include <cstring>
#include <utility>

namespace sennit::multiprocessing {
namespace {

std::string text_of(const std::string& type, const std::string& message, int pid, const std::string& stack) {
    std::string text = type;
    if (!message.empty()) (text += ": ") += message;
    text += " (in process " + std::to_string(pid) + ")";
    if (!stack.empty()) (text += "\n") += stack;
    return text;
}

std::string text_of(const WorkerDeath& death) {
    std::string text = "the worker process " + std::to_string(death.pid);
    if (death.exitcode < 0) {
        const char* const name = ::sigabbrev_np(-death.exitcode);
        text += " was ended by signal " + std::to_string(-death.exitcode);
        if (name) ((text += " (SIG") += name) += ")";
        if (death.core_dumped) text += ", with a core dump,";
    } else {
        text += " ended with exit code " + std::to_string(death.exitcode);
    }
    if (death.task) {
        text += " while it ran job " + std::to_string(*death.task);
        if (death.attempt > 1) text += " (attempt " + std::to_string(death.attempt) + ")";
    }
    if (!death.reason.empty()) (text += ": ") += death.reason;
    if (!death.stack.empty()) (text += "\n") += death.stack;
    return text;
}

} // namespace

RemoteError::RemoteError(std::string type, std::string message, int pid, std::string stack)
    : Error(text_of(type, message, pid, stack)),
      details_(std::make_shared<const Details>(Details{std::move(type), std::move(message), std::move(stack), pid})) {}

std::optional<RemoteError> remote_cause(const std::exception& error) {
    if (const auto* remote = dynamic_cast<const RemoteError*>(&error)) return *remote;
    const auto* const nested = dynamic_cast<const std::nested_exception*>(&error);
    if (!nested || !nested->nested_ptr()) return std::nullopt;
    return remote_cause(nested->nested_ptr());
}

std::optional<RemoteError> remote_cause(const std::exception_ptr& error) {
    if (!error) return std::nullopt;
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return remote_cause(e);
    } catch (...) {
        return std::nullopt;
    }
}

WorkerDied::WorkerDied(WorkerDeath death)
    : Error(text_of(death)), death_(std::make_shared<const WorkerDeath>(std::move(death))) {}

BufferTooShort::BufferTooShort(std::size_t buffer_bytes, std::vector<std::byte> message)
    : Error("the message has " + std::to_string(message.size()) + " bytes, the buffer " + std::to_string(buffer_bytes) +
            "; message() of this exception has the whole of it"),
      buffer_bytes_(buffer_bytes),
      message_(std::make_shared<const std::vector<std::byte>>(std::move(message))) {}

} // namespace sennit::multiprocessing

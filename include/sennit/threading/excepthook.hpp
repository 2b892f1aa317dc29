#pragma once

#include <sennit/threading/thread_ref.hpp>

#include <exception>
#include <functional>
#include <string>

namespace sennit::threading {

/// An exception that left a thread's function.         Python: threading.ExceptHookArgs
struct ExceptHookArgs {
    std::exception_ptr exc_value;
    std::string exc_type;      // its type's name, readable
    std::string message;       // what(), and those of nested ones; the value of a thrown string or number
    std::string exc_traceback; // where it was thrown, a line a call, innermost first; empty when unknown
    ThreadRef thread;
};

/// Prints it all to stderr in one piece.              Python: threading.__excepthook__
void default_excepthook(const ExceptHookArgs& args);

/// Who is told when an exception leaves a thread's function. The thread then ends, and the process goes on.
///
///     threading::excepthook = [](const threading::ExceptHookArgs& a) { log(a.thread.name(), a.message); };
///     threading::excepthook = threading::default_excepthook;      // as it was
///
/// Agents    Setting and calling, at the same time from anywhere; a call that runs already is finished by the one it found.
/// Errors    If the hook throws, that exception and the first one are printed to stderr.
class ExceptHook {
  public:
    using Function = std::function<void(const ExceptHookArgs&)>;
    /// nullptr: the default one.
    const ExceptHook& operator=(Function hook) const; // NOLINT(misc-unconventional-assign-operator): a constant
    void operator()(const ExceptHookArgs& args) const;
    /// The hook that is set now, to put it back later.
    [[nodiscard]] Function get() const;
};
inline constexpr ExceptHook excepthook{};

} // namespace sennit::threading

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::multiprocessing {

/// How a process is started.
enum class StartMethod : std::uint8_t {
    /// The default. A process of one thread, started once by exec, copies itself for each child: quick whatever the size of this one,
    /// and safe when it has threads. The child has the program's static objects as they were before main().
    forkserver,
    /// The program is executed anew for each child, up to main(): takes a few milliseconds.
    spawn,
    /// A copy of this process as it is, with all its memory and descriptors. Not safe when there are other threads.
    fork,
};

/// "forkserver", "spawn", "fork".
std::string_view to_string(StartMethod method) noexcept;
/// The other way round. Throws UsageError for another name.
StartMethod start_method_of(std::string_view name);

/// What Process and Pool use that are not told. Once: throws UsageError the second time, and after a process was started, unless
/// `force`.            Python: multiprocessing.set_start_method
void set_start_method(std::string_view name, bool force = false);
/// "forkserver" where nobody has set it. Fixes it, as in Python.
std::string get_start_method();
std::vector<std::string> get_all_start_methods();

namespace detail {
StartMethod default_start_method() noexcept;
void fix_start_method() noexcept;
void inherit_start_method(StartMethod method) noexcept;
} // namespace detail

} // namespace sennit::multiprocessing

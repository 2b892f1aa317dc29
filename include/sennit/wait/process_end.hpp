// What the end of the process does to threads that it does not wait for.
#pragma once

namespace sennit::wait {

/// While the static objects are destroyed, a thread that the end does not wait for (a daemon) might use one that is gone.
/// So from begin() on such a thread goes no further than its next wait in sennit; it is held there, for good as a rule.
/// Only while the ending thread itself waits for something are they let go on: it may be one of them that it waits for.
///
/// Not held is a daemon that never waits in sennit (it computes, or sits in a system call of its own): what it uses must
/// live as long as the process, for instance `static auto& log = *new Log;`.
class ProcessEnd {
  public:
    /// Who is held is said when the thread becomes an agent: detail::adopt_new_thread. By the thread that ends the process, before the first static object is destroyed. Waits at most 20 ms, for daemons that
    /// run, to come to a wait. A second call does nothing.
    static void begin() noexcept;
    [[nodiscard]] static bool begun() noexcept;
};

} // namespace sennit::wait

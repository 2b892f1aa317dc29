#pragma once

#include "multiprocessing/worker_page.hpp"

#include <string>

namespace sennit::multiprocessing::detail {

/// From now on a signal of this process's own making (SEGV, BUS, FPE, ILL, ABRT) whose action is the default one leaves the stack of
/// the thread that it came to in `note`, and then ends the process as it would have.
void note_crashes(CrashNote& note) noexcept;

/// By another process, after the death: a line a call, or nothing. Believes nothing of what is written there.
std::string describe_crash(const CrashNote& note);

} // namespace sennit::multiprocessing::detail

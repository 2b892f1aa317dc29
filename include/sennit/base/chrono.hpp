#pragma once

// std::chrono's durations, clocks and literals, and no more: where the standard library has them in a header of their own (libstdc++,
// whose <mutex> includes it), that one. The calendar and the formatting of <chrono> would cost each source that waits for something
// 0.3 s more to compile.
#if __has_include(<bits/chrono.h>)
#include <bits/chrono.h> // IWYU pragma: export
#else
#include <chrono> // IWYU pragma: export
#endif

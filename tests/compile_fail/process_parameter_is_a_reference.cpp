// expect: They are copies in the other process, passed as rvalues
#include <sennit/multiprocessing/process.hpp>

void start_what_would_change_a_copy() {
#ifndef COMPILES
    sennit::multiprocessing::Process p([](int& n) { ++n; }, 1);
#endif
    sennit::multiprocessing::Process q([](const int& n) { return n; }, 1);
}

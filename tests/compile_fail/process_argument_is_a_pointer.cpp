// expect: one of the arguments can't travel to another process
#include <sennit/multiprocessing/process.hpp>

void start_with_a_pointer() {
    int here = 1;
#ifndef COMPILES
    sennit::multiprocessing::Process p([](int* n) { ++*n; }, &here);
#endif
    sennit::multiprocessing::Process q([](int n) { ++n; }, here);
}

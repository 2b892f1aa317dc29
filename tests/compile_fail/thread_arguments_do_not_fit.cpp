// expect: the function can't be called with these arguments
#include <sennit/threading.hpp>

inline void work(int& out) { out = 1; }

int main() {
    int out = 0;
    work(out);
#ifndef COMPILES
    sennit::threading::Thread t(work, out); // a copy does not bind to int&: std::ref(out)
#endif
}

// expect: the function can't be called with these arguments
#include <sennit/threading.hpp>

void work(int& out);

int main() {
    int out = 0;
    sennit::threading::Thread t(work, out); // a copy does not bind to int&: std::ref(out)
}

// expect: the function and each argument are copied or moved into the thread
#include <sennit/threading.hpp>

#include <memory>

int main() {
    auto number = std::make_unique<int>(1);
    *number = 2;
#ifndef COMPILES
    sennit::threading::Thread t([](const std::unique_ptr<int>&) {}, number); // std::move(number)
#endif
}

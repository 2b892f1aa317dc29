// One process that says who it is.
#include <sennit/multiprocessing.hpp>

#include <cstdio>
#include <string>

using namespace sennit;

void hello(const std::string& name) {
    std::printf("hello %s, from %s\n", name.c_str(), multiprocessing::current_process().name().c_str());
}

int main() {
    multiprocessing::Process process(hello, "world");
    process.start();
    process.join();
    return process.exitcode().value_or(1);
}

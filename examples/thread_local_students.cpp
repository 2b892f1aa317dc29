// Each thread has its own student under one name.
#include <sennit/threading.hpp>

#include <cstdio>
#include <string>

using namespace sennit;

constinit threading::local<std::string> student;

void greet() { std::printf("Hello, %s (in %s)\n", student->c_str(), threading::current_thread().name().c_str()); }

int main() {
    const auto work = [](const char* name) {
        *student = name;
        greet();
    };
    threading::Thread a({.name = "Thread-A"}, work, "Alice"), b({.name = "Thread-B"}, work, "Bob");
    a.start();
    b.start();
}

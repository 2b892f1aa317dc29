// A user's program: what it prints and its exit code show that the installed headers and library fit together.
#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>

#include <chrono>
#include <cstdio>

int main() {
    using namespace std::chrono_literals;
    sennit::Deadline soon(1h);
    if (soon.has_passed() || soon.is_forever()) return 1;
    try {
        throw sennit::TimeoutError("an hour is long");
    } catch (const sennit::Error& error) {
        std::printf("caught: %s\n", error.what());
    }
    return 0;
}

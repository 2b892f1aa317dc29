// Run a program and look at how it ended.      Python: subprocess.call, subprocess.run
#include <sennit/subprocess.hpp>

#include <chrono>
#include <cstdio>

using namespace sennit;
using namespace std::chrono_literals;

int main() {
    std::puts("$ ls -d /usr/bin /usr/lib");
    std::fflush(stdout); // the child writes to the same place
    const int code = subprocess::call({"ls", "-d", "/usr/bin", "/usr/lib"});
    std::printf("exit code: %d\n", code);

    const auto done =
        subprocess::run({"sort", "-r"}, {.input = "pear\napple\n", .capture_output = true, .check = true});
    std::printf("$ sort -r: %s", done.std_out.c_str());

    // What goes wrong says what it was.
    try {
        subprocess::check_call({"sh", "-c", "exit 7"});
    } catch (const subprocess::CalledProcessError& e) {
        std::printf("failed: %s\n", e.what());
    }
    try {
        subprocess::call({"no-such-program-here"}, {.env = {{"PATH", "/bin"}}});
    } catch (const OSError& e) {
        std::printf("failed: %s\n", e.what());
    }
    try {
        subprocess::run({"sleep", "100"}, {.timeout = 200ms});
    } catch (const subprocess::TimeoutExpired& e) {
        std::printf("failed: %s\n", e.what());
    }
}

// A user's program: what it prints and its exit code show that the installed headers and library fit together.
#include <sennit/subprocess.hpp>
#include <sennit/threading.hpp>

#include <cstdio>

int main() {
    sennit::threading::Lock lock;
    int count = 0;
    {
        auto work = [&] {
            for (int i = 0; i < 1000; ++i) {
                lock.acquire();
                ++count;
                lock.release();
            }
        };
        sennit::threading::Thread one(work), two(work);
        one.start();
        two.start();
        one.join();
        two.join();
    }
    const auto answer = sennit::subprocess::run({"echo", "hello"}, {.capture_output = true, .check = true});
    std::printf("counted to %d; echo said %s", count, answer.std_out.c_str());
    return count == 2000 && answer.std_out == "hello\n" ? 0 : 1;
}

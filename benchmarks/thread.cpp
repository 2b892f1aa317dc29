// Starting an OS thread that does nothing, and joining it.
#include "common/bench.hpp"

#include <pthread.h>
#include <sennit/threading.hpp>
#include <thread>

namespace {

constexpr int threads = 250;

double us_a_thread(auto&& start_and_join) {
    const double start = bench::seconds();
    for (int i = 0; i < threads; ++i) start_and_join();
    return (bench::seconds() - start) / threads * 1e6;
}

void* nothing(void*) { return nullptr; }

} // namespace

int main(int argc, char** argv) {
    bench::Board board(10);
    const std::string in_case = "start + join";
    board.add(in_case, "pthread_create + pthread_join (limit)", "us/thread", [] {
        return us_a_thread([] {
            pthread_t t;
            if (pthread_create(&t, nullptr, nothing, nullptr) != 0) bench::die("pthread_create failed");
            pthread_join(t, nullptr);
        });
    });
    board.add(in_case, "std::thread", "us/thread", [] { return us_a_thread([] { std::thread([] {}).join(); }); });
    board.add(in_case, "sennit threading::Thread", "us/thread", [] {
        return us_a_thread([] {
            sennit::threading::Thread t([] {});
            t.start();
            t.join();
        });
    });
    return board.run(argc, argv);
}

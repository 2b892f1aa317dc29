// Ten tasks for five processes, each with a callback; the program goes on at once, and the callbacks come as the tasks end.
#include <sennit/multiprocessing.hpp>

#include <cstdio>
#include <tuple>
#include <unistd.h>

namespace multiprocessing = sennit::multiprocessing;

int double_it(int n) {
    ::usleep(100'000);
    return 2 * n;
}

int main() {
    multiprocessing::Pool pool(5);
    for (int i = 0; i < 10; ++i)
        pool.apply_async(double_it, std::tuple(i),
                         {.callback = [](int result) { std::printf("callback: %d\n", result); }});
    std::printf("end\n");
    pool.close();
    pool.join();
}

// Twenty processes count up an Array and print it, one at a time: whole lines, never mixed. The lock is taken twice by its holder.
#include <sennit/multiprocessing.hpp>

#include <cstdio>
#include <vector>

using namespace sennit;
using multiprocessing::Array;
using multiprocessing::Process;
using multiprocessing::RLock;

void show(const Array<int>& items, RLock& lock) {
    const std::scoped_lock again(lock); // held by the caller already
    for (const int item : items) {
        std::printf("%d ", item);
        std::fflush(stdout); // in pieces: only the lock keeps a line together
    }
    std::printf("\n");
    std::fflush(stdout);
}

void count(const Array<int>& items, RLock lock) {
    const std::scoped_lock guard(lock);
    for (int& item : items) ++item;
    show(items, lock);
}

int main() {
    const Array<int> items(5);
    const RLock lock;
    std::vector<Process> processes;
    for (int i = 0; i < 20; ++i) processes.emplace_back(count, items, lock);
    for (Process& process : processes) process.start();
    for (Process& process : processes) process.join();
}

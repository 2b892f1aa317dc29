// Five downloads, one after the other: takes the sum of their times.
#include "slow_server.hpp"

int main() {
    SlowServer server;
    report("serial", [&] {
        std::size_t bytes = 0;
        for (const Download& file : downloads) bytes += server.fetch(file);
        return bytes;
    });
}

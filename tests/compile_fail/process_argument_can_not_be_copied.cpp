// expect: give it away with std::move
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/multiprocessing/process.hpp>

#include <utility>

void start_with_one_end() {
    auto [mine, theirs] = sennit::multiprocessing::Pipe();
    const auto work = [](sennit::multiprocessing::Connection end) { end.send(1); };
#ifndef COMPILES
    sennit::multiprocessing::Process p(work, theirs);
#endif
    sennit::multiprocessing::Process q(work, std::move(theirs));
}

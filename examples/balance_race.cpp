// Two threads add 5 or 8 to a balance and take it away again: it should be 0. Whether that goes wrong is no matter of luck here:
// two real threads make one step at a time, in every order that there is. Without a lock many orders end wrong; with a lock none.
#include <sennit/threading.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

namespace threading = sennit::threading;

namespace {

// One thread's program, cut into the steps that a processor makes of `balance += n; balance -= n`.
struct Program {
    enum Step { lock, load, add, store, load_again, subtract, store_again, unlock, end };

    long amount;
    bool locked; // whether it takes the lock
    long own = 0;
    int next = locked ? lock : load;

    void step(long& balance, threading::Lock& mutex) {
        switch (next++) {
        case lock:
            mutex.acquire();
            break;
        case load:
        case load_again:
            own = balance;
            break;
        case add:
            own += amount;
            break;
        case subtract:
            own -= amount;
            break;
        case store:
            balance = own;
            break;
        case store_again:
            balance = own;
            break;
        case unlock:
            mutex.release();
            break;
        default:
            break;
        }
        if (next == unlock && !locked) next = end;
    }
};

// What came of one order. `choices` says who goes first wherever both could: it is followed as far as it reaches, and the rest
// is filled up with 0.
struct Outcome {
    long balance = 0;
    std::string order; // "AAB…"
};

Outcome run_in_order(bool locked, std::vector<int>& choices) {
    Outcome outcome;
    threading::Lock mutex;
    std::array<Program, 2> programs{Program{5, locked}, Program{8, locked}};
    std::array<threading::Semaphore, 2> turns{threading::Semaphore(0), threading::Semaphore(0)};
    threading::Semaphore done(0);
    const auto body = [&](std::size_t me) {
        while (programs[me].next != Program::end) {
            turns[me].acquire();
            programs[me].step(outcome.balance, mutex);
            done.release();
        }
    };
    threading::Thread a(body, 0), b(body, 1);
    a.start();
    b.start();
    const auto can_step = [&](std::size_t who) {
        const int next = programs[who].next;
        return next != Program::end && !(next == Program::lock && mutex.locked());
    };
    for (std::size_t taken = 0;;) {
        const bool first = can_step(0), second = can_step(1);
        if (!first && !second) break;
        std::size_t who = second ? 1 : 0;
        if (first && second) {
            if (taken == choices.size()) choices.push_back(0);
            who = static_cast<std::size_t>(choices[taken++]);
        }
        outcome.order += who == 0 ? 'A' : 'B';
        const bool last = programs[who].next == (locked ? Program::unlock : Program::store_again);
        turns[who].release();
        done.acquire();
        if (last) (who == 0 ? a : b).join();
    }
    return outcome;
}

void try_all_orders(const char* name, bool locked) {
    int orders = 0, wrong = 0;
    Outcome example;
    std::vector<int> choices;
    do {
        const Outcome outcome = run_in_order(locked, choices);
        ++orders;
        if (outcome.balance != 0 && wrong++ == 0) example = outcome;
        while (!choices.empty() && choices.back() == 1) choices.pop_back(); // the next order: depth first
        if (!choices.empty()) choices.back() = 1;
    } while (!choices.empty());
    std::printf("%s: %d orders, %d end wrong\n", name, orders, wrong);
    if (wrong > 0) std::printf("  for example %s ends with balance %ld\n", example.order.c_str(), example.balance);
}

} // namespace

int main() {
    try_all_orders("without a lock", false);
    try_all_orders("with a lock", true);
}

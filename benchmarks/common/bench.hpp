// What every C++ benchmark here shares: a clock, pinning, and the Board on which contenders meet.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <sched.h>
#include <string>
#include <utility>
#include <vector>

namespace bench {

inline double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The compiler must believe that `value` is looked at.
template <class T>
inline void keep(const T& value) {
    asm volatile("" : : "g"(&value) : "memory");
}

/// The cores that this process may use.
inline const std::vector<int>& cores() {
    static const std::vector<int> all = [] {
        cpu_set_t set;
        std::vector<int> found;
        if (sched_getaffinity(0, sizeof set, &set) == 0)
            for (int i = 0; i < CPU_SETSIZE; ++i)
                if (CPU_ISSET(i, &set)) found.push_back(i);
        if (found.empty()) found.push_back(0);
        return found;
    }();
    return all;
}

/// Pins the calling thread to the first or second core that the process may use: thread `i` of several goes to core i % 2.
///
/// Left alone, the kernel now and then keeps two short-lived threads on one core, where nothing is contended, and the
/// figures jump by a factor of three.
inline void pin_to_one_of_two(int i) {
    const auto& all = cores();
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(all[static_cast<std::size_t>(i % 2) % all.size()], &set);
    sched_setaffinity(0, sizeof set, &set);
}

[[noreturn]] inline void die(const char* what) {
    std::fprintf(stderr, "benchmark: %s\n", what);
    std::abort();
}

/// The contenders of one topic. Each case runs all its contenders once to warm up, then `--rounds` times in turn, so that
/// a disturbance of some seconds hits all of them alike. Who follows whom changes from turn to turn, since one may leave
/// something behind (a fork write-protects the parent's memory; a queue fills the allocator).
///
/// Every sample is printed as one row for table.py, which takes the medians: case, contender, figure, unit, separated by
/// tabs. The first turn has the order in which the contenders were added, which so becomes the table's.
class Board {
  public:
    /// Short work takes several turns a round: the finer contenders alternate, the less a drift tells them apart.
    explicit Board(int turns_a_round = 1) : turns_a_round_(turns_a_round) {}

    /// Does the work once and returns its figure, in the unit given to add().
    using Once = std::function<double()>;

    /// Slow ones may take part in each n-th turn only.
    void add(std::string in_case, std::string contender, std::string unit, Once once, int each_nth_turn = 1) {
        contenders_.push_back(
            {std::move(in_case), std::move(contender), std::move(unit), std::move(once), each_nth_turn});
    }

    /// A second figure of the work just done (from within a Once). Not printed while warming up.
    void also(const std::string& in_case, const std::string& contender, double figure, const char* unit) const {
        if (printing_) row(in_case, contender, figure, unit);
    }

    /// PROGRAM [--rounds N] [--only TEXT]: TEXT is a part of "case: contender". Returns main's result.
    int run(int argc, char** argv) {
        int rounds = 5;
        std::vector<std::string> only;
        for (int i = 1; i + 1 < argc; i += 2) {
            if (std::strcmp(argv[i], "--rounds") == 0)
                rounds = std::atoi(argv[i + 1]);
            else if (std::strcmp(argv[i], "--only") == 0)
                only.emplace_back(argv[i + 1]);
        }
        std::erase_if(contenders_, [&](const Contender& c) {
            const std::string full = c.in_case + ": " + c.name;
            return !only.empty() &&
                   std::none_of(only.begin(), only.end(), [&](auto& t) { return full.find(t) != std::string::npos; });
        });
        for (auto first = contenders_.begin(); first != contenders_.end();) {
            const auto last =
                std::find_if(first, contenders_.end(), [&](auto& c) { return c.in_case != first->in_case; });
            printing_ = false;
            for (auto c = first; c != last; ++c) c->once();
            printing_ = true;
            for (int r = 0; r < rounds * turns_a_round_; ++r) {
                for (auto c = last; r > 0 && c - first > 1; --c) std::iter_swap(c - 1, first + random_below(c - first));
                for (auto c = first; c != last; ++c)
                    if (r % c->each_nth_turn == 0) row(c->in_case, c->name, c->once(), c->unit.c_str());
            }
            first = last;
        }
        return 0;
    }

  private:
    struct Contender {
        std::string in_case, name, unit;
        Once once;
        int each_nth_turn;
    };
    // Always the same sequence: a table can be made again.
    std::ptrdiff_t random_below(std::ptrdiff_t n) {
        random_ = random_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::ptrdiff_t>((random_ >> 33) % static_cast<std::uint64_t>(n));
    }
    static void row(const std::string& in_case, const std::string& contender, double figure, const char* unit) {
        std::printf("%s\t%s\t%.6g\t%s\n", in_case.c_str(), contender.c_str(), figure, unit);
        std::fflush(stdout);
    }
    int turns_a_round_;
    std::vector<Contender> contenders_;
    std::uint64_t random_ = 1;
    bool printing_ = false;
};

} // namespace bench

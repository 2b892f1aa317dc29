#include "model/explore.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::model {
namespace {

// SplitMix64 (S. Vigna): any seed is a good one.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    std::size_t below(std::size_t n) { return next() % n; }
    bool one_in(std::size_t n) { return n != 0 && below(n) == 0; }

  private:
    std::uint64_t state_;
};

constexpr int most_threads = 32;

/// Everything from one seed: the policy, how weak the memory is, how restless the clock.
class Seeded final : public Strategy {
  public:
    explicit Seeded(std::uint64_t seed) : random_(seed), policy_(static_cast<Policy>(random_.below(3))) {
        static constexpr std::size_t rates[] = {0, 2, 8, 30};
        older_ = rates[random_.below(4)];
        restless_ = rates[random_.below(4)];
        deadlines_ = random_.one_in(2) ? 6 : 60;
        starved_ = static_cast<std::uint32_t>(random_.next());
        // PCT knows the number of operations; here it is guessed, which costs a factor of the number of guesses.
        const std::size_t length = std::size_t{16} << random_.below(7);
        for (std::size_t& at : changes_) at = random_.below(length);
        for (int& p : priority_) p = 1 + static_cast<int>(random_.below(1000));
        for (int& p : deadline_priority_) p = random_.one_in(2) ? 0 : 1 + static_cast<int>(random_.below(1000));
    }

    std::size_t pick(std::span<const Candidate> ways, int current) override {
        ++step_;
        switch (policy_) {
        case Policy::uniform:
            return any(ways, ~0U);
        case Policy::starving:
            if (random_.one_in(40)) starved_ = static_cast<std::uint32_t>(random_.next());
            return any(ways, ~starved_);
        case Policy::priorities:
            break;
        }
        if (current >= 0 && std::find(std::begin(changes_), std::end(changes_), step_) != std::end(changes_))
            priority_[ways[static_cast<std::size_t>(current)].thread] = --lowest_;
        std::size_t best = 0;
        for (std::size_t i = 1; i < ways.size(); ++i)
            if (rank(ways[i]) > rank(ways[best])) best = i;
        return best;
    }
    unsigned choose(Choice kind, unsigned n) override {
        switch (kind) {
        case Choice::older_store:
            return random_.one_in(older_) ? 1 + static_cast<unsigned>(random_.below(n - 1)) : 0;
        case Choice::weak_failure:
        case Choice::spurious_wake:
            return random_.one_in(restless_ * 3) ? 1 : 0;
        case Choice::time_jump:
            return random_.one_in(restless_) ? 1 : 0;
        case Choice::wake_order:
            return restless_ ? static_cast<unsigned>(random_.below(n)) : 0;
        }
        return 0;
    }
    void yielded(int thread) override { priority_[thread] = --lowest_; }

  private:
    enum class Policy { uniform, starving, priorities };

    // Any of those that are favoured, if there are some; a deadline now and then, or when nothing else is left.
    std::size_t any(std::span<const Candidate> ways, std::uint32_t favoured) {
        std::size_t fit[2 * most_threads];
        std::size_t n = 0;
        const bool deadlines = random_.one_in(deadlines_);
        const auto take = [&](auto wanted) {
            for (std::size_t i = 0; n < std::size(fit) && i < ways.size(); ++i)
                if (wanted(ways[i])) fit[n++] = i;
        };
        take([&](const Candidate& c) { return (favoured >> c.thread & 1) && (deadlines || !c.by_deadline); });
        if (n == 0) take([&](const Candidate& c) { return !c.by_deadline; });
        if (n == 0) take([](const Candidate&) { return true; });
        return fit[random_.below(n)];
    }
    int rank(const Candidate& c) const {
        return c.by_deadline ? (deadline_priority_[c.thread] ? deadline_priority_[c.thread] : -1'000'000)
                             : priority_[c.thread];
    }

    Random random_;
    Policy policy_;
    std::size_t older_, restless_, deadlines_;
    std::uint32_t starved_;
    std::size_t step_ = 0;
    std::size_t changes_[2]; // depth 3: two changes of priority
    int priority_[most_threads];
    int deadline_priority_[most_threads];
    int lowest_ = 0;
};

/// All decisions in turn, the last one first (S. Godefroid's stateless search), as long as the surprises last.
class Exhaustive final : public Strategy {
  public:
    /// Begins with the decisions that `ways` tells, as text() does.
    Exhaustive(int surprises, bool jumps, const char* ways) : surprises_(surprises), jumps_(jumps) {
        for (const char* p = ways; *p;) {
            char* end;
            decisions_.push_back({static_cast<unsigned>(std::strtoul(p, &end, 10)), 0});
            p = *end ? end + 1 : end;
        }
    }

    void begin() { depth_ = 0, left_ = surprises_; }
    /// False when all have been had.
    bool next() {
        decisions_.resize(depth_); // what came last time after where this run ended is not part of it
        while (!decisions_.empty() && decisions_.back().taken + 1 == decisions_.back().ways) decisions_.pop_back();
        if (decisions_.empty()) return false;
        ++decisions_.back().taken;
        return true;
    }
    std::string text() const {
        std::string t;
        for (std::size_t i = 0; i < depth_; ++i) t += (i ? "," : "") + std::to_string(decisions_[i].taken);
        return t;
    }

    std::size_t pick(std::span<const Candidate> ways, int current) override {
        // What is no surprise: the current thread goes on; if it can't, any of the others; if none can, any deadline.
        std::size_t fit[2 * most_threads];
        std::size_t n = 0;
        const bool can_go_on = current >= 0;
        const bool some_can_run =
            std::any_of(ways.begin(), ways.end(), [](const Candidate& c) { return !c.by_deadline; });
        for (std::size_t i = 0; i < ways.size(); ++i)
            if (can_go_on ? static_cast<int>(i) == current : !some_can_run || !ways[i].by_deadline) fit[n++] = i;
        const std::size_t free = n;
        if (left_ > 0)
            for (std::size_t i = 0; i < ways.size(); ++i)
                if (std::find(fit, fit + free, i) == fit + free) fit[n++] = i;
        const unsigned way = n > 1 ? decide(static_cast<unsigned>(n)) : 0;
        if (way >= free) --left_;
        return fit[way];
    }
    unsigned choose(Choice kind, unsigned n) override {
        if (kind == Choice::wake_order) return decide(n);
        if (left_ == 0 || (kind == Choice::time_jump && !jumps_) || kind == Choice::weak_failure) return 0;
        const unsigned way = decide(n);
        if (way) --left_;
        return way;
    }
    void yielded(int) override {}

  private:
    struct Decision {
        unsigned taken, ways;
    };
    unsigned decide(unsigned ways) {
        if (depth_ == decisions_.size()) decisions_.push_back({0, ways});
        Decision& d = decisions_[depth_++];
        d.ways = ways;
        return d.taken;
    }
    std::vector<Decision> decisions_;
    std::size_t depth_ = 0;
    int surprises_, left_ = 0;
    bool jumps_;
};

// ---- in the child

int to_parent = -1;
std::function<std::string()> how_to_replay;

void tell(const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = ::write(to_parent, text.data() + done, text.size() - done);
        if (n <= 0) break;
        done += static_cast<std::size_t>(n);
    }
}

void on_failure(const std::string& report) {
    tell(report + "to repeat: SENNIT_MODEL_REPLAY=" + how_to_replay() + " with this test\n");
    ::_exit(1);
}

void on_signal(int number) {
    std::signal(number, SIG_DFL);
    on_failure(describe(number == SIGALRM
                            ? "the search takes too long: a loop without any operation that the model sees?"
                            : ::strsignal(number)));
}

int tier() {
    const char* text = std::getenv("SENNIT_FAULT_TIER");
    return text ? std::atoi(text) : 1;
}

std::uint64_t first_seed() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::uint64_t h = 14695981039346656037ULL;
    if (test)
        for (const char* name : {test->test_suite_name(), test->name()})
            for (; *name; ++name) h = (h ^ static_cast<unsigned char>(*name)) * 1099511628211ULL;
    return h >> 16 << 16; // room for the numbers of the schedules
}

Finding search(const std::function<void()>& scenario, const Plan& plan) {
    // "seed:N" or "ways:N,N,...": one run of either search.
    const char* replay = std::getenv("SENNIT_MODEL_REPLAY");
    const char* seed_to_replay = replay && std::strncmp(replay, "seed:", 5) == 0 ? replay + 5 : nullptr;
    const char* ways_to_replay = replay && std::strncmp(replay, "ways:", 5) == 0 ? replay + 5 : nullptr;
    set_verbose(replay != nullptr);
    Finding finding;
    const auto once = [&](Strategy& strategy) {
        finding.most_operations = std::max(finding.most_operations, run(scenario, strategy));
        ++finding.schedules;
    };
    if (plan.schedules > 0 && !ways_to_replay) {
        std::uint64_t seed = seed_to_replay ? std::strtoull(seed_to_replay, nullptr, 10) : first_seed();
        how_to_replay = [&seed] { return "seed:" + std::to_string(seed); };
        for (std::size_t left = seed_to_replay ? 1 : plan.schedules; left > 0; --left, ++seed) {
            Seeded strategy(seed);
            once(strategy);
        }
    }
    if (plan.surprises >= 0 && !seed_to_replay) {
        Exhaustive all(plan.surprises, plan.jumps, ways_to_replay ? ways_to_replay : "");
        how_to_replay = [&all] { return "ways:" + all.text(); };
        do {
            all.begin();
            once(all);
        } while (!replay && all.next());
    }
    return finding;
}

} // namespace

Finding explore(const std::function<void()>& scenario, Plan plan) {
    int ends[2];
    if (::pipe(ends) != 0) return {"no pipe for the search", 0, 0};
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::close(ends[0]);
        to_parent = ends[1];
        set_failure_handler(on_failure);
        for (int s : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGALRM}) std::signal(s, on_signal);
        // One thread runs at a time: handing the baton over costs a third as much on one core.
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(static_cast<std::size_t>(std::max(0, ::sched_getcpu())), &here);
        ::sched_setaffinity(0, sizeof here, &here);
        wait::Registry::
            parked_count(); // a local static: to be made before the run, for the model does not see its guard
        const Finding finding = search(scenario, plan);
        tell("+" + std::to_string(finding.schedules) + " " + std::to_string(finding.most_operations));
        ::_exit(0);
    }
    ::close(ends[1]);
    Finding finding;
    std::string told;
    char buffer[4096];
    for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) told.append(buffer, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (told.starts_with('+') && status == 0)
        std::sscanf(told.c_str(), "+%zu %zu", &finding.schedules, &finding.most_operations);
    else
        finding.report = told.empty() ? "the search ended with wait status " + std::to_string(status) : told;
    return finding;
}

void expect_nothing_found(const std::function<void()>& scenario, Plan plan) {
    plan.schedules = tier() <= 1 ? 2'000 : tier() == 2 ? 20'000 : 100'000;
    if (plan.surprises >= 0 && tier() >= 2) ++plan.surprises;
    const Finding finding = explore(scenario, plan);
    if (!finding.report.empty())
        ADD_FAILURE() << finding.report;
    else
        std::printf("%zu schedules, at most %zu operations\n", finding.schedules, finding.most_operations);
}

agent_thread::agent_thread(std::function<void()> body)
    : slot_(std::make_shared<Slot>()), thread_([slot = slot_, body = std::move(body)] {
          {
              Quiet quiet;
              slot->agent.store(&wait::current_agent(), memory_order_release); // meets agent()
          }
          body();
          Quiet quiet;
          while (slot->may_end.load(memory_order_acquire) == 0)
              os::futex_wait(slot->may_end, 0, forever); // meets join()
      }) {}

void agent_thread::join() {
    Quiet quiet;
    slot_->may_end.store(1, memory_order_release);
    os::futex_wake(slot_->may_end, 1);
    thread_.join();
}

wait::Agent& agent_thread::agent() const {
    for (;;) {
        if (wait::Agent* a = slot_->agent.load(memory_order_acquire)) return *a;
        yield();
    }
}

} // namespace sennit::model

#include "support/ledger.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <map>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;
using Kind = LedgerEntry::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A history by hand: each line a millisecond after the one before.
class Story {
  public:
    Story& submitted(std::uint64_t id) { return add(Kind::submitted, id, parent); }
    Story& started(std::uint64_t id, std::int64_t pid, std::uint32_t attempt = 1) {
        return add(Kind::started, id, pid, 0, attempt);
    }
    Story& finished(std::uint64_t id, std::int64_t pid, std::uint64_t hash) {
        return add(Kind::finished, id, pid, hash);
    }
    Story& published(std::uint64_t id, std::int64_t pid) { return add(Kind::published, id, pid); }
    Story& settled(std::uint64_t id, Ledger::Outcome outcome, std::uint64_t hash = 0) {
        return add(Kind::settled, id, parent, hash, static_cast<std::uint32_t>(outcome));
    }
    Story& died(std::int64_t pid, bool killed = true) { return add(Kind::died, 0, pid, 0, killed); }
    Story& fault() { return add(Kind::fault, 0, parent); }
    Story& with_retries() {
        history_.retries = true;
        return *this;
    }
    Story& later(std::chrono::nanoseconds by) {
        now_ += by.count();
        return *this;
    }
    [[nodiscard]] std::vector<std::string> broken() const { return broken_invariants(history_); }

  private:
    static constexpr std::int64_t parent = 1;
    Story& add(Kind kind, std::uint64_t id, std::int64_t pid, std::uint64_t hash = 0, std::uint32_t detail = 0) {
        history_.entries.push_back({kind, detail, id, hash, pid, now_ += 1'000'000});
        return *this;
    }
    LedgerHistory history_;
    std::int64_t now_ = 0;
};

constexpr auto success = Ledger::Outcome::success, worker_died = Ledger::Outcome::worker_died,
               other = Ledger::Outcome::other;

// Two jobs that end well, one of them on a worker that is killed later.
Story good() {
    return Story()
        .submitted(1)
        .submitted(2)
        .started(1, 100)
        .finished(1, 100, 11)
        .published(1, 100)
        .died(100)
        .started(2, 200)
        .finished(2, 200, 22)
        .published(2, 200)
        .settled(1, success, 11)
        .settled(2, success, 22);
}

TEST(LedgerChecker, finds_nothing_in_a_good_history) { EXPECT_THAT(good().broken(), IsEmpty()); }

TEST(LedgerChecker, I1_each_job_settles_exactly_once) {
    EXPECT_THAT(Story().submitted(1).started(1, 9).finished(1, 9, 5).settled(1, success, 5).broken(), IsEmpty());
    EXPECT_THAT(good().settled(2, success, 22).broken(), ElementsAre("I1: job 2 settled 2 times"));
    EXPECT_THAT(good().submitted(3).broken(), ElementsAre("I1: job 3 settled 0 times"));
}

TEST(LedgerChecker, I2_a_job_starts_and_finishes_once_unless_there_are_retries) {
    const auto twice = [] {
        return Story().submitted(1).started(1, 100, 1).died(100).started(1, 200, 2).finished(1, 200, 5).settled(
            1, success, 5);
    };
    EXPECT_THAT(twice().broken(), ElementsAre("I2: job 1 started 2 times"));
    EXPECT_THAT(twice().with_retries().broken(), IsEmpty());
    EXPECT_THAT(twice().started(1, 300, 2).with_retries().broken(),
                ElementsAre("I2: job 1 started twice in attempt 2"));
    EXPECT_THAT(good().finished(2, 200, 23).broken(), ElementsAre("I2: job 2 finished 2 times"));
}

TEST(LedgerChecker, I3_success_has_one_matching_finish) {
    const auto with_result = [](std::uint64_t hash) {
        return Story().submitted(1).started(1, 9).finished(1, 9, 5).settled(1, success, hash).broken();
    };
    EXPECT_THAT(with_result(5), IsEmpty());
    EXPECT_THAT(with_result(6), ElementsAre("I3: job 1 succeeded, and nobody has finished it with that result"));
}

TEST(LedgerChecker, I4_a_worker_died_only_if_one_that_is_dead_had_started_the_job) {
    const auto story = [] { return Story().submitted(1).started(1, 100); };
    EXPECT_THAT(story().died(100).settled(1, worker_died).broken(), IsEmpty());
    EXPECT_THAT(story().died(200).settled(1, worker_died).broken(),
                ElementsAre("I4: job 1 got WorkerDied, and nobody who is dead had started it"));
}

TEST(LedgerChecker, I5_what_nobody_dead_had_started_succeeds) {
    EXPECT_THAT(Story().submitted(1).died(100).started(1, 200).finished(1, 200, 5).settled(1, success, 5).broken(),
                IsEmpty());
    EXPECT_THAT(Story().submitted(1).died(100).settled(1, other).broken(),
                ElementsAre("I5: job 1 was started by nobody who is dead, and got something else"));
}

TEST(LedgerChecker, I6_no_more_worker_deaths_than_kills) {
    const auto story = [](bool killed) {
        return Story().submitted(1).started(1, 100).died(100, killed).settled(1, worker_died).broken();
    };
    EXPECT_THAT(story(true), IsEmpty());
    EXPECT_THAT(story(false), ElementsAre("I6: 1 jobs got WorkerDied after 0 kills"));
}

TEST(LedgerChecker, I7_what_was_published_before_a_death_succeeds) {
    const auto story = [] { return Story().submitted(1).started(1, 100).finished(1, 100, 5); };
    EXPECT_THAT(story().died(100).settled(1, worker_died).broken(), IsEmpty()); // finished is not published
    EXPECT_THAT(story().published(1, 100).died(100).settled(1, success, 5).broken(), IsEmpty());
    EXPECT_THAT(story().published(1, 100).died(100).settled(1, worker_died).broken(),
                ElementsAre("I7: job 1 was published, and got WorkerDied"));
}

TEST(LedgerChecker, I8_the_last_settlement_comes_within_H_of_the_last_fault) {
    const auto story = [](std::chrono::nanoseconds wait) {
        return Story().submitted(1).started(1, 9).fault().later(wait).finished(1, 9, 5).settled(1, success, 5).broken();
    };
    EXPECT_THAT(story(9s), IsEmpty());
    EXPECT_THAT(story(11s), ElementsAre(::testing::StartsWith("I8: the last settlement came 11")));
}

TEST(Ledger, keeps_what_a_killed_process_has_noted) {
    Ledger ledger(2);
    ledger.submitted(1);
    ledger.submitted(2);
    const pid_t child = ::fork();
    if (child == 0) {
        LedgerPage mine = ledger.page(1);
        mine.started(1);
        mine.finished(1, 77);
        mine.published(1);
        mine.started(2);
        ::raise(SIGKILL);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ledger.died(child, true);
    ledger.settled(1, success, 77);
    ledger.settled(2, worker_died);
    const LedgerHistory history = ledger.history();
    EXPECT_THAT(broken_invariants(history), IsEmpty());
    int by_child = 0;
    for (const auto& e : history.entries) by_child += e.pid == child ? 1 : 0;
    EXPECT_EQ(by_child, 5); // four lines of its own, and its death
}

TEST(Ledger, is_the_same_for_who_attaches) {
    Ledger ledger(1);
    Ledger second = Ledger::attach(::dup(ledger.fd()));
    second.page(1).started(5, 3);
    const auto history = ledger.history();
    ASSERT_EQ(history.entries.size(), 1u);
    EXPECT_EQ(history.entries[0].id, 5u);
    EXPECT_EQ(history.entries[0].detail, 3u);
}

TEST(Ledger, says_when_a_page_is_full_and_when_there_is_none) {
    Ledger ledger(1, 2);
    ledger.page(1).started(1);
    ledger.page(1).started(2);
    EXPECT_THROW(ledger.page(1).started(3), std::length_error);
    EXPECT_THROW(static_cast<void>(ledger.page(2)), std::out_of_range);
    EXPECT_EQ(ledger.history().entries.size(), 2u);
}

TEST(Ledger, takes_memory_for_what_is_written_alone) {
    Ledger ledger(500, 1'000'000); // 20 GB, if they were all written
    for (std::uint64_t id = 0; id < 10'000; ++id) ledger.page(7).started(id);
    struct stat about {};
    ASSERT_EQ(::fstat(ledger.fd(), &about), 0);
    EXPECT_GT(about.st_size, 20'000'000'000);
    EXPECT_LT(about.st_blocks * 512, 8'000'000);
    EXPECT_EQ(ledger.history().entries.size(), 10'000U);
}

TEST(Ledger, loses_nothing_when_several_processes_write_to_one_page) {
    Ledger ledger(1, 40'000);
    pid_t children[4];
    for (pid_t& child : children)
        if ((child = ::fork()) == 0) {
            for (std::uint64_t id = 0; id < 10'000; ++id) ledger.page(1).started(id);
            ::_exit(0);
        }
    for (const pid_t child : children) ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const LedgerHistory history = ledger.history();
    EXPECT_EQ(history.entries.size(), 40'000U);
    std::map<std::int64_t, std::uint64_t> sums;
    for (const auto& e : history.entries) sums[e.pid] += e.id;
    for (const pid_t child : children) EXPECT_EQ(sums[child], 10'000U * 9'999 / 2);
}

} // namespace
} // namespace sennit::testing

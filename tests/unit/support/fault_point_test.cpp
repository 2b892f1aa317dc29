#include "support/fault_point.hpp"

#include "support/agent_pair.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#if defined(SENNIT_FAULT_POINTS)
namespace sennit::testing {
namespace {

using namespace std::chrono_literals;

// The points of this test itself.
int passes_errno() { return FAULT_POINT_ERROR("test.errno"); }
void passes_here() { FAULT_POINT("test.here"); }
void passes_there() { FAULT_POINT("test.there"); }

TEST(FaultPoint, is_on_the_list_before_anybody_passes) {
    int found = 0;
    for (auto* p = base::all_fault_points(); p; p = p->next) found += std::string(p->name).starts_with("test.");
    EXPECT_EQ(found, 3);
}

TEST(FaultPoint, does_nothing_until_it_is_armed_and_after) {
    EXPECT_EQ(passes_errno(), 0);
    {
        Faults faults("test.errno=fail:EMFILE");
        EXPECT_EQ(passes_errno(), EMFILE);
        EXPECT_EQ(faults.injected(), 1u);
    }
    EXPECT_EQ(passes_errno(), 0);
}

TEST(FaultPoint, counts_passes) {
    Faults faults("test.errno=fail:11@3; test.here=count");
    std::vector<int> seen;
    for (int i = 0; i < 4; ++i) seen.push_back(passes_errno());
    EXPECT_THAT(seen, ::testing::ElementsAre(0, 0, 11, 0));
    passes_here();
    passes_here();
    EXPECT_EQ(faults.passes("test.here"), 2u);
    EXPECT_EQ(faults.passes("test.errno"), 4u);
}

TEST(FaultPoint, can_begin_at_a_pass_and_go_on) {
    Faults faults("test.errno=fail:5@2+");
    EXPECT_EQ(passes_errno(), 0);
    EXPECT_EQ(passes_errno(), 5);
    EXPECT_EQ(passes_errno(), 5);
}

TEST(FaultPoint, takes_its_share_by_seed) {
    const auto run = [](std::uint64_t seed) {
        base::arm_faults("test.errno=fail:5%30", seed);
        std::string pattern;
        for (int i = 0; i < 200; ++i) pattern += passes_errno() ? 'x' : '.';
        base::disarm_faults();
        return pattern;
    };
    EXPECT_EQ(run(7), run(7));
    EXPECT_NE(run(7), run(8));
    const std::string seven = run(7);
    const auto hits = std::count(seven.begin(), seven.end(), 'x');
    EXPECT_GT(hits, 20);
    EXPECT_LT(hits, 120);
}

TEST(FaultPoint, throws_where_told) {
    Faults faults("test.here=throw@1");
    EXPECT_THROW(passes_here(), base::FaultInjected);
    EXPECT_NO_THROW(passes_here());
}

TEST(FaultPoint, lets_one_place_wait_for_another) {
    Faults faults("test.here=wait:test.there");
    std::atomic<bool> passed{false};
    std::thread t([&] {
        passes_here();
        passed = true;
    });
    while (faults.passes("test.here") == 0) std::this_thread::yield();
    EXPECT_FALSE(passed);
    passes_there();
    t.join();
    EXPECT_TRUE(passed);
}

TEST(FaultPoint, keeps_errno) {
    Faults faults("test.here=delay:1us");
    errno = ENOTTY;
    passes_here();
    EXPECT_EQ(errno, ENOTTY);
}

TEST(FaultPoint, says_what_is_wrong_with_a_table) {
    const auto words = [](const char* table) -> std::string {
        try {
            base::arm_faults(table);
        } catch (const std::invalid_argument& e) {
            return e.what();
        }
        base::disarm_faults();
        return "";
    };
    using ::testing::HasSubstr;
    EXPECT_THAT(words("test.none=yield"), HasSubstr("no such point"));
    EXPECT_THAT(words("test.here"), HasSubstr("POINT=ACTION"));
    EXPECT_THAT(words("test.here=explode"), HasSubstr("unknown action"));
    EXPECT_THAT(words("test.here=delay:5"), HasSubstr("ns, us, ms or s"));
    EXPECT_THAT(words("test.here=fail:EWHAT"), HasSubstr("a number"));
    EXPECT_THAT(words("test.here=yield:1"), HasSubstr("takes no argument"));
}

TEST(FaultPoint, kills_and_ends_the_process) {
    const auto ended_by = [](const char* table) {
        const pid_t child = ::fork();
        if (child == 0) {
            base::arm_faults(table);
            passes_here();
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    };
    EXPECT_EQ(ended_by("test.here=kill"), -SIGKILL);
    EXPECT_EQ(ended_by("test.here=abort"), -SIGABRT);
    EXPECT_EQ(ended_by("test.here=exit:42"), 42);
}

} // namespace
} // namespace sennit::testing
#endif

// Forks given away, taken, taken back and joined. The helper stands for a pool's worker that was invited.
#include "futures/fork_team.hpp"
#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/futures/fork_scope.hpp>
#include <sennit/sync/event.hpp>

#include <stdexcept>

namespace sennit {
namespace {

using futures::fork_join;
using futures::ForkEntry;
using futures::ForkScope;
using futures::detail::ForkTeam;
using model::agent_thread;
using model::expect;

class Host final : public futures::detail::ForkHost {
  public:
    bool invite() noexcept override {
        asked_.set();
        return true;
    }
    bool has_other_work(bool) noexcept override { return false; }
    /// What the worker does: helps when it is invited, until close().
    void work(ForkTeam& team) {
        for (;;) {
            asked_.wait();
            asked_.clear();
            if (closed_.load(memory_order_acquire)) return; // meets close()
            team.help();
        }
    }
    void close() noexcept {
        closed_.store(true, memory_order_release);
        asked_.set();
    }

  private:
    sync::Event asked_;
    atomic<bool> closed_{false};
};

/// A team of two: this thread, and a worker that comes when it is invited.
struct Team {
    Host host;
    ForkTeam team{host, 2};
    agent_thread worker{[this] { host.work(team); }};
    ~Team() {
        host.close();
        worker.join();
    }
};

// Looks for signals as a fork does: gives the oldest frame away if somebody wants it.
void look(ForkScope& scope) {
    fork_join(
        scope, [] {}, [] {});
}
// As time goes by, so that the call is not young any more.
void grow_up_and_look(ForkScope& scope) {
    look(scope);
    model::pass_time(25'000);
    look(scope);
}

struct Oops : std::runtime_error {
    Oops() : runtime_error("oops") {}
};

SCENARIO(ForkModel, a_fork_runs_once_and_sees_and_shows_what_was_done_before, .surprises = 2) {
    Team t;
    model::var<int> given{0}, result{0}, runs{0};
    {
        ForkEntry entry(t.team);
        given = 1;
        fork_join(
            entry.scope(), [&](ForkScope& s) { grow_up_and_look(s); },
            [&] {
                ++runs;
                result = given + 1;
            });
        expect(result == 2, "the result is there after the join");
        expect(runs == 1, "it ran once");
    }
}

SCENARIO(ForkModel, results_of_a_taken_fork_come_by_the_frame, .surprises = 2) {
    Team t;
    ForkEntry entry(t.team);
    const auto [a, b] = fork_join(
        entry.scope(),
        [&](ForkScope& s) {
            grow_up_and_look(s);
            return 1;
        },
        [] { return 2; });
    expect(a == 1 && b == 2, "both results");
}

SCENARIO(ForkModel, of_two_forks_each_runs_once_whoever_takes_which, .surprises = 1) {
    Team t;
    model::var<int> outer{0}, inner{0};
    {
        ForkEntry entry(t.team);
        fork_join(
            entry.scope(),
            [&](ForkScope& s) {
                fork_join(
                    s, [&](ForkScope& u) { grow_up_and_look(u); }, [&] { ++inner; });
            },
            [&] { ++outer; });
    }
    expect(outer == 1 && inner == 1, "each once");
}

SCENARIO(ForkModel, who_waits_for_a_fork_may_take_a_part_of_it, .surprises = 1) {
    Team t;
    model::var<int> part{0}, rest{0};
    {
        ForkEntry entry(t.team);
        fork_join(
            entry.scope(), [&](ForkScope& s) { grow_up_and_look(s); },
            [&](ForkScope& s) {
                fork_join(
                    s,
                    [&](ForkScope& u) {
                        look(u); // who waits has sent its beat, or not yet
                        ++rest;
                    },
                    [&] { ++part; });
            });
        expect(part == 1 && rest == 1, "each once");
    }
}

SCENARIO(ForkModel, what_a_taken_fork_throws_comes_out_of_the_join, .surprises = 2) {
    Team t;
    model::var<int> done{0};
    {
        ForkEntry entry(t.team);
        bool caught = false;
        try {
            fork_join(
                entry.scope(), [&](ForkScope& s) { grow_up_and_look(s); },
                [&] {
                    done = 1;
                    throw Oops();
                });
        } catch (const Oops&) {
            caught = true;
        }
        expect(caught, "its own exception, and not that of the side that was cancelled for it");
        expect(done == 1, "and what it did before");
        expect(!entry.scope().cancelled(), "the scope goes on");
    }
}

SCENARIO(ForkModel, when_the_first_side_throws_the_other_has_ended_or_never_begins, .surprises = 2) {
    Team t;
    {
        ForkEntry entry(t.team);
        model::var<int> alive{1};
        try {
            fork_join(
                entry.scope(),
                [&](ForkScope& s) {
                    grow_up_and_look(s);
                    throw Oops();
                },
                [&](ForkScope& s) {
                    look(s);
                    expect(alive == 1, "the owner's frame");
                });
        } catch (const Oops&) {}
        alive = 0; // a race, were the other side still there
    }
}

SCENARIO(ForkModel, a_call_that_is_stopped_ends_with_all_its_parts) {
    Team t;
    std::stop_source source;
    model::var<int> alive{1};
    bool stopped = false;
    try {
        ForkEntry entry(t.team, source.get_token());
        fork_join(
            entry.scope(),
            [&](ForkScope& s) {
                grow_up_and_look(s);
                source.request_stop();
                for (;;) look(s);
            },
            [&](ForkScope& s) {
                look(s);
                expect(alive == 1, "the owner's frame");
            });
    } catch (const CancelledError&) {
        stopped = true;
    }
    alive = 0;
    expect(stopped, "CancelledError");
}

SCENARIO(ForkModel, two_calls_share_one_helper) {
    Team t;
    const auto call = [&t] {
        ForkEntry entry(t.team);
        model::var<int> runs{0};
        fork_join(
            entry.scope(), [&](ForkScope& s) { grow_up_and_look(s); }, [&] { ++runs; });
        expect(runs == 1, "once");
    };
    agent_thread other(call);
    call();
    other.join();
}

} // namespace
} // namespace sennit

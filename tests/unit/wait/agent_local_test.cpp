#include <sennit/wait/agent_local.hpp>

#include <sennit/wait/agent.hpp>

#include "support/test_loop.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using testing::Co;
using testing::TestLoop;

struct Noted final : wait::AgentLocal {
    explicit Noted(std::vector<int>& ended, int number) : AgentLocal(&end), ended(ended), number(number) {}
    static void end(wait::AgentLocal& self) noexcept {
        auto* it = static_cast<Noted*>(&self);
        it->ended.push_back(it->number);
        delete it;
    }
    std::vector<int>& ended;
    int number;
};

TEST(AgentLocalKey, gives_each_agent_a_value_of_its_own) {
    std::vector<int> ended;
    wait::AgentLocalKey key;
    wait::Agent& me = wait::current_agent();
    EXPECT_EQ(key.find(me), nullptr);
    key.add(me, *new Noted(ended, 1));
    std::thread([&] {
        wait::Agent& other = wait::current_agent();
        EXPECT_EQ(key.find(other), nullptr);
        key.add(other, *new Noted(ended, 2));
        EXPECT_EQ(static_cast<Noted*>(key.find(other))->number, 2);
    }).join();
    EXPECT_EQ(ended, std::vector{2}) << "a value ends with its thread";
    EXPECT_EQ(static_cast<Noted*>(key.find(me))->number, 1);
    EXPECT_TRUE(key.drop(me));
    EXPECT_FALSE(key.drop(me));
    EXPECT_EQ(ended, (std::vector{2, 1}));
}

TEST(AgentLocalKey, takes_all_values_with_it) {
    std::vector<int> ended;
    sync::Event made, go;
    auto key = std::make_unique<wait::AgentLocalKey>();
    key->add(wait::current_agent(), *new Noted(ended, 1));
    std::thread other([&] {
        key->add(wait::current_agent(), *new Noted(ended, 2));
        made.set();
        go.wait();
    });
    made.wait();
    key.reset();
    EXPECT_EQ(ended, (std::vector{1, 2}));
    go.set();
    other.join();
    EXPECT_EQ(ended.size(), 2u);
}

TEST(AgentLocalKey, index_is_used_again_without_the_old_values) {
    std::vector<int> ended;
    for (int i = 0; i < 100; ++i) {
        wait::AgentLocalKey key;
        EXPECT_EQ(key.find(wait::current_agent()), nullptr);
        key.add(wait::current_agent(), *new Noted(ended, i));
    }
    EXPECT_EQ(ended.size(), 100u);
}

TEST(AgentLocalKey, values_of_an_agent_end_newest_first_and_those_made_meanwhile_too) {
    struct Maker final : wait::AgentLocal {
        Maker(std::vector<int>& ended, wait::AgentLocalKey& key) : AgentLocal(&end), ended(ended), key(key) {}
        static void end(wait::AgentLocal& self) noexcept {
            auto* it = static_cast<Maker*>(&self);
            it->key.add(wait::current_agent(), *new Noted(it->ended, 9));
            delete it;
        }
        std::vector<int>& ended;
        wait::AgentLocalKey& key;
    };
    std::vector<int> ended;
    std::vector<std::unique_ptr<wait::AgentLocalKey>> keys;
    for (int i = 0; i < 40; ++i) keys.push_back(std::make_unique<wait::AgentLocalKey>());
    std::thread([&] {
        wait::Agent& me = wait::current_agent();
        for (int i = 0; i < 38; ++i) keys[i]->add(me, *new Noted(ended, i));
        keys[38]->add(me, *new Maker(ended, *keys[39]));
    }).join();
    ASSERT_EQ(ended.size(), 39u);
    EXPECT_EQ(ended.front(), 9);
    for (int i = 0; i < 38; ++i) EXPECT_EQ(ended[i + 1], 37 - i);
}

TEST(AgentLocalKey, each_coroutine_of_a_loop_has_its_own_and_it_ends_with_it) {
    std::vector<int> ended;
    wait::AgentLocalKey key;
    sync::Event go;
    TestLoop loop;
    for (int i = 0; i < 3; ++i)
        loop.spawn([&, i]() -> Co<> {
            EXPECT_EQ(key.find(wait::current_agent()), nullptr);
            key.add(wait::current_agent(), *new Noted(ended, i));
            if (i < 2)
                co_await go.async_wait();
            else
                go.set();
            EXPECT_EQ(static_cast<Noted*>(key.find(wait::current_agent()))->number, i);
            if (i < 2) {
                EXPECT_EQ(ended.front(), 2);
            }
        });
    loop.run();
    EXPECT_EQ(ended, (std::vector{2, 0, 1}));
    EXPECT_EQ(key.find(wait::current_agent()), nullptr) << "the loop's thread is another agent";
}

TEST(AgentLocalKey, ends_of_agents_and_of_keys_meet_without_harm) {
    atomic<int> alive{0};
    struct Counted final : wait::AgentLocal {
        explicit Counted(atomic<int>& alive) : AgentLocal(&end), alive(alive) { alive.fetch_add(1); }
        static void end(wait::AgentLocal& self) noexcept {
            auto* it = static_cast<Counted*>(&self);
            it->alive.fetch_sub(1);
            delete it;
        }
        atomic<int>& alive;
    };
    for (int round = 0; round < 200; ++round) {
        std::vector<std::unique_ptr<wait::AgentLocalKey>> keys;
        for (int i = 0; i < 8; ++i) keys.push_back(std::make_unique<wait::AgentLocalKey>());
        sync::Event made;
        std::thread agent([&] {
            for (auto& k : keys) k->add(wait::current_agent(), *new Counted(alive));
            made.set();
        });
        made.wait();
        keys.clear(); // while the thread ends
        agent.join();
        ASSERT_EQ(alive.load(), 0);
    }
}

} // namespace
} // namespace sennit

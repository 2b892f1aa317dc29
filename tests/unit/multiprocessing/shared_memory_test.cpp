#include <sennit/multiprocessing/shared_memory.hpp>

#include "support/snapshot.hpp"

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/name_guard.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <sched.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::multiprocessing::shared_memory {
namespace {

using SharedMemoryTest = sennit::testing::SnapshotTest;

std::filesystem::path file_of(const std::string& name) { return "/dev/shm/" + name; }

int code_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const OSError& e) {
        EXPECT_NE(std::string(e.what()).find("SharedMemory"), std::string::npos) << e.what();
        return e.code();
    }
    return 0;
}

// Runs `body` in a child, which ends without destructors as if it were killed, and waits for it.
void in_child(const std::function<void()>& body, int end_by = SIGKILL) {
    const pid_t child = ::fork();
    if (child == 0) {
        body();
        if (end_by) ::kill(::getpid(), end_by);
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(end_by ? WTERMSIG(status) : WEXITSTATUS(status), end_by);
}

void wait_until_gone(const std::string& name) {
    const std::int64_t limit = base::monotonic_ns() + 10'000'000'000;
    while (std::filesystem::exists(file_of(name)) && base::monotonic_ns() < limit) ::sched_yield();
    EXPECT_FALSE(std::filesystem::exists(file_of(name)));
}

TEST_F(SharedMemoryTest, a_new_block_has_a_name_of_its_own_exact_bytes_all_zero_and_is_private_to_the_user) {
    SharedMemory block("", {.create = true, .size = 5000});
    EXPECT_EQ(block.name().size(), 12U);
    EXPECT_TRUE(block.name().starts_with("psm_"));
    EXPECT_EQ(block.size(), 5000U);
    for (const std::byte b : block.buf()) EXPECT_EQ(b, std::byte{0});
    EXPECT_EQ(std::filesystem::file_size(file_of(block.name())), 5000U);
    EXPECT_EQ(std::filesystem::status(file_of(block.name())).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(SharedMemoryTest, who_attaches_sees_what_the_others_write_and_has_the_same_size) {
    SharedMemory block("", {.create = true, .size = 100});
    SharedMemory same(block.name());
    SharedMemory with_slash("/" + block.name());
    EXPECT_EQ(same.size(), 100U);
    block.buf()[99] = std::byte{7};
    EXPECT_EQ(same.buf()[99], std::byte{7});
    EXPECT_EQ(with_slash.buf()[99], std::byte{7});
    EXPECT_EQ(with_slash.name(), block.name());
    in_child([&] { SharedMemory(block.name()).buf()[3] = std::byte{9}; });
    EXPECT_EQ(block.buf()[3], std::byte{9});
}

TEST_F(SharedMemoryTest, misuse_is_refused_with_a_typed_error_and_leaves_nothing) {
    SharedMemory block("", {.create = true, .size = 10});
    EXPECT_EQ(code_of([&] { SharedMemory(block.name(), {.create = true, .size = 10}); }), EEXIST);
    EXPECT_EQ(code_of([&] { SharedMemory("sennit_no_such_block"); }), ENOENT);
    EXPECT_EQ(code_of([&] { SharedMemory(std::string(256, 'x'), {.create = true, .size = 10}); }), ENAMETOOLONG);
    EXPECT_THROW(SharedMemory("", {.create = true, .size = 0}), UsageError);
    EXPECT_THROW(SharedMemory("", {.create = true, .size = -1}), UsageError);
    EXPECT_THROW(SharedMemory("", {.create = true}), UsageError);
    EXPECT_THROW(SharedMemory(""), UsageError);
    EXPECT_THROW(SharedMemory(std::string_view("a\0b", 3), {.create = true, .size = 10}), UsageError);
    EXPECT_THROW(SharedMemory("a/b"), UsageError);
    EXPECT_THROW(SharedMemory(".."), UsageError);
    EXPECT_NE(code_of([&] { SharedMemory("", {.create = true, .size = INT64_MAX}); }), 0) << "no machine has so much";
}

TEST_F(SharedMemoryTest, a_block_that_its_creator_has_not_sized_is_refused) {
    const std::string name = "sennit_empty_" + std::to_string(::getpid());
    { std::ofstream(file_of(name)); }
    EXPECT_THROW(SharedMemory{name}, InvalidStateError);
    std::filesystem::remove(file_of(name));
}

TEST_F(SharedMemoryTest, buf_is_refused_after_close_and_close_twice_is_as_once) {
    SharedMemory block("", {.create = true, .size = 10});
    block.close();
    block.close();
    EXPECT_EQ(block.size(), 10U);
    EXPECT_THROW(static_cast<void>(block.buf()), UsageError);
    EXPECT_TRUE(std::filesystem::exists(file_of(block.name())));
    EXPECT_EQ(SharedMemory(block.name()).size(), 10U);
}

TEST_F(SharedMemoryTest, unlink_takes_the_name_once_and_the_memory_stays) {
    SharedMemory block("", {.create = true, .size = 10});
    SharedMemory same(block.name());
    same.unlink(); // as in Python anybody may, who says so
    EXPECT_FALSE(std::filesystem::exists(file_of(block.name())));
    EXPECT_EQ(code_of([&] { block.unlink(); }), ENOENT);
    EXPECT_EQ(code_of([&] { same.unlink(); }), ENOENT);
    block.buf()[0] = std::byte{1};
    EXPECT_EQ(same.buf()[0], std::byte{1});
}

TEST_F(SharedMemoryTest, attaching_and_leaving_never_unlinks_however_it_ends) {
    SharedMemory block("", {.create = true, .size = 10});
    { const SharedMemory same(block.name()); }
    in_child([&] { const SharedMemory same(block.name()); }, 0);
    in_child([&] { static SharedMemory same(block.name()); });
    in_child([&] { SharedMemory mine = std::move(block); }, 0); // the owner's copy, destroyed in the child of a fork
    EXPECT_TRUE(std::filesystem::exists(file_of(block.name())));
}

TEST_F(SharedMemoryTest, the_name_goes_with_its_owner_and_only_if_it_is_still_his) {
    std::string name;
    {
        const SharedMemory block("", {.create = true, .size = 10});
        name = block.name();
    }
    EXPECT_FALSE(std::filesystem::exists(file_of(name)));
    {
        SharedMemory block(name, {.create = true, .size = 10});
        std::filesystem::remove(file_of(name)); // as a foreign resource tracker does
        const SharedMemory others(name, {.create = true, .size = 20, .track = false});
        EXPECT_EQ(code_of([&] { block.unlink(); }), ENOENT);
    }
    EXPECT_TRUE(std::filesystem::exists(file_of(name)));
    SharedMemory(name).unlink();
}

TEST_F(SharedMemoryTest, the_name_goes_with_a_killed_owner_and_stays_if_it_is_not_tracked) {
    const std::string mark = "sennit_" + std::to_string(::getpid());
    SharedMemory ours(mark + "_ours", {.create = true, .size = 10});
    in_child([&] {
        static SharedMemory tracked(mark + "_tracked", {.create = true, .size = 10});
        static SharedMemory untracked(mark + "_untracked", {.create = true, .size = 10, .track = false});
        static SharedMemory attached(mark + "_ours");
    });
    wait_until_gone(mark + "_tracked");
    EXPECT_TRUE(std::filesystem::exists(file_of(mark + "_untracked")));
    EXPECT_TRUE(std::filesystem::exists(file_of(mark + "_ours")));
    SharedMemory(mark + "_untracked").unlink();
}

TEST_F(SharedMemoryTest, moving_moves_the_ownership) {
    SharedMemory block("", {.create = true, .size = 10});
    const std::string first = block.name();
    SharedMemory moved = std::move(block);
    moved.buf()[0] = std::byte{1};
    EXPECT_THROW(static_cast<void>(block.buf()), UsageError); // NOLINT(bugprone-use-after-move)
    SharedMemory other("", {.create = true, .size = 20});
    const std::string second = other.name();
    other = std::move(moved);
    EXPECT_FALSE(std::filesystem::exists(file_of(second))) << "what it held went";
    EXPECT_EQ(other.name(), first);
    EXPECT_EQ(other.buf()[0], std::byte{1});
    SharedMemory& self = other;
    other = std::move(self);
    EXPECT_EQ(other.buf().size(), 10U);
}

TEST_F(SharedMemoryTest, the_guard_is_no_child_that_somebody_s_wait_could_see_and_holds_no_descriptor) {
    in_child(
        [] { // which has no children, whatever the tests before have left in this process
            int ends[2];
            if (::pipe(ends) != 0) ::_exit(1);
            const SharedMemory block("", {.create = true, .size = 10});
            if (::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) ::_exit(2);
            ::close(ends[1]);
            char c = 0;
            if (::read(ends[0], &c, 1) != 0) ::_exit(3); // the guard keeps the other end
        },
        0);
}

} // namespace
} // namespace sennit::multiprocessing::shared_memory

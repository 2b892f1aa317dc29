// What a process holds: counted before and after a test, it must be the same.
#pragma once

#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sennit::testing {

/// A count of everything that can leak, with the names of what there is.
///
/// Counted: open files, threads, children (zombies too; not the one that the zygote has made ahead), mappings of files and segments (a difference of up to 16 is
/// none; under a sanitizer they are not compared), files in /dev/shm and the temporary folder that have this process's pid in their
/// name, coroutine frames of tests, agents, agents that wait.
class Snapshot {
  public:
    static Snapshot take();

    /// What is different, a line each: `+ file 7: pipe:[1234]`. Empty when nothing is.
    [[nodiscard]] static std::string difference(const Snapshot& before, const Snapshot& after);

    /// Adds a number to every later snapshot, e.g. stacks in use. `name` is what the difference calls it.
    static void add_counter(std::string name, std::function<std::int64_t()> count);

  private:
    std::map<std::string, std::string> items_;     // what it is -> more about it
    std::map<std::string, std::int64_t> counters_; // compared exactly
    std::int64_t mappings_ = 0;
};

/// Takes a snapshot now; `check()`, or the end of the scope, fails the test if anything is different then. The kernel takes a
/// thread or a child off its list a moment after it was joined, so it looks again for up to 2 s.
class NothingLeaks {
  public:
    NothingLeaks() : before_(Snapshot::take()) {}
    ~NothingLeaks() {
        if (!checked_) check();
    }
    NothingLeaks(const NothingLeaks&) = delete;
    NothingLeaks& operator=(const NothingLeaks&) = delete;
    void check();
    /// The difference that stays; empty: none.
    [[nodiscard]] std::string settled_difference() const;

  private:
    Snapshot before_;
    bool checked_ = false;
};

/// A fixture around whose tests nothing leaks.
class SnapshotTest : public ::testing::Test {
  protected:
    void SetUp() override { leaks_ = std::make_unique<NothingLeaks>(); }
    void TearDown() override { leaks_.reset(); }

  private:
    std::unique_ptr<NothingLeaks> leaks_;
};

} // namespace sennit::testing

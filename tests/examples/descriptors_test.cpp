// The descriptors of all examples that this program's tests start: what one leaves open when it ends fails the test. See
// tests/preload/open_at_exit.cpp, which is not there under a sanitizer.
#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace sennit {
namespace {

struct Left {
    std::string program;
    int pid;
    std::string what; // pipe:[1], anon_inode:[pidfd], …
};

class Report {
  public:
    static Report& get() {
        static Report one;
        return one;
    }
    [[nodiscard]] bool is_on() const noexcept { return file_ >= 0; }
    void begin() const {
        if (is_on()) static_cast<void>(::ftruncate(file_, 0) == 0);
    }
    [[nodiscard]] std::vector<Left> take() const {
        std::vector<Left> all;
        std::FILE* const from = ::fdopen(::dup(file_), "r");
        std::rewind(from);
        char program[200], what[300];
        int pid = 0;
        while (std::fscanf(from, "%199s %d: %*d -> %299[^\n]", program, &pid, what) == 3)
            all.push_back({program, pid, what});
        std::fclose(from);
        begin();
        return all;
    }

  private:
    Report() {
        const std::string library = testing::bin_dir() + "/programs/libopen_at_exit.so";
        if (!std::filesystem::exists(library)) return;
        file_ = ::memfd_create("open at exit", MFD_CLOEXEC);
        ::setenv("SENNIT_OPEN_AT_EXIT",
                 ("/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file_)).c_str(), 1);
        ::setenv("LD_PRELOAD", library.c_str(), 1);
    }
    int file_ = -1;
};

// What is open on purpose until the kernel closes it: a program's lifeline, by which its children know that it has ended (both ends
// in the program, one in its children), and the zygote's holds on the children that it has made, whose groups it ends.
bool is_to_stay(const Left& one, const std::map<std::string, int>& ends_of_pipe, const std::set<int>& parents) {
    const auto pipe = ends_of_pipe.find(one.program + one.what);
    return pipe != ends_of_pipe.end()
               ? pipe->second >= 2
               : one.what == "anon_inode:[pidfd]" && !parents.empty() && parents.count(one.pid) == 0;
}

class Listener final : public ::testing::EmptyTestEventListener {
    void OnTestStart(const ::testing::TestInfo&) override { Report::get().begin(); }
    void OnTestEnd(const ::testing::TestInfo& test) override {
        if (!Report::get().is_on()) return;
        if (std::string(test.test_suite_name()) == "ExampleDescriptors") return; // what it shows is its own
        const std::vector<Left> all = Report::get().take();
        std::map<std::string, int> ends; // of a pipe, in one process
        std::map<std::pair<int, std::string>, int> in_process;
        std::set<int> parents;
        for (const Left& one : all)
            if (one.what.starts_with("pipe:")) {
                const int n = ++in_process[{one.pid, one.what}];
                int& most = ends[one.program + one.what];
                most = std::max(most, n);
                if (n >= 2) parents.insert(one.pid);
            }
        for (const Left& one : all)
            if (std::filesystem::exists(testing::bin_dir() + "/examples/" + one.program) &&
                !is_to_stay(one, ends, parents))
                ADD_FAILURE() << one.program << ", process " << one.pid << ", left " << one.what << " open";
    }
};

[[maybe_unused]] const bool listening = [] {
    Report::get();
    ::testing::UnitTest::GetInstance()->listeners().Append(new Listener);
    return true;
}();

TEST(ExampleDescriptors, that_stay_open_are_told) {
    if (!Report::get().is_on()) GTEST_SKIP() << "a sanitizer's library must come first";
    static_cast<void>(Report::get().take());
    subprocess::check_call({"/bin/bash", "-c", "exec 77</dev/null; exit 0"});
    bool told = false;
    for (const Left& one : Report::get().take()) told |= one.program == "bash" && one.what == "/dev/null";
    EXPECT_TRUE(told);
}

} // namespace
} // namespace sennit

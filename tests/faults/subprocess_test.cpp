// F17 and F38 for subprocess. SENNIT_FAULT_TIER=1, 2, 3 sets their size; a failure prints the seed, SENNIT_SEED replays it.
#include <sennit/subprocess.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

int by_tier(int first, int second, int third) {
    const char* tier = std::getenv("SENNIT_FAULT_TIER");
    if (tier == nullptr) return first;
    return *tier == '3' ? third : *tier == '2' ? second : first;
}

int open_descriptors() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return n;
}

// F17: the descriptor limit is what is in use and k more. Each call succeeds or throws OSError(EMFILE), leaves no
// descriptor and no child, and works once there is room.
TEST(SubprocessFaults, a_descriptor_limit_is_refused_cleanly_at_every_k) {
    const std::vector<std::pair<const char*, std::function<bool()>>> calls{
        {"call", [] { return call({"true"}) == 0; }},
        {"input", [] { return run({"cat"}, {.input = "x", .capture_output = true}).std_out == "x"; }},
        {"devnull",
         [] { return run({"true"}, {.stdin_ = DEVNULL, .stdout_ = DEVNULL, .stderr_ = DEVNULL}).returncode == 0; }},
        {"shell", [] { return getoutput("echo x") == "x"; }},
        {"environment",
         [] {
             return check_output({"env"}, {.env = {{"PATH", "/usr/bin:/bin"}}}) == "PATH=/usr/bin:/bin\n";
         }},
        {"all pipes",
         [] {
             Popen child({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE, .pipesize = 4096});
             return child.communicate("x").std_out == "x";
         }},
        {"missing program",
         [] {
             try {
                 run({"/no/such/program"}, {.capture_output = true});
             } catch (const OSError& e) {
                 if (e.code() == ENOENT) return true;
                 throw;
             }
             return false;
         }},
    };
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(call({"true"}), 0); // what is made once is made now; UBSan opens a pipe when it first meets a type
    EXPECT_THROW(call({"/no/such/program"}), OSError);
    const int used = open_descriptors();
    int refused = 0;
    for (const auto& [name, one] : calls) {
        for (int k = 0; k <= by_tier(12, 40, 40); ++k) {
            rlimit tight = before;
            {
                const os::Fd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
                tight.rlim_cur = static_cast<rlim_t>(lowest.get() + k);
            }
            ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
            bool right = false;
            try {
                right = one();
            } catch (const OSError& e) {
                right = e.code() == EMFILE || e.code() == EINVAL; // EINVAL: F_DUPFD from a number above the limit
                ++refused;
            }
            ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
            EXPECT_TRUE(right) << name << ", k = " << k;
            EXPECT_EQ(open_descriptors(), used) << name << ", k = " << k;
            EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << name << ", k = " << k;
        }
        EXPECT_TRUE(one()) << name;
    }
    EXPECT_GT(refused, 0);
}

// F38: pipes of every size, children that read and write in odd pieces, deadlines that cut in anywhere.
TEST(SubprocessFaults, communicate_is_byte_exact_through_short_reads_and_writes) {
    const char* replay = std::getenv("SENNIT_SEED");
    const int rounds = replay != nullptr ? 1 : by_tier(3, 20, 200);
    for (int round = 0; round < rounds; ++round) {
        const auto seed = replay != nullptr ? static_cast<unsigned>(std::atoi(replay)) : std::random_device{}();
        SCOPED_TRACE("seed " + std::to_string(seed) + " (SENNIT_SEED replays it)");
        std::mt19937 random(seed);
        for (int child_number = 0; child_number < 5; ++child_number) {
            std::string input(random() % 400'000, '\0');
            for (char& c : input) c = static_cast<char>(random());
            PopenOptions options{.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE};
            options.pipesize = 4096 << (random() % 5);
            const std::string piece = std::to_string(1 + random() % 5000);
            Popen child({"sh", "-c", "dd bs=" + piece + " 2>/dev/null | tee /dev/stderr"}, options);
            Popen::Output output;
            std::string given = input;
            int time_outs = 0;
            for (bool done = false; !done;) {
                const auto limit = std::chrono::microseconds(random() % 2000);
                try {
                    output = time_outs < 100 ? child.communicate(std::exchange(given, {}), limit) : child.communicate();
                    done = true;
                } catch (const TimeoutExpired& e) {
                    ++time_outs;
                    ASSERT_EQ(input.compare(0, e.output().size(), e.output()), 0);
                    ASSERT_EQ(input.compare(0, e.std_err().size(), e.std_err()), 0);
                }
            }
            ASSERT_TRUE(output.std_out == input)
                << output.std_out.size() << " of " << input.size() << " after " << time_outs;
            ASSERT_TRUE(output.std_err == input)
                << output.std_err.size() << " of " << input.size() << " after " << time_outs;
            ASSERT_EQ(child.wait(), 0);
        }
    }
}

} // namespace
} // namespace sennit::subprocess

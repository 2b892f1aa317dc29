// F17 and F38 for subprocess. SENNIT_FAULT_TIER=1, 2, 3 sets their size; a failure prints the seed, SENNIT_SEED replays it.
#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/shim.hpp"
#include "support/tier.hpp"

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
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

int open_descriptors() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return n;
}

// F17: the descriptor limit is what is in use and k more. Each call succeeds or throws OSError(EMFILE), leaves no
// descriptor and no child, and works once there is room.
TEST(F17Descriptors, are_refused_cleanly_at_every_limit) {
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
    testing::FaultRow row("F17");
    for (const auto& [name, one] : calls) {
        for (int k = 0; k <= testing::by_tier(12, 40, 40); ++k) {
            rlimit tight = before;
            {
                const os::Fd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
                tight.rlim_cur = static_cast<rlim_t>(lowest.get() + k);
            }
            testing::FaultRow::Trial trial(row);
            ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
            bool right = false;
            try {
                right = one();
            } catch (const OSError& e) {
                right = e.code() == EMFILE || e.code() == EINVAL; // EINVAL: F_DUPFD from a number above the limit
                trial.injected = 1;
            }
            ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
            EXPECT_TRUE(right) << name << ", k = " << k;
            EXPECT_EQ(open_descriptors(), used) << name << ", k = " << k;
            EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << name << ", k = " << k;
        }
        EXPECT_TRUE(one()) << name;
    }
}

// F38: pipes of every size, children that read and write in odd pieces, deadlines that cut in anywhere; and of our own calls
// 30 % are interrupted, told to come again, or move less than asked for.
TEST(F38ShortIo, leaves_communicate_byte_exact) {
    testing::FaultRow row("F38");
    for (std::int64_t round = 0; round < testing::by_tier(3, 20, 200); ++round) {
        testing::Random random(testing::seed() + static_cast<std::uint64_t>(round));
        for (int child_number = 0; child_number < 5; ++child_number) {
            testing::FaultRow::Trial trial(row);
            std::string input(random() % 400'000, '\0');
            for (char& c : input) c = static_cast<char>(random());
            PopenOptions options{.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE};
            options.pipesize = 4096 << (random() % 5);
            const std::string piece = std::to_string(1 + random() % 5000);
            Popen child({"sh", "-c", "dd bs=" + piece + " 2>/dev/null | tee /dev/stderr"}, options);
            testing::Shim shim;
            shim.disturb(30);
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
            trial.injected = shim.injected();
        }
    }
}

} // namespace
} // namespace sennit::subprocess

// F38 for subprocess. SENNIT_FAULT_TIER=1, 2, 3 sets their size; a failure prints the seed, SENNIT_SEED replays it.
#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/shim.hpp"
#include "support/tier.hpp"

#include <sennit/subprocess.hpp>

#include <chrono>
#include <cstdint>
#include <gtest/gtest.h>
#include <string>
#include <utility>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

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

// Fuzz target: the job log from which `sennit map --resume` goes on, as anybody may have left it. It is read to its end or refused
// with a sentence; of what is read, each job is done as its last line says, and a torn last line is cut off, no more.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include "tools/common/quoting.hpp"
#include "tools/map/job_log.hpp"

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace {

using namespace sennit::tools;

void must(bool holds) {
    if (!holds) std::abort();
}

int one_input(const std::uint8_t* data, std::size_t size) {
    static const int file = ::memfd_create("log", MFD_CLOEXEC);
    must(file >= 0 && ::ftruncate(file, 0) == 0 && ::pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try {
        JobLog log("/proc/self/fd/" + std::to_string(file), true);
        Resume resume(true);
        std::map<std::uint64_t, std::pair<std::string, bool>> last;
        std::size_t lines = 0;
        log.read([&](const JobLog::Line& line) {
            must(line.sequence > 0 && line.command.find('\n') == std::string_view::npos);
            last[line.sequence] = {std::string(line.command), line.failed};
            resume.add(line);
            ++lines;
        });
        resume.sort();
        must(resume.jobs() == last.size());
        for (const auto& [sequence, what] : last) must(resume.is_done(sequence, &what.first) == !what.second);
        // Whole lines stay as they were, and the file ends with one.
        struct stat info {};
        must(::fstat(file, &info) == 0 && info.st_size > 0);
        std::string now(static_cast<std::size_t>(info.st_size), '\0');
        must(::pread(file, now.data(), now.size(), 0) == info.st_size && now.back() == '\n');
        const std::size_t whole = text.rfind('\n') + 1; // 0: none
        must(whole > 0 ? now == text.substr(0, whole) : now.starts_with(text));
        must(static_cast<std::size_t>(std::count(now.begin(), now.end(), '\n')) == lines + 1);
    } catch (const sennit::UsageError& error) {
        must(is_utf8(error.what()));
        std::string now(size, '\0');
        must(::pread(file, now.data(), size, 0) == static_cast<ssize_t>(size) &&
             now == text); // what is none is left alone
    }
    return 0;
}

} // namespace

#ifdef SENNIT_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { return one_input(data, size); }
#else
#include "support/seed.hpp"
#include "support/tier.hpp"

#include <gtest/gtest.h>
#include <random>

namespace sennit::testing {
namespace {

TEST(F40Fuzz, any_bytes_as_a_job_log_are_read_or_refused) {
    static constexpr std::string_view pieces[] = {"1\t:\t1700000000.000\t     0.001\t0\t3\t0\t0\techo a\n",
                                                  "2\t:\t1700000000.000\t     0.001\t0\t3\t1\t0\techo b\n",
                                                  "2\t:\t1700000000.000\t     0.001\t0\t3\t0\t9\techo c\n",
                                                  "18446744073709551615\t:\t0\t0\t0\t0\t0\t0\tx\n",
                                                  "18446744073709551616\t:\t0\t0\t0\t0\t0\t0\tx\n",
                                                  "0\t:\t0\t0\t0\t0\t0\t0\tx\n",
                                                  "3\t:\t0\t0\t0\t0\t-1\t0\t\n",
                                                  "3\t:\t0\t0\t0\t0\t99999999999\t0\tx\n",
                                                  "4\t:\t0\t0",
                                                  "\t",
                                                  "\n",
                                                  "-5",
                                                  "\xff\xfe",
                                                  "5\t:\t1.000\t0.1\t0\t0\t0\t0\ta\tb\tc\n"};
    std::mt19937_64 random(seed());
    const std::int64_t runs = by_tier(sanitized() ? 5'000 : 30'000, 1'000'000, 10'000'000);
    std::string input;
    for (std::int64_t run = 0; run < runs; ++run) {
        input.clear();
        if (random() % 8 != 0) input = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
        for (auto n = random() % 6; n > 0; --n) input += pieces[random() % std::size(pieces)];
        for (auto changes = random() % 8 == 0 ? random() % 3 : 0; changes > 0 && !input.empty(); --changes)
            input[random() % input.size()] = static_cast<char>(random());
        if (random() % 6 == 0) input.resize(random() % (input.size() + 1));
        one_input(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    }
}

} // namespace
} // namespace sennit::testing
#endif

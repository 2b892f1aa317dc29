#include "tools/map/job_log.hpp"

#include <sennit/base/errors.hpp>

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

namespace sennit::tools {
namespace {

constexpr const char* header = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

class JobLogFile : public testing::Test {
  protected:
    JobLogFile() { ::close(::mkstemp(path_)); }
    ~JobLogFile() override { ::unlink(path_); }
    void put(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
    std::string get() {
        std::ostringstream text;
        text << std::ifstream(path_, std::ios::binary).rdbuf();
        return text.str();
    }
    static std::string line(int sequence, int exit_code, const std::string& command) {
        JobRecord r;
        r.sequence = static_cast<std::uint64_t>(sequence);
        r.exit_code = exit_code;
        r.command = command;
        return JobLog::format(r);
    }
    std::size_t read(JobLog& log) {
        std::size_t lines = 0;
        log.read([&](const JobLog::Line&) { ++lines; });
        return lines;
    }
    char path_[32] = "/tmp/sennit-joblog-XXXXXX";
};

TEST_F(JobLogFile, has_the_columns_of_GNU_parallel) {
    JobRecord r;
    r.sequence = 12;
    r.start_wall_ms = 1795234589'621;
    r.runtime_ns = 2'128'400'000;
    r.out_bytes = 4;
    r.exit_code = -1;
    r.signal = 15;
    r.command = "sleep 5";
    EXPECT_EQ(JobLog::format(r), "12\t:\t1795234589.621\t     2.128\t0\t4\t-1\t15\tsleep 5\n");
}
TEST_F(JobLogFile, begins_anew_or_goes_on) {
    put("old");
    {
        JobLog log(path_, false);
        log.write(line(1, 0, "a"));
    }
    EXPECT_EQ(get(), header + line(1, 0, "a"));
    {
        JobLog log(path_, true);
        EXPECT_EQ(read(log), 1U);
        log.write(line(2, 0, "b"));
    }
    EXPECT_EQ(get(), header + line(1, 0, "a") + line(2, 0, "b"));
}
TEST_F(JobLogFile, loses_a_torn_last_line_wherever_it_was_torn) {
    const std::string whole = header + line(1, 0, "a"), torn = line(2, 0, "b");
    for (std::size_t n = 1; n < torn.size(); ++n) {
        put(whole + torn.substr(0, n));
        JobLog log(path_, true);
        EXPECT_EQ(read(log), 1U);
        EXPECT_EQ(get(), whole);
    }
    put(std::string(header).substr(0, 9));
    JobLog log(path_, true);
    EXPECT_EQ(read(log), 0U);
    EXPECT_EQ(get(), header);
}
TEST_F(JobLogFile, refuses_what_is_no_log) {
    for (const std::string& text : {std::string("hello\n"), std::string("one line, and no end of it"),
                                    header + std::string("1\tx\n"), header + std::string("\n")}) {
        put(text);
        JobLog log(path_, true);
        EXPECT_THROW(read(log), UsageError);
        EXPECT_EQ(get(), text);
    }
}
TEST_F(JobLogFile, says_when_the_disk_is_full) {
    try {
        JobLog log("/dev/full", false);
        FAIL() << "the header went to a full device";
    } catch (const OSError& error) {
        EXPECT_EQ(error.code(), ENOSPC);
    }
}

TEST(Resume, skips_what_is_done_and_runs_again_what_failed_if_asked) {
    for (const bool failed_too : {false, true}) {
        Resume resume(failed_too);
        resume.add({2, true, "b"});
        resume.add({1, false, "a"});
        resume.add({3, true, "c"});
        resume.add({3, false, "c"}); // a later run did it
        resume.sort();
        const std::string a = "a", b = "b", c = "c", d = "d";
        EXPECT_TRUE(resume.is_done(1, &a));
        EXPECT_EQ(resume.is_done(2, &b), !failed_too);
        EXPECT_TRUE(resume.is_done(3, &c));
        EXPECT_FALSE(resume.is_done(4, &d));
    }
}
TEST(Resume, refuses_another_command_for_a_job_that_is_done) {
    Resume resume(false);
    resume.add({1, false, "gzip a"});
    resume.sort();
    const std::string other = "gzip b";
    EXPECT_THROW(resume.is_done(1, &other), UsageError);
    EXPECT_TRUE(resume.is_done(1, nullptr));
}

} // namespace
} // namespace sennit::tools

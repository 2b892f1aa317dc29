#include "tools/map/kept_output.hpp"

#include "tools/map/job_log.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

namespace sennit::tools {
namespace {

class KeptOutputFile : public testing::Test {
  protected:
    KeptOutputFile() : folder_(::mkdtemp(name_)), path_(folder_ + "/log.kept") {}
    ~KeptOutputFile() override { std::filesystem::remove_all(folder_); }

    static JobRecord record(std::uint64_t sequence, const std::string& command) {
        JobRecord r;
        r.sequence = sequence;
        r.slot = 3;
        r.attempt = 2;
        r.start_wall_ms = 1'795'237'542'657;
        r.runtime_ns = 123'456'789;
        r.exit_code = -1;
        r.signal = 15;
        r.timed_out = true;
        r.user_ns = 7;
        r.out_bytes = 5;
        r.command = command;
        return r;
    }
    Capture capture(const std::string& text) {
        Capture made(spool_);
        made.append(text);
        return made;
    }
    void keep(KeptOutput& kept, std::uint64_t sequence, const std::string& out, const std::string& err) {
        kept.add(record(sequence, "job " + std::to_string(sequence)), capture(out), capture(err));
    }
    // What is kept of a job: "OUT|ERR", or "no".
    std::string kept_of(const KeptOutput& kept, std::uint64_t sequence) {
        const std::string command = "job " + std::to_string(sequence);
        const KeptOutput::Entry* const entry = kept.find(sequence, &command);
        if (entry == nullptr) return "no";
        Capture out(spool_), err(spool_);
        kept.load(*entry, out, err);
        const auto text = [](const Capture& from) {
            Capture::Reader reader(from);
            std::string all;
            char piece[5000];
            while (const std::size_t n = reader.read(piece, sizeof piece)) all.append(piece, n);
            return all;
        };
        return text(out) + "|" + text(err);
    }
    // What is in the file now: as a `map` that is killed leaves it.
    std::string content() {
        std::ostringstream text;
        text << std::ifstream(path_, std::ios::binary).rdbuf();
        return text.str();
    }
    void put(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
    [[nodiscard]] bool exists() const { return std::filesystem::exists(path_); }

    char name_[32] = "/tmp/sennit-kept-XXXXXX";
    std::string folder_, path_;
    Spool spool_{"/tmp"};
};

TEST_F(KeptOutputFile, gives_back_what_a_killed_run_kept_byte_for_byte) {
    const std::string much(200'000, '\n'), odd("a\0\xff 1 2 3\n", 10);
    {
        KeptOutput kept(path_, false);
        keep(kept, 2, odd, "");
        keep(kept, 3, much, odd);
        keep(kept, 7, "", "e");
    }
    KeptOutput kept(path_, true);
    EXPECT_EQ(kept_of(kept, 1), "no");
    EXPECT_EQ(kept_of(kept, 2), odd + "|");
    EXPECT_EQ(kept_of(kept, 3), much + "|" + odd);
    EXPECT_EQ(kept_of(kept, 7), "|e");
    const std::string command = "job 7";
    const JobRecord& r = kept.find(7, &command)->record;
    JobRecord expected = record(7, command);
    expected.command = {};
    EXPECT_EQ(JobLog::format(r), JobLog::format(expected));
    EXPECT_TRUE(r.timed_out);
    EXPECT_EQ(r.attempt, 2U);
}
TEST_F(KeptOutputFile, has_no_job_that_is_another_command_now) {
    KeptOutput kept(path_, false);
    keep(kept, 2, "x", "");
    const std::string other = "job 22";
    EXPECT_EQ(kept.find(2, &other), nullptr);
    EXPECT_NE(kept.find(2, nullptr), nullptr);
}
TEST_F(KeptOutputFile, holds_all_but_the_torn_last_one_wherever_it_was_cut) {
    {
        KeptOutput kept(path_, false);
        keep(kept, 2, "two", "II");
        keep(kept, 3, "three", "III");
    }
    const std::string whole = content();
    const std::size_t first = whole.find("twoII\n") + 6;
    for (std::size_t length = 0; length < whole.size(); ++length) {
        put(whole.substr(0, length));
        KeptOutput kept(path_, true);
        EXPECT_EQ(kept_of(kept, 2), length >= first ? "two|II" : "no") << length;
        EXPECT_EQ(kept_of(kept, 3), "no") << length;
        keep(kept, 4, "four", "");
        KeptOutput next(path_, true);
        EXPECT_EQ(kept_of(next, 4), "four|") << length;
    }
}
TEST_F(KeptOutputFile, goes_when_nothing_waits_in_it_and_not_before) {
    {
        KeptOutput kept(path_, false);
        EXPECT_FALSE(exists());
        keep(kept, 2, "x", "");
        keep(kept, 3, "y", "");
        kept.drop(2);
    }
    EXPECT_TRUE(exists());
    {
        KeptOutput kept(path_, true);
        EXPECT_EQ(kept_of(kept, 3), "y|");
        kept.drop(2);
        kept.drop(3);
        EXPECT_EQ(kept_of(kept, 3), "no");
    }
    EXPECT_FALSE(exists());
    put("left by another run");
    const KeptOutput kept(path_, false);
    EXPECT_FALSE(exists());
}
TEST_F(KeptOutputFile, does_not_grow_while_all_that_is_in_it_has_been_printed) {
    KeptOutput kept(path_, false);
    const std::string text(10'000, 'x');
    for (std::uint64_t n = 1; n < 1'000; ++n) {
        keep(kept, n, text, "");
        kept.drop(n);
    }
    EXPECT_LT(content().size(), 1'200'000U);
}

} // namespace
} // namespace sennit::tools

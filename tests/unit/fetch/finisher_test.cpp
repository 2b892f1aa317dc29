#include "tools/fetch/finisher.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

namespace sennit::tools {
namespace {

class FinisherTest : public ::testing::Test {
  protected:
    FinisherTest() : path_(::mkdtemp(name_)), folder_(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
    ~FinisherTest() override { std::filesystem::remove_all(path_); }
    [[nodiscard]] std::string content(const std::string& name) const {
        std::ostringstream text;
        text << std::ifstream(path_ + "/" + name, std::ios::binary).rdbuf();
        return text.str();
    }
    [[nodiscard]] Finisher::Job nameless(std::uint64_t number, std::string name, const std::string& text,
                                         int flags = 0) const {
        Finisher::Job job;
        job.number = number;
        job.folder = folder_.get();
        job.fd = os::Fd(::openat(folder_.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC | flags, 0666));
        if (job.fd) {
            EXPECT_EQ(::write(job.fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
        }
        job.name = std::move(name);
        return job;
    }
    static std::vector<Finisher::Result> finish(std::vector<Finisher::Job> jobs) {
        std::vector<Finisher::Result> all;
        const std::size_t wanted = jobs.size();
        loop::EventLoop loop;
        Finisher finisher(loop, [&](std::vector<Finisher::Result>& results) {
            all.insert(all.end(), results.begin(), results.end());
            if (all.size() == wanted) loop.stop();
        });
        finisher.put(std::move(jobs));
        loop.run_forever();
        return all;
    }

    char name_[32] = "/tmp/sennit-finish-XXXXXX";
    std::string path_;
    os::Fd folder_;
    const std::string sha256_of_abc_ = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
};

TEST_F(FinisherTest, names_what_has_no_name_and_replaces_nothing) {
    std::ofstream(path_ + "/there") << "mine";
    for (const int others : {0, 20}) { // few are synced one by one
        std::vector<Finisher::Job> jobs;
        const std::string n = std::to_string(others);
        jobs.push_back(nameless(0, "a" + n, "abc"));
        if (!jobs[0].fd) GTEST_SKIP() << "no files without a name here";
        jobs[0].sha256 = sha256_of_abc_;
        jobs.push_back(nameless(1, "there", "new"));
        jobs.push_back(nameless(2, "b" + n, "abd"));
        jobs[2].sha256 = sha256_of_abc_;
        for (int i = 0; i < others; ++i) jobs.push_back(nameless(3, "other" + std::to_string(i), ""));
        const std::vector<Finisher::Result> results = finish(std::move(jobs));
        EXPECT_EQ(results[0].outcome, Finisher::Outcome::done);
        EXPECT_EQ(results[0].sha256, sha256_of_abc_);
        EXPECT_EQ(content("a" + n), "abc");
        EXPECT_EQ(results[1].outcome, Finisher::Outcome::exists);
        EXPECT_EQ(content("there"), "mine");
        EXPECT_EQ(results[2].outcome, Finisher::Outcome::wrong_hash);
        EXPECT_FALSE(std::filesystem::exists(path_ + "/b" + n));
    }
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path_), {}), 23);
}
TEST_F(FinisherTest, tells_of_a_file_that_cannot_get_a_name) {
    std::vector<Finisher::Job> jobs;
    jobs.push_back(nameless(0, "x", "abc", O_EXCL)); // which says that it never gets one
    if (!jobs[0].fd) GTEST_SKIP() << "no files without a name here";
    EXPECT_EQ(finish(std::move(jobs))[0].outcome, Finisher::Outcome::stays_nameless);
    EXPECT_FALSE(std::filesystem::exists(path_ + "/x"));
}
TEST_F(FinisherTest, hashes_one_file_after_the_other) {
    std::vector<Finisher::Job> jobs;
    for (const std::size_t size : {0UL, 1UL, 3UL, 262'144UL, 700'000UL}) {
        jobs.push_back(nameless(size, "f" + std::to_string(size), std::string(size, 'a')));
        if (!jobs[0].fd) GTEST_SKIP() << "no files without a name here";
        jobs.back().sha256 = "?";
    }
    const std::vector<Finisher::Result> results = finish(std::move(jobs));
    EXPECT_EQ(results[0].sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(results[1].sha256, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    EXPECT_EQ(results[2].sha256, "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0");
    EXPECT_EQ(results[3].sha256, "dd3dde87623d9a6b354c68c943d189c89c63652d945e7bbdf0986cae91a49521");
    EXPECT_EQ(results[4].sha256, "1078dcd253eaf0e02624c5aa9b835a8d45ac0fd5c9856a1888be3f4b7554de4d");
}

} // namespace
} // namespace sennit::tools

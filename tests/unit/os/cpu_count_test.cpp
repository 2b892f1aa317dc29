#include <sennit/os/cpu_count.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace sennit::os {
namespace {

class CpuCount : public testing::Test {
  protected:
    CpuCount() { root_ = ::mkdtemp(name_); }
    ~CpuCount() override { std::filesystem::remove_all(root_); }
    void file(const std::string& path, const std::string& text) {
        std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
        std::ofstream(root_ + path, std::ios::binary) << text;
    }
    void v2(const std::string& path) {
        file("/proc/self/cgroup", "0::" + path + "\n");
        file("/proc/self/mountinfo", "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    }
    char name_[32] = "/tmp/sennit-cgroup-XXXXXX";
    std::string root_;
};

TEST_F(CpuCount, is_at_least_one_and_at_most_what_the_machine_has) {
    EXPECT_GE(usable_cpu_count(), 1);
    EXPECT_LE(usable_cpu_count(), 1 << 18);
}
TEST_F(CpuCount, has_no_limit_where_there_are_no_control_groups) { EXPECT_EQ(cgroup_cpu_limit(root_), 0); }
TEST_F(CpuCount, rounds_a_quota_up) {
    v2("/a");
    file("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    EXPECT_EQ(cgroup_cpu_limit(root_), 2);
    file("/sys/fs/cgroup/a/cpu.max", "1000 100000\n");
    EXPECT_EQ(cgroup_cpu_limit(root_), 1);
}
TEST_F(CpuCount, takes_the_smallest_quota_of_all_groups_above) {
    v2("/a/b");
    file("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    file("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    EXPECT_EQ(cgroup_cpu_limit(root_), 3);
}
TEST_F(CpuCount, knows_version_1_and_a_mount_that_shows_a_part) {
    file("/proc/self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n");
    file("/proc/self/mountinfo", "31 1 0:27 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
    file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(cgroup_cpu_limit(root_), 3);
    file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    EXPECT_EQ(cgroup_cpu_limit(root_), 0);
}
TEST_F(CpuCount, takes_odd_huge_and_broken_files_for_no_limit) {
    v2("/a");
    const std::string huge(200'000, '7'), zeros("\0\0 \0", 4);
    for (const std::string_view text :
         {std::string_view("max 100000\n"), std::string_view(""), std::string_view("x"), std::string_view("-5 100000"),
          std::string_view("5 0"), std::string_view("9223372036854775807 1"),
          std::string_view("99999999999999999999 100000"), std::string_view(huge), std::string_view("100000"),
          std::string_view("100000 x"), std::string_view(zeros)}) {
        file("/sys/fs/cgroup/a/cpu.max", std::string(text));
        EXPECT_EQ(cgroup_cpu_limit(root_), 0) << text.substr(0, 40);
    }
    std::string odd(100'000, ':');
    odd.insert(0, "0::/../../../../etc\n::\n:\nx\n");
    file("/proc/self/cgroup", odd);
    EXPECT_EQ(cgroup_cpu_limit(root_), 0);
    file("/proc/self/mountinfo", odd + " - cgroup2");
    EXPECT_EQ(cgroup_cpu_limit(root_), 0);
}

} // namespace
} // namespace sennit::os

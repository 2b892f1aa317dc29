#include <sennit/os/cpu_count.hpp>

#include <sennit/os/file.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <sched.h>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace sennit::os {
namespace {

// A limit that nobody sets by intent: as good as none, and safe to calculate with.
constexpr int absurd = 1 << 20;

std::string_view take_until(std::string_view& rest, char end) {
    const std::size_t at = rest.find(end);
    const std::string_view part = rest.substr(0, at);
    rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
    return part;
}

bool parse(std::string_view text, std::int64_t& value) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

// quota / period rounded up; 0: no limit.
int processors(std::int64_t quota, std::int64_t period) {
    if (quota <= 0 || period <= 0) return 0;
    const std::int64_t n = quota / period + (quota % period != 0 ? 1 : 0);
    return n >= absurd ? 0 : static_cast<int>(n);
}

int limit_v2(const std::string& directory) {
    const std::string text = read_small_file((directory + "/cpu.max").c_str());
    std::string_view rest = text;
    std::int64_t quota = 0, period = 0;
    const std::string_view first = take_until(rest, ' '); // "max" or a number
    return parse(first, quota) && parse(rest, period) ? processors(quota, period) : 0;
}

int limit_v1(const std::string& directory) {
    std::int64_t quota = 0, period = 0;
    return parse(read_small_file((directory + "/cpu.cfs_quota_us").c_str()), quota) &&
                   parse(read_small_file((directory + "/cpu.cfs_period_us").c_str()), period)
               ? processors(quota, period)
               : 0;
}

// The smallest limit from `path` up to the mount point.
template <class Limit>
int smallest(const std::string& mount, std::string path, Limit limit) {
    int result = 0;
    for (;;) {
        while (!path.empty() && path.back() == '/') path.pop_back();
        if (const int n = limit(mount + path); n > 0) result = result == 0 ? n : std::min(result, n);
        if (path.empty()) return result;
        path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
}

bool has_word(std::string_view list, std::string_view word) {
    while (!list.empty())
        if (take_until(list, ',') == word) return true;
    return false;
}

struct Mount {
    std::string root, point;
};

// The mount of cgroup v2, or of v1's cpu controller. A path of /proc/self/cgroup below `root` lies below `point`.
bool find_mount(const std::string& mountinfo, bool v2, Mount& mount) {
    std::string_view rest = mountinfo;
    while (!rest.empty()) {
        const std::string_view line = take_until(rest, '\n');
        const std::size_t dash = line.find(" - ");
        if (dash == std::string_view::npos) continue;
        std::string_view tail = line.substr(dash + 3);
        const std::string_view type = take_until(tail, ' ');
        take_until(tail, ' '); // source
        if (type != (v2 ? "cgroup2" : "cgroup")) continue;
        if (!v2 && !has_word(tail, "cpu")) continue;
        std::string_view head = line.substr(0, dash);
        for (int i = 0; i < 3; ++i) take_until(head, ' ');
        mount.root = take_until(head, ' ');
        mount.point = take_until(head, ' ');
        return true;
    }
    return false;
}

} // namespace

int cgroup_cpu_limit(const std::string& root) {
    const std::string groups = read_small_file((root + "/proc/self/cgroup").c_str());
    const std::string mountinfo = read_small_file((root + "/proc/self/mountinfo").c_str(), 1 << 20);
    int result = 0;
    std::string_view rest = groups;
    while (!rest.empty()) {
        std::string_view line = take_until(rest, '\n'); // "4:cpu,cpuacct:/path" or, for v2, "0::/path"
        const std::string_view id = take_until(line, ':');
        const std::string_view controllers = take_until(line, ':');
        const bool v2 = id == "0" && controllers.empty();
        if (!v2 && !has_word(controllers, "cpu")) continue;
        Mount mount;
        if (!find_mount(mountinfo, v2, mount)) continue;
        std::string path(line);
        if (path.empty() || path.front() != '/' || path.find("/..") != std::string::npos) path = "/";
        // Inside a container the mount often shows only the part below its own root.
        if (mount.root != "/") path = path.starts_with(mount.root) ? path.substr(mount.root.size()) : "";
        const int n = v2 ? smallest(root + mount.point, path, limit_v2) : smallest(root + mount.point, path, limit_v1);
        if (n > 0) result = result == 0 ? n : std::min(result, n);
    }
    return result;
}

int usable_cpu_count() {
    int affinity = 0;
    // The kernel's mask may be wider than cpu_set_t (1,024): try wider ones.
    for (std::size_t cpus = 1024; cpus <= 1U << 18 && affinity == 0; cpus *= 4) {
        std::vector<cpu_set_t> set(cpus / 1024);
        const std::size_t bytes = set.size() * sizeof(cpu_set_t);
        if (::sched_getaffinity(0, bytes, set.data()) == 0) affinity = CPU_COUNT_S(bytes, set.data());
    }
    if (affinity <= 0) affinity = std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
    const int quota = cgroup_cpu_limit();
    return quota > 0 ? std::min(affinity, quota) : affinity;
}

} // namespace sennit::os

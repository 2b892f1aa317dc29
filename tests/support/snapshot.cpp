#include "snapshot.hpp"

#include "test_loop.hpp"
#include "tier.hpp"

#include "multiprocessing/zygote.hpp"

#include <sennit/os/spawn.hpp>
#include <sennit/wait/registry.hpp>

#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace sennit::testing {
namespace {

struct Counter {
    std::string name;
    std::function<std::int64_t()> count;
};
std::mutex counters_mutex;
std::vector<Counter>& counters() {
    static std::vector<Counter> all;
    return all;
}

// The names in a folder; `opened` is the descriptor of the listing itself.
std::vector<std::string> names_in(const char* folder, int* opened = nullptr) {
    std::vector<std::string> names;
    DIR* d = ::opendir(folder);
    if (!d) return names;
    if (opened) *opened = ::dirfd(d);
    while (const dirent* e = ::readdir(d))
        if (e->d_name[0] != '.') names.emplace_back(e->d_name);
    ::closedir(d);
    return names;
}

std::string link_target(const std::string& path) {
    char text[512];
    const ssize_t n = ::readlink(path.c_str(), text, sizeof text);
    return n < 0 ? "(gone)" : std::string(text, static_cast<std::size_t>(n));
}

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// `pid (name) state ppid ...`: the name may hold anything, so look behind the last parenthesis.
struct Stat {
    std::string name;
    char state = '?';
    long parent = 0;
};
Stat read_stat(const std::string& path) {
    Stat s;
    const std::string line = first_line(path);
    const auto open = line.find('('), close = line.rfind(')');
    if (open == line.npos || close == line.npos || close + 4 >= line.size()) return s;
    s.name = line.substr(open + 1, close - open - 1);
    s.state = line[close + 2];
    s.parent = std::atol(line.c_str() + close + 4);
    return s;
}

bool is_number(const std::string& text) {
    for (const char c : text)
        if (!std::isdigit(static_cast<unsigned char>(c))) return false;
    return !text.empty();
}

// Whether `number` stands in it, and not as a part of a longer one.
bool has_number(const std::string& name, const std::string& number) {
    const auto digit = [&](std::size_t i) {
        return i < name.size() && std::isdigit(static_cast<unsigned char>(name[i]));
    };
    for (auto at = name.find(number); at != name.npos; at = name.find(number, at + 1))
        if (!digit(at - 1) && !digit(at + number.size())) return true;
    return false;
}

} // namespace

void Snapshot::add_counter(std::string name, std::function<std::int64_t()> count) {
    std::lock_guard guard(counters_mutex);
    counters().push_back({std::move(name), std::move(count)});
}

Snapshot Snapshot::take() {
    Snapshot s;
    int listing = -1;
    const long me = ::getpid();
    const std::string of_storm = "/proc/" + std::to_string(me) + "/task"; // a SignalStorm reads it now and then
    for (const auto& fd : names_in("/proc/self/fd", &listing)) {
        const std::string target = link_target("/proc/self/fd/" + fd);
        if (std::atoi(fd.c_str()) != listing && target != of_storm && target != "(gone)")
            s.items_["file " + fd] = target;
    }
    for (const auto& tid : names_in("/proc/self/task")) {
        const Stat stat = read_stat("/proc/self/task/" + tid + "/stat");
        if (stat.state == '?' || stat.state == 'X' || stat.state == 'Z') continue; // it is being taken off the list
        s.items_["thread " + tid] = stat.name;
    }
    unsigned spares = 0;
    for (const auto& pid : names_in("/proc")) {
        if (!is_number(pid)) continue;
        const Stat stat = read_stat("/proc/" + pid + "/stat");
        // Some may wait for the next start as long as there is a zygote.
        if (stat.parent == me && stat.name == "sennit-spare" && stat.state != 'Z' &&
            ++spares <= multiprocessing::detail::Zygote::most_spares)
            continue;
        if (stat.parent == me) s.items_["child " + pid] = stat.name + (stat.state == 'Z' ? " (zombie)" : "");
    }
    // Asked afterwards: the kernel tells their numbers before they run.
    for (const pid_t spare : multiprocessing::detail::Zygote::get().spare_pids())
        s.items_.erase("child " + std::to_string(spare));
    {
        std::ifstream maps("/proc/self/maps");
        std::string line;
        // Private anonymous ones are the C library's: stacks of threads that have ended, arenas of its allocator.
        while (std::getline(maps, line)) s.mappings_ += line.find('/') != line.npos ? 1 : 0;
    }
    // These folders are everybody's: ours is what carries our pid in its name.
    const char* tmp = std::getenv("TMPDIR");
    for (const std::string& folder : {std::string("/dev/shm"), std::string(tmp && *tmp ? tmp : "/tmp")})
        for (const auto& name : names_in(folder.c_str()))
            if (has_number(name, std::to_string(me))) s.items_["file " + folder + '/' + name] = "";
    s.counters_["coroutine frames"] = live_coroutine_frames();
    std::int64_t agents = 0, waiting = 0;
    for (const auto& a : wait::Registry::snapshot()) {
        ++agents;
        waiting += a.site ? 1 : 0;
    }
    s.counters_["agents"] = agents;
    s.counters_["agents that wait"] = waiting;
    std::lock_guard guard(counters_mutex);
    for (const auto& c : counters()) s.counters_[c.name] = c.count();
    return s;
}

std::string Snapshot::difference(const Snapshot& before, const Snapshot& after) {
    std::ostringstream text;
    const auto list = [&](char sign, const Snapshot& in, const Snapshot& not_in) {
        for (const auto& [what, more] : in.items_)
            // A thread of what was before may have been at its end, and that is no loss.
            if (!not_in.items_.count(what) && !(sign == '-' && what.starts_with("thread ")))
                text << sign << ' ' << what << (more.empty() ? "" : ": ") << more << '\n';
    };
    list('-', before, after);
    list('+', after, before);
    for (const auto& [name, count] : after.counters_) {
        const auto it = before.counters_.find(name);
        if (const std::int64_t then = it == before.counters_.end() ? 0 : it->second; then != count)
            text << (count > then ? "+ " : "- ") << std::llabs(count - then) << ' ' << name << ": " << then
                 << " before, " << count << " after\n";
    }
    constexpr std::int64_t slack = 16;
    // The runtimes of sanitizers map memory for their own books.
    if (!sanitized() && std::llabs(after.mappings_ - before.mappings_) > slack)
        text << (after.mappings_ > before.mappings_ ? "+ " : "- ") << std::llabs(after.mappings_ - before.mappings_)
             << " mappings: " << before.mappings_ << " before, " << after.mappings_ << " after\n";
    return text.str();
}

std::string NothingLeaks::settled_difference() const {
    std::string difference;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    for (;;) {
        os::reap_released(); // what the next start of a child would do
        difference = Snapshot::difference(before_, Snapshot::take());
        if (difference.empty() || std::chrono::steady_clock::now() > limit) return difference;
        std::this_thread::sleep_for(std::chrono::milliseconds(1)); // for the kernel, not for our agents
    }
}

void NothingLeaks::check() {
    checked_ = true;
    if (const std::string difference = settled_difference(); !difference.empty())
        ADD_FAILURE() << "something was left behind, or is missing:\n" << difference;
}

} // namespace sennit::testing

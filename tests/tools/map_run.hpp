// Running the real `sennit map` in tests.
#pragma once

#include <sennit/os/poll.hpp>
#include <sennit/subprocess.hpp>

#include "support/paths.hpp"
#include "support/tier.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace sennit::tools {

inline const std::string sennit_program = testing::bin_dir() + "/sennit";

/// Sizes for SENNIT_FAULT_TIER.
inline int by_tier(int one, int two, int three) { return static_cast<int>(testing::by_tier(one, two, three)); }

struct Ran {
    int status = 0;
    std::string out, err;
};

/// `sennit map ARGS...`. A hang ends the test after some minutes.
inline Ran run_map(std::vector<std::string> args, std::string input = {}) {
    args.insert(args.begin(), {sennit_program, "map"});
    const subprocess::CompletedProcess done =
        subprocess::run(args, {.input = std::move(input), .capture_output = true, .timeout = std::chrono::minutes(4)});
    return {done.returncode, done.std_out, done.std_err};
}

inline std::vector<std::string> split(const std::string& text, char separator = '\n') {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}
inline std::vector<std::string> sorted(std::vector<std::string> list) {
    std::sort(list.begin(), list.end());
    return list;
}
/// "1\n2\n...n\n"
inline std::string numbers(int n) {
    std::string text;
    for (int i = 1; i <= n; ++i) text += std::to_string(i) + '\n';
    return text;
}

/// A folder that goes with the test.
class Folder {
  public:
    Folder() : path_(::mkdtemp(name_)) {}
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    char name_[32] = "/tmp/sennit-map-XXXXXX";
    std::string path_;
};

/// Between two looks at a condition that another process makes true. The test's own time-out is the limit.
inline void look_again() { os::poll_fds({}, std::chrono::milliseconds(1)); }

inline std::string content(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

} // namespace sennit::tools

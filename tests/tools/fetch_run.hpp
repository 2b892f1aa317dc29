// Running the real `sennit fetch` in tests.
#pragma once

#include "fetch_server.hpp"
#include "map_run.hpp"

namespace sennit::tools {

/// `sennit fetch ARGS...`; no proxy of the environment comes between.
inline Ran run_fetch(std::vector<std::string> args, std::string input = {}) {
    args.insert(args.begin(), {sennit_program, "fetch"});
    const subprocess::CompletedProcess done =
        subprocess::run(args, {.input = std::move(input), .capture_output = true, .timeout = std::chrono::minutes(4)});
    return {done.returncode, done.std_out, done.std_err};
}

inline std::vector<std::string> names_in(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

} // namespace sennit::tools

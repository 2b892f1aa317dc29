#include "tools/common/arguments.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

namespace sennit::tools {

std::vector<std::string> option_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_snames()) names.push_back("-" + name);
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    return names;
}

void parse_arguments(CLI::App& app, std::vector<std::string> arguments) {
    try {
        std::reverse(arguments.begin(), arguments.end()); // CLI11 takes them from the end
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
        throw UsageError(for_terminal(error.what()));
    }
}

} // namespace sennit::tools

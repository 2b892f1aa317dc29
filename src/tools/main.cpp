// The command-line tool: finds the command that is meant and hands over to it.
#include "tools/map/map.hpp"

#include <sennit/os/file.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view help = R"(sennit: Python's concurrency toolbox as C++20, on the command line

  sennit map [OPTION ...] COMMAND [ARG ...] ::: INPUT ...    run a command once for each input, many at once

  sennit COMMAND --help    tells about one command, with examples
  sennit --version
)";

int say(int fd, std::string_view text, int status) {
    return sennit::os::write_all(fd, text.data(), text.size()) == 0 ? status : 255;
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    if (arguments.empty()) return say(2, help, 255);
    const std::string& command = arguments.front();
    if (command == "map") return sennit::tools::run_map({arguments.begin() + 1, arguments.end()});
    if (command == "--help" || command == "-h" || command == "help") return say(1, help, 0);
    if (command == "--version") return say(1, "sennit " SENNIT_VERSION "\n", 0);
    return say(2, "sennit: there is no command '" + command + "'. sennit --help lists them.\n", 255);
}

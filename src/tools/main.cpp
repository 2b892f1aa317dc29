// The command-line tool: finds the command that is meant and hands over to it.
#include "tools/map/map.hpp"

#include <sennit/os/file.hpp>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace {

constexpr std::string_view help = R"(sennit: Python's concurrency toolbox as C++20, on the command line

  sennit map [OPTION ...] COMMAND [ARG ...] ::: INPUT ...    run a command once for each input, many at once
  sennit fetch [OPTION ...] URL ...                          download many files at once, each whole or not at all

  sennit COMMAND --help    tells about one command, with examples
  sennit --version
)";

int say(int fd, std::string_view text, int status) {
    return sennit::os::write_all(fd, text.data(), text.size()) == 0 ? status : 255;
}

// `sennit fetch` is a program of its own, sennit-fetch beside this one or where it is installed: it needs libcurl and all that comes with it,
// which would cost every `sennit map` ten milliseconds to load.
int run_fetch(char** arguments) {
    char self[4096];
    const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
    const std::string_view path(self, n > 0 ? static_cast<std::size_t>(n) : 0);
    const std::string folder(path.substr(0, path.rfind('/') + 1));
    for (const char* const place : {"sennit-fetch", SENNIT_FETCH_FROM_BIN})
        ::execv((folder + place).c_str(), arguments); // returns only if it is not there
    return say(2,
               "sennit: cannot start " + folder + "sennit-fetch, which is `sennit fetch`: " + ::strerror(errno) +
                   ". It is built where libcurl is installed (Debian: libcurl4-openssl-dev).\n",
               255);
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    if (arguments.empty()) return say(2, help, 255);
    const std::string& command = arguments.front();
    if (command == "map") return sennit::tools::run_map({arguments.begin() + 1, arguments.end()});
    if (command == "fetch") return run_fetch(argv + 1);
    if (command == "--help" || command == "-h" || command == "help") return say(1, help, 0);
    if (command == "--version") return say(1, "sennit " SENNIT_VERSION "\n", 0);
    return say(2, "sennit: there is no command '" + command + "'. sennit --help lists them.\n", 255);
}

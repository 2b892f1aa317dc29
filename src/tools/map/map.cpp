#include "tools/map/map.hpp"

#include "tools/common/quoting.hpp"
#include "tools/map/command_line.hpp"
#include "tools/map/scheduler.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/system_state.hpp>

#include <new>
#include <string_view>

namespace sennit::tools {
namespace {

constexpr int wrong_use = 255;

int refuse(std::string_view why, bool hint) {
    std::string text = "sennit map: " + std::string(why) + "\n";
    if (hint) text += "sennit map --help tells how it is used.\n";
    os::write_all(2, text.data(), text.size());
    return wrong_use;
}

} // namespace

int run_map(std::vector<std::string> arguments) {
    os::fill_standard_fds();
    try {
        std::optional<MapOptions> options = parse_map(std::move(arguments));
        if (!options) return os::write_all(1, map_help.data(), map_help.size()) == 0 ? 0 : wrong_use;
        const InputSource& first = options->sources.front();
        if (first.is_file && first.path == "-" && os::is_terminal(0)) {
            static constexpr std::string_view hint =
                "sennit map: reading inputs from the terminal, one a line; Ctrl-D ends them\n";
            os::write_all(2, hint.data(), hint.size());
        }
        return Scheduler(std::move(*options)).run();
    } catch (const UsageError& error) {
        return refuse(error.what(), true);
    } catch (const std::bad_alloc&) {
        return refuse("out of memory", false);
    } catch (const std::exception& error) {
        return refuse(error.what(), false);
    }
}

} // namespace sennit::tools

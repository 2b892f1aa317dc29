#include "tools/fetch/fetch.hpp"

#include "tools/common/quoting.hpp"
#include "tools/fetch/command_line.hpp"
#include "tools/fetch/downloader.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <algorithm>
#include <cerrno>
#include <curl/curl.h>
#include <new>
#include <optional>
#include <string_view>

namespace sennit::tools {
namespace {

constexpr int wrong_use = 255, closed_pipe = 128 + 13;

int refuse(std::string_view why, bool hint) {
    std::string text = "sennit fetch: " + std::string(why) + "\n";
    if (hint) text += "sennit fetch --help tells how it is used.\n";
    os::write_all(2, text.data(), text.size());
    return wrong_use;
}

} // namespace

int run_fetch(std::vector<std::string> arguments) {
    os::fill_standard_fds();
    try {
        std::optional<FetchOptions> options = parse_fetch(std::move(arguments));
        if (!options) return os::write_all(1, fetch_help.data(), fetch_help.size()) == 0 ? 0 : wrong_use;
        if (::curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return refuse("libcurl cannot be set up", false);
        return Downloader(std::move(*options)).run();
    } catch (const UsageError& error) {
        return refuse(error.what(), true);
    } catch (const std::bad_alloc&) {
        return refuse("out of memory", false);
    } catch (const OSError& error) {
        return error.code() == EPIPE ? closed_pipe : refuse(error.what(), false);
    } catch (const std::exception& error) {
        return refuse(error.what(), false);
    }
}

} // namespace sennit::tools

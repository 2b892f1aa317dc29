#include "tools/map/results.hpp"

#include "tools/common/quoting.hpp"
#include "tools/common/whole_file.hpp"

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <sys/stat.h>

namespace sennit::tools {
namespace {

constexpr std::size_t longest_name = 240; // of the 255 that file systems allow

void make_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
        throw OSError(errno, "--results: cannot make the folder " + shell_word(path));
}

void store_file(const std::string& path, const Capture& capture) {
    WholeFile file(path);
    Capture::Reader reader(capture);
    char piece[64 * 1024];
    while (const std::size_t n = reader.read(piece, sizeof piece)) file.write({piece, n});
    file.commit();
}

} // namespace

std::string Results::name_of(std::string_view input) {
    if (input.empty()) return "\\empty";
    std::string name;
    if (input == "." || input == "..") name = "\\";
    for (const char c : input) {
        if (c == '/')
            name += "\\_";
        else if (c == '\\')
            name += "\\\\";
        else if (c == '\t')
            name += "\\t";
        else if (c == '\0')
            name += "\\0";
        else
            name += c;
    }
    if (name.size() <= longest_name) return name;
    std::uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (const char c : input) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    char tail[24];
    std::snprintf(tail, sizeof tail, "~%016llx", static_cast<unsigned long long>(hash));
    name.resize(longest_name - 17);
    return name + tail;
}

Results::Results(std::string folder) : folder_(std::move(folder)) {
    for (std::size_t slash = folder_.find('/', 1); slash != std::string::npos; slash = folder_.find('/', slash + 1))
        make_folder(folder_.substr(0, slash));
    make_folder(folder_);
}

void Results::store(const JobRecord& record, const Capture& out, const Capture& err) const {
    std::string path = folder_;
    for (std::size_t i = 0; i < record.inputs.size(); ++i) {
        make_folder(path += "/" + std::to_string(i + 1));
        make_folder(path += "/" + name_of(record.inputs[i]));
    }
    store_file(path + "/stdout", out);
    store_file(path + "/stderr", err);
    WholeFile sequence(path + "/seq");
    sequence.write(std::to_string(record.sequence));
    sequence.commit();
}

} // namespace sennit::tools

#include "tools/fetch/url_source.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/file.hpp>

#include <fcntl.h>

namespace sennit::tools {

UrlSource::UrlSource(std::vector<std::string> urls, const std::vector<std::string>& lists, char separator)
    : urls_(std::move(urls)) {
    for (const std::string& path : lists) {
        if (path == "-") {
            lists_.push_back(std::make_unique<RecordReader>(os::duplicate(0), "standard input", separator));
            continue;
        }
        int error = 0;
        os::Fd fd = os::open_file(path.c_str(), O_RDONLY, error);
        if (!fd) throw OSError(error, "-i: cannot open the list " + shell_word(path));
        lists_.push_back(std::make_unique<RecordReader>(std::move(fd), shell_word(path), separator));
    }
}

UrlSource::State UrlSource::next(std::string& url) {
    if (url_ < urls_.size()) {
        url = std::move(urls_[url_++]);
        return State::ready;
    }
    for (; list_ < lists_.size(); ++list_) {
        for (;;) {
            bool cut = false; // one that is too long is no URL: it is refused as one
            const RecordReader::State state = lists_[list_]->next(url, cut);
            if (state == RecordReader::State::need_data) return State::need_data;
            if (state == RecordReader::State::end) break;
            static constexpr const char* blanks = " \t\r\n";
            url.erase(url.find_last_not_of(blanks) + 1);
            url.erase(0, url.find_first_not_of(blanks));
            if (!url.empty() && url.front() != '#') return State::ready;
        }
    }
    return State::end;
}

} // namespace sennit::tools

// Fuzz target: what `sennit fetch` reads from servers and from the files of earlier runs. Any bytes are a head of an answer, a
// record, a list of checksums, a URL; names made of them are safe, and what is taken for right is what would be written.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include "tools/common/quoting.hpp"
#include "tools/fetch/address.hpp"
#include "tools/fetch/answer.hpp"
#include "tools/fetch/checksums.hpp"
#include "tools/fetch/content_range.hpp"
#include "tools/fetch/file_name.hpp"
#include "tools/fetch/resume_record.hpp"

#include <sennit/base/errors.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace sennit::tools;

void must(bool holds) {
    if (!holds) std::abort();
}

void check_name(const std::string& name) {
    must(!name.empty() && name.size() <= longest_file_name + 1 && name != "." && name != ".." && is_utf8(name));
    must(name.find('/') == std::string::npos && name.find('\0') == std::string::npos && for_terminal(name) == name);
    must(name.front() != '.' && name.front() != '-' && !name.ends_with(part_suffix) && !name.ends_with(record_suffix));
}

int one_input(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 6) {
    case 0:
        check_name(safe_file_name(text));
        check_name(file_name_of_path(text));
        if (const auto name = disposition_file_name(text)) check_name(*name);
        break;
    case 1:
        if (const auto range = parse_content_range(text)) {
            must(range->first >= 0 && range->first <= range->last);
            must(range->length == -1 || range->last < range->length);
        }
        break;
    case 2:
        if (const auto record = ResumeRecord::decode(text)) {
            must(record->encode() == text);
            must(record->length >= 0 && record->synced >= 0 && !record->validator().empty());
        }
        break;
    case 3:
        try {
            Checksums::parse(text, "fuzz");
        } catch (const sennit::UsageError& error) {
            must(is_utf8(error.what()));
        }
        break;
    case 4: {
        Answer answer;
        std::string_view rest = text;
        while (!rest.empty()) {
            const std::size_t end = rest.find('\n');
            if (!answer.line(rest.substr(0, end))) break;
            rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        }
        must(answer.content_length() >= -1 && answer.retry_after(0) >= -1);
        must(is_utf8(answer.shown_status()) && answer.shown_status().find('\x1b') == std::string::npos);
        const std::string etag = answer.strong_etag();
        must(etag.empty() || is_strong_etag(etag));
        must(answer.strong_date().find('\n') == std::string::npos);
        break;
    }
    default:
        try {
            const Address a = Address::parse(std::string(text));
            must(a.url.starts_with("http://") || a.url.starts_with("https://"));
            must(!a.host.empty() && a.url.find_first_of(" \r\n") == std::string::npos);
            check_name(file_name_of_path(a.path));
        } catch (const sennit::UsageError&) {}
        must(is_utf8(shown_url(text)));
    }
    return 0;
}

} // namespace

#ifdef SENNIT_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { return one_input(data, size); }
#else
#include <gtest/gtest.h>
#include <random>

namespace {

TEST(FetchAnswerFuzz, whatever_a_server_says_names_are_safe_and_decoders_keep_to_their_form) {
    static constexpr std::string_view pieces[] = {
        "HTTP/1.1 200 OK\r\n",
        "Content-Length: ",
        "Content-Range: ",
        "bytes ",
        "ETag: ",
        "\"a\"",
        "W/",
        "Retry-After: ",
        "sennit-fetch 1\nurl http://h/x\nlength 10\netag \"a\"\nsynced 0\nboot x\nend\n",
        "sennit-fetch 1\n",
        "url u\n",
        "length ",
        "etag ",
        "modified ",
        "synced ",
        "boot b\n",
        "end\n",
        "0-9/10",
        "99999999999999999999",
        "-",
        "/",
        "*",
        "\n",
        "\r\n",
        "..",
        ".",
        "%2f",
        "%00",
        "%",
        "%e2%80%ae",
        "filename=",
        "filename*=UTF-8''",
        ";",
        "\"",
        "\\",
        "http://",
        "https://",
        "user:pw@",
        "[::1]",
        ":80",
        "?",
        "#",
        "é",
        "\xff",
        "\x1b[",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "  ",
        " *",
        "SHA256 (",
        ") = ",
        "x",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ".part",
        "-info"};
    const char* executions = std::getenv("SENNIT_FUZZ_RUNS");
    const int runs = executions != nullptr ? std::atoi(executions) : 60'000;
    std::mt19937 random(42);
    std::string input;
    for (int run = 0; run < runs; ++run) {
        input.assign(1, static_cast<char>(random() % 6));
        for (std::size_t n = random() % 16; n > 0; --n) {
            if (random() % 8 == 0)
                input += static_cast<char>(random());
            else
                input += pieces[random() % std::size(pieces)];
        }
        one_input(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    }
}

} // namespace
#endif

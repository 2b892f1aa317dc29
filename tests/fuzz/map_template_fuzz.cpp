// Fuzz target: the template and the input splitter of `sennit map`. Any bytes are a command and its inputs; whatever they are,
// each input comes out whole and inside its argument.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs the corpus and
// random inputs.
#include "tools/common/quoting.hpp"
#include "tools/common/record_reader.hpp"
#include "tools/map/template.hpp"

#include <sennit/base/errors.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace sennit::tools;

void must(bool holds) {
    if (!holds) std::abort();
}

std::vector<std::string> split(std::string_view text, char separator, std::size_t step) {
    RecordReader reader(sennit::os::Fd(), "fuzz", separator);
    std::vector<std::string> records;
    std::string record;
    bool cut = false;
    for (;;) {
        const RecordReader::State state = reader.next(record, cut);
        if (state == RecordReader::State::end) return records;
        if (state == RecordReader::State::record) {
            must(record.size() <= RecordReader::longest_record);
            records.push_back(record);
            continue;
        }
        reader.feed(text.substr(0, step));
        text.remove_prefix(step < text.size() ? step : text.size());
    }
}

// The obvious way, to compare with.
std::vector<std::string> split_plainly(std::string_view text, char separator) {
    std::vector<std::string> records;
    while (!text.empty()) {
        const std::size_t end = text.find(separator);
        records.emplace_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return records;
}

void check_line(std::string_view line) {
    must(is_utf8(line));
    must(line.find('\n') == std::string_view::npos && line.find('\x1b') == std::string_view::npos);
}

} // namespace

#ifdef SENNIT_LIBFUZZER
#define one_input LLVMFuzzerTestOneInput
extern "C"
#else
static
#endif
    int
    one_input(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return 0;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    const char separator = (data[0] & 1) != 0 ? '\0' : '\n';
    const std::size_t step = data[1] % 7 + 1;
    std::string_view rest = all.substr(2);
    const std::size_t middle = rest.find('\x01');
    const std::string_view text = rest.substr(0, middle);
    const std::string_view input = middle == std::string_view::npos ? std::string_view() : rest.substr(middle + 1);

    const std::vector<std::string> inputs = split(input, separator, step);
    must(inputs == split_plainly(input, separator));

    try {
        std::vector<std::string> words = split_plainly(text, '\x02');
        Template command = (data[0] & 2) != 0 ? Template::shell(text) : Template::command(words);
        command.bind(inputs.size());
        Arguments arguments;
        const Filling filling{inputs, 12, 3};
        command.render(filling, arguments);
        for (std::size_t i = 0; i < arguments.size(); ++i) must(arguments[i].data() != nullptr);
        if ((data[0] & 2) == 0) {
            for (const std::string& word : words)
                must(word.find('{') != std::string::npos || [&] {
                    for (std::size_t i = 0; i < arguments.size(); ++i)
                        if (arguments[i] == word) return true;
                    return false;
                }());
        } else {
            // Of a shell's script only the parameters depend on the inputs.
            std::vector<std::string> others(inputs.size(), "$(other)");
            Arguments again;
            const std::string script(arguments[2]);
            command.render({others, 99, 9}, again);
            must(again[2] == script && again.size() == arguments.size());
        }
        std::string line;
        command.show(filling, line);
        check_line(line);
    } catch (const sennit::UsageError&) { // a number beyond the inputs, a NUL in a script, no words
    }
    return 0;
}

#ifndef SENNIT_LIBFUZZER
#include <gtest/gtest.h>
#include <random>

namespace {

TEST(MapTemplateFuzz, every_input_stays_whole_for_random_commands_and_inputs) {
    static constexpr std::string_view pieces[] = {
        "{}", "{.}", "{/}", "{//}", "{/.}", "{#}",  "{%}",  "{1}",  "{2.}", "{9}",
        "{",  "}",   "'",   "\"",   "\\",   "`",    "$(",   ")",    "$",    "${",
        "a",  "/",   ".",   " ",    "\n",   "\x01", "\x02", "\xff", "é",    std::string_view("\0", 1)};
    const char* executions = std::getenv("SENNIT_FUZZ_RUNS");
    const int runs = executions != nullptr ? std::atoi(executions) : 100'000;
    std::mt19937 random(42);
    std::string input;
    for (int run = 0; run < runs; ++run) {
        input.clear();
        input += static_cast<char>(random());
        input += static_cast<char>(random());
        for (std::size_t n = random() % 24; n > 0; --n) {
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

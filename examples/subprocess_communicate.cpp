// Talk to a program: write to its standard input, read its answer.      Python: Popen.communicate
#include <sennit/subprocess.hpp>

#include <cstdio>

using namespace sennit::subprocess;

int main() {
    std::puts("$ factor");
    Popen factor({"factor"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    const auto [out, err] = factor.communicate("42\n1000003\n");
    std::printf("%sexit code: %d\n", out.c_str(), factor.wait());

    // A conversation, a line at a time: ask, wait for the answer, ask again.
    Popen echo({"sh", "-c", "while read word; do echo you said $word; done"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    for (const char* word : {"hello\n", "goodbye\n"}) {
        echo.std_in().write(word);
        std::printf("%s", echo.std_out().readline().c_str());
    }
    echo.std_in().close();
    std::printf("exit code: %d\n", echo.wait());

    // A pipeline: the output of one is the input of the next.
    Popen words({"printf", "%s\\n", "pear", "apple", "fig"}, {.stdout_ = PIPE});
    Popen sorted({"sort"}, {.stdin_ = words.std_out(), .stdout_ = PIPE});
    words.std_out().close(); // sort alone holds it now
    for (const std::string& line : sorted.std_out()) std::printf("sorted: %s", line.c_str());
    std::printf("exit codes: %d %d\n", words.wait(), sorted.wait());
}

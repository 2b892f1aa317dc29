// static_start: linked with -static where that can be done; starts a child by each method, which sees the program's static objects.
#include <sennit/multiprocessing.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {
const std::string made_before_main = std::string("a text that was made ") + "before main";
} // namespace

int main() {
    namespace mp = sennit::multiprocessing;
    for (const std::string& method : mp::get_all_start_methods()) {
        mp::ProcessOptions options;
        options.context = method;
        mp::Process child(
            options,
            [](const std::string& text) { std::exit(text == "sent" && made_before_main.size() == 32 ? 40 : 1); },
            "sent");
        child.start();
        child.join();
        std::printf("%s %d\n", method.c_str(), child.exitcode().value_or(-99));
    }
    std::printf("main\n");
}

// expect: What a lambda captures otherwise (a std::string, say), pass as an argument
#include <sennit/multiprocessing/process.hpp>

#include <string>

void start_what_can_not_travel() {
    const std::string name = "a string lives in this process";
#ifndef COMPILES
    sennit::multiprocessing::Process p([name] { return name.size(); });
#endif
    sennit::multiprocessing::Process q([](const std::string& its) { return its.size(); }, name);
}

// A program whose one argument names which of its functions runs.
#pragma once

#include <cstdio>
#include <map>
#include <string>

using Modes = std::map<std::string, int (*)()>;
#define MODE(name) \
    { #name, name }

inline int run_mode(const char* program, const Modes& modes, int argc, char** argv) {
    const auto mode = argc == 2 ? modes.find(argv[1]) : modes.end();
    if (mode == modes.end()) {
        std::fprintf(stderr, "usage: %s MODE\n", program);
        return 2;
    }
    return mode->second();
}

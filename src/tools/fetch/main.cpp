// The program sennit-fetch, which `sennit fetch` is.
#include "tools/fetch/fetch.hpp"

#include <malloc.h>

int main(int argc, char** argv) {
    // libcurl gets its buffers anew for each download: those that were given back are used again, and not taken from the system.
    ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 16 << 20);
    return sennit::tools::run_fetch({argv + (argc > 0 ? 1 : 0), argv + argc});
}

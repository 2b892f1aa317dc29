// The program sennit-fetch, which `sennit fetch` is.
#include "tools/fetch/fetch.hpp"

int main(int argc, char** argv) { return sennit::tools::run_fetch({argv + (argc > 0 ? 1 : 0), argv + argc}); }

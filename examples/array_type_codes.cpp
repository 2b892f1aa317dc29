// Arrays by Python's one-letter type codes: a child fills each, and the parent adds up what it finds.
#include <sennit/multiprocessing.hpp>

#include <cstdio>

using namespace sennit;
using multiprocessing::Array;
using multiprocessing::Process;
using multiprocessing::TypeCode;

template <class T>
void fill(const Array<T>& items) {
    for (std::size_t i = 0; i < items.size(); ++i) items.set(i, static_cast<T>(i + 1));
}

template <char Code>
void try_code() {
    using T = TypeCode<Code>;
    const Array<T> items(4);
    Process process(fill<T>, items);
    process.start();
    process.join();
    double sum = 0;
    for (const T item : items) sum += static_cast<double>(item);
    std::printf("%c %zu bytes, sum %g\n", Code, sizeof(T), sum);
}

int main() {
    try_code<'c'>();
    try_code<'b'>();
    try_code<'B'>();
    try_code<'u'>();
    try_code<'h'>();
    try_code<'H'>();
    try_code<'i'>();
    try_code<'I'>();
    try_code<'l'>();
    try_code<'L'>();
    try_code<'f'>();
    try_code<'d'>();
}

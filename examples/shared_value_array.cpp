// A child changes a Value and an Array; the parent sees it.
#include <sennit/multiprocessing.hpp>

#include <cstdio>

using namespace sennit;
using multiprocessing::Array;
using multiprocessing::Value;

void change(const Value<double>& number, const Array<int>& items) {
    number.set(3.1415927);
    const std::scoped_lock guard(items.get_lock());
    for (int& item : items) item = -item;
}

int main() {
    const Value<double> number(0.0);
    const Array<int> items{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    multiprocessing::Process process(change, number, items);
    process.start();
    process.join();
    std::printf("%.7f\n[", number.value());
    for (std::size_t i = 0; i < items.size(); ++i) std::printf("%s%d", i == 0 ? "" : ", ", items.get(i));
    std::printf("]\n");
}

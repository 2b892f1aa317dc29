#include <sennit/asyncio/async_generator.hpp>

namespace sennit::asyncio::detail {

void GeneratorPromiseBase::throw_busy() {
    throw UsageError("this AsyncGenerator is running: another coroutine awaits its next value, and only one may");
}
void GeneratorPromiseBase::throw_not_started() {
    throw UsageError(
        "AsyncGenerator::asend before its first value: nothing waits for what is sent; call async_next() first");
}
void GeneratorPromiseBase::throw_ignored_exit() {
    throw UsageError("an AsyncGenerator yielded a value while it was closed; let GeneratorExit pass");
}

} // namespace sennit::asyncio::detail

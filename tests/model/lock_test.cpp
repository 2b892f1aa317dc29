#include "model/explore.hpp"

#include <sennit/sync.hpp>

namespace sennit {
namespace {

using model::agent_thread;

SCENARIO(LockModel, excludes_three_threads) {
    sync::Lock lock;
    model::var<int> counter{0};
    {
        const auto add = [&] {
            for (int i = 0; i < 2; ++i) {
                lock.acquire();
                ++counter;
                lock.release();
            }
        };
        agent_thread a(add), b(add), c(add);
    }
    model::expect(counter == 6, "six increments");
    model::expect(!lock.locked(), "the lock is free at the end");
}

} // namespace
} // namespace sennit

#include <sennit/asyncio/wait.hpp>

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <functional>
#include <string>

namespace sennit::asyncio::detail {

std::vector<bool> check_tasks_to_wait_for(const std::vector<const TaskRef*>& tasks, const char* call) {
    if (tasks.empty()) throw UsageError(std::string("asyncio::") + call + ": there are no tasks to wait for");
    std::vector<std::size_t> order(tasks.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
        if (!*tasks[i]) throw UsageError(std::string("asyncio::") + call + ": an empty Task among those to wait for");
        check_same_loop(*tasks[i], call);
    }
    // Not std::stable_sort: in g++ 12's library it calls what C++20 has deprecated, which clang refuses.
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::less<>()(&tasks[a]->base(), &tasks[b]->base()) || (*tasks[a] == *tasks[b] && a < b);
    });
    std::vector<bool> first(tasks.size(), true);
    for (std::size_t i = 1; i < order.size(); ++i)
        if (*tasks[order[i]] == *tasks[order[i - 1]]) first[order[i]] = false;
    return first;
}

WaitForTasks::Until until(ReturnWhen when) noexcept {
    using Until = WaitForTasks::Until;
    if (when == FIRST_COMPLETED) return Until::first_done;
    return when == FIRST_EXCEPTION ? Until::first_failed : Until::all_done;
}

} // namespace sennit::asyncio::detail

#include <sennit/multiprocessing/queue.hpp>

#include <string>

namespace sennit::multiprocessing::detail {

constinit const wait::WaitSite QueueSites::put{"multiprocessing.Queue", "put"};
constinit const wait::WaitSite QueueSites::get{"multiprocessing.Queue", "get"};
constinit const wait::WaitSite QueueSites::join{"multiprocessing.JoinableQueue", "join"};

void refuse_closed_queue(const char* call) {
    throw UsageError(std::string("multiprocessing.Queue.") + call +
                     ": this handle was closed; use another one, or close it later");
}

void refuse_task_done() {
    throw UsageError(
        "multiprocessing.JoinableQueue.task_done: called more often than items were put; call it once for each "
        "item that was taken");
}

void refuse_descriptors() {
    throw UsageError(
        "multiprocessing.Queue.put: the item has descriptors in it, and its type is one that has none: give "
        "the class pack() and unpack() members");
}

} // namespace sennit::multiprocessing::detail

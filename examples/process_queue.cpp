// A writer process and a reader process with one queue between them; the reader would wait for ever, and is terminated at the end.
#include <sennit/multiprocessing.hpp>

#include <cstdio>
#include <string>

using namespace sennit::multiprocessing;

void produce(JoinableQueue<std::string> queue) {
    for (const char* item : {"A", "B", "C"}) {
        std::printf("put %s\n", item);
        std::fflush(stdout);
        queue.put(item);
        queue.join(); // so that the lines alternate
    }
}

void consume(JoinableQueue<std::string> queue) {
    for (;;) {
        const std::string item = queue.get();
        std::printf("got %s\n", item.c_str());
        std::fflush(stdout);
        queue.task_done();
    }
}

int main() {
    const JoinableQueue<std::string> queue;
    Process writer(produce, queue), reader(consume, queue);
    writer.start();
    reader.start();
    writer.join();
    reader.terminate();
    reader.join();
    std::printf("the reader's exit code: %d\n", *reader.exitcode());
}

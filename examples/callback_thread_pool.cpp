// A pool made by hand: workers are made when work comes and nobody is free, each result goes to callback(ok, result), close() lets all
// work end, terminate() drops what has not begun. Half of it is the queue's shutdown.
#include <sennit/queue.hpp>
#include <sennit/threading.hpp>

#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace queue = sennit::queue;
namespace threading = sennit::threading;

namespace {

class CallbackThreadPool {
  public:
    using Task = std::function<std::string()>;
    using Callback = std::function<void(bool ok, const std::string& result)>;

    explicit CallbackThreadPool(std::size_t most) : most_(most) {}
    ~CallbackThreadPool() {
        close();
        join();
    }
    void run(Task task, Callback callback) {
        {
            std::scoped_lock guard(lock_);
            ++waiting_;
            if (waiting_ > free_ && threads_.size() < most_) {
                threads_.push_back(std::make_unique<threading::Thread>([this] { work(); }));
                ++free_;
                threads_.back()->start();
            }
        }
        jobs_.put({std::move(task), std::move(callback)});
    }
    /// All that was given still runs.
    void close() { jobs_.shutdown(); }
    /// What has not begun is dropped.
    void terminate() { jobs_.shutdown(true); }
    void join() {
        for (auto& t : threads_) t->join();
    }
    std::size_t threads() const { return threads_.size(); }

  private:
    struct Job {
        Task task;
        Callback callback;
    };
    void work() {
        for (Job& job : jobs_) { // until it is shut down and drained
            {
                std::scoped_lock guard(lock_);
                --waiting_;
                --free_;
            }
            bool ok = true;
            std::string result;
            try {
                result = job.task();
            } catch (const std::exception& e) {
                ok = false;
                result = e.what();
            }
            job.callback(ok, result);
            std::scoped_lock guard(lock_);
            ++free_;
        }
    }
    const std::size_t most_;
    queue::Queue<Job> jobs_;
    threading::Lock lock_;
    std::size_t waiting_ = 0, free_ = 0; // jobs, workers
    std::vector<std::unique_ptr<threading::Thread>> threads_;
};

} // namespace

int main() {
    {
        threading::Lock lock;
        std::set<std::string> results;
        std::string error;
        CallbackThreadPool pool(10);
        for (int i = 0; i < 51; ++i)
            pool.run(
                [i] {
                    if (i == 13) throw std::runtime_error("thirteen is unlucky");
                    return std::to_string(i);
                },
                [&](bool ok, const std::string& result) {
                    std::scoped_lock guard(lock);
                    if (ok)
                        results.insert(result);
                    else
                        error = result;
                });
        pool.close();
        pool.join();
        std::printf("%zu results, at most ten threads: %s, one error: %s\n", results.size(),
                    pool.threads() <= 10 ? "yes" : "no", error.c_str());
    }
    {
        threading::Event begun, gate;
        int ran = 0; // by one worker
        CallbackThreadPool pool(1);
        for (int i = 0; i < 20; ++i)
            pool.run(
                [&] {
                    begun.set();
                    gate.wait();
                    return std::string();
                },
                [&](bool, const std::string&) { ++ran; });
        begun.wait();
        pool.terminate();
        gate.set();
        pool.join();
        std::printf("terminated: %d of 20 ran\n", ran);
    }
}

// The helper thread sleeps on the words of all who wait, and on its doorbell.
//
//   sleep_on()                          the helper
//   s1  arm                             h1  lock; gather the words; unlock
//   s2  lock; link; start it if it      h2  sleep till one changes, the doorbell does, or look_again_ns have passed
//       does not run; unlock            h3  lock; take out whose word has changed (all, if the time has passed), and
//   s3  ring the doorbell                   claim them: settle(woken); unlock
//                                       h4  unpark those claimed; from h1, or end if nobody is linked
//
// Who is settled by somebody else (deadline, cancellation) unlinks itself in woke_up(), under the lock: a wait that h3 finds
// linked is there. A word is read under the lock for the same reason: its mapping lives as long as the wait is linked.
#include <sennit/multiprocessing/shared_wait.hpp>

#include <sennit/base/fault_point.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <new>

namespace sennit::multiprocessing {

class SharedWatcher {
  public:
    static SharedWatcher& get() {
        alignas(SharedWatcher) static unsigned char storage[sizeof(SharedWatcher)];
        static SharedWatcher* const it = [] {
            auto* const made = ::new (static_cast<void*>(storage)) SharedWatcher; // never destroyed
            os::at_fork([]() SENNIT_NO_TSA noexcept { get().mutex_.lock(); },
                        []() SENNIT_NO_TSA noexcept { get().mutex_.unlock(); },
                        []() SENNIT_NO_TSA noexcept {
                            // The helper is gone, and so are the agents that wait.
                            ::new (static_cast<void*>(&get().waiting_)) base::IntrusiveList;
                            get().runs_ = false;
                            get().mutex_.unlock();
                        });
            return made;
        }();
        return *it;
    }

    void add(SharedWait& w) noexcept {
        {
            os::MutexGuard guard(mutex_);
            waiting_.push_back(w.watch_);
            if (!runs_) {
                pthread_t thread;
                runs_ = os::start_thread(thread, &SharedWatcher::run, this, 256 * 1024) == 0;
                if (runs_) os::detach_thread(thread);
                // Without one: at the next add(), or when the deadline comes.
            }
        }
        // relaxed: the lock orders it; the futex call compares the word.
        doorbell_.fetch_add(1, memory_order_relaxed);
        os::futex_wake(doorbell_, 1);
    }
    void remove(SharedWait& w) noexcept {
        os::MutexGuard guard(mutex_);
        if (w.watch_.linked()) base::IntrusiveList::remove(w.watch_);
    }

  private:
    static void* run(void* self) noexcept {
        os::set_kernel_thread_name("sennit-shared");
        static_cast<SharedWatcher*>(self)->work();
        return nullptr;
    }
    void work() noexcept {
        os::FutexWatch words[os::most_futex_watches];
        SharedWait* claimed[os::most_futex_watches];
        std::int64_t look_at = base::monotonic_ns() + wait::Wait::look_again_ns;
        for (;;) {
            std::size_t n = 0, n_claimed = 0;
            words[n++] = {&doorbell_, doorbell_.load(memory_order_relaxed), false}; // before h1: no ring is missed
            const bool look_at_all = base::monotonic_ns() >= look_at;
            if (look_at_all) look_at = base::monotonic_ns() + wait::Wait::look_again_ns;
            {
                os::MutexGuard guard(mutex_);
                if (!waiting_.front()) {
                    runs_ = false;
                    return;
                }
                for (base::ListNode* node = waiting_.front(); node && n_claimed < os::most_futex_watches;) {
                    SharedWait& w = *static_cast<SharedWait::Watch*>(node)->wait;
                    node = waiting_.after(*node);
                    // acquire: meets the release of who changed it.
                    if (!look_at_all && w.outside()->load(memory_order_acquire) == w.outside_value()) {
                        if (n < os::most_futex_watches) words[n++] = {w.outside(), w.outside_value(), true};
                        continue; // the others are looked at each look_again_ns
                    }
                    base::IntrusiveList::remove(w.watch_);
                    if (w.settle(wait::Outcome::woken)) claimed[n_claimed++] = &w;
                }
            }
            for (std::size_t i = 0; i < n_claimed; ++i) claimed[i]->agent().unpark(*claimed[i]); // h4
            if (n_claimed == 0) os::futex_wait_any(words, n, Deadline::at_monotonic_ns(look_at));
        }
    }

    os::Mutex mutex_;
    base::IntrusiveList waiting_ SENNIT_GUARDED_BY(mutex_);
    bool runs_ SENNIT_GUARDED_BY(mutex_) = false;
    os::FutexWord doorbell_{0};
};

void SharedWait::sleep_on(os::FutexWord& word, std::uint32_t value) noexcept {
    arm();
    outside_ = &word;
    outside_value_ = value;
    slept_ = true;
    if (!is_thread()) SharedWatcher::get().add(*this);
}

void SharedWait::woke_up() noexcept {
    if (slept_ && !is_thread()) SharedWatcher::get().remove(*this);
}

} // namespace sennit::multiprocessing

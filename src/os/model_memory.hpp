// The memory of the model: what a load may see, and which accesses are ordered.
//
// Every location keeps its last stores, oldest first. Every thread has a view: for each location the oldest store that it
// may still see (`seen`), and a vector clock (`clock`) for happens-before.
//
//   store     goes to the end of its location. Released: it carries the thread's view; relaxed: what the thread's last
//             fence let it carry.
//   load      sees any store not older than the thread's view allows; acquired: joins the view that the store carries.
//   update    (read-modify-write) sees the newest, and carries on what that carried (a release sequence).
//   seq_cst   loads see nothing older than the last seq_cst access of the location; a fence joins its thread's view with
//             a global one, both ways.
//
// What this allows C++20 allows. Not covered: stores that take effect before an older one of another thread of the same
// location, and loads that see stores of the future (load buffering; on x86 impossible, on Arm rare, in C++ only relaxed).
// Source: Lahav, Giannarakis, Vafeiadis, "Taming Release-Acquire Consistency", POPL 2016; Kang et al., "A Promising
// Semantics", POPL 2017; data races as in FastTrack, PLDI 2009.
#pragma once

#include <sennit/impl/model_atomic.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace sennit::model {

inline constexpr int max_threads = 12;
inline constexpr int max_locations = 384;
inline constexpr int max_history = 6; // stores of a location that can still be seen

struct View {
    std::array<std::uint32_t, max_threads> clock{};
    std::array<std::uint32_t, max_locations> seen{};
};

/// What a thread knows.
struct ThreadMemory {
    View now;
    View on_fence; // joined by relaxed loads, taken over by the next fence
    View fence;    // the view at the last fence: what relaxed stores carry
    bool fenced = false;
    int thread = 0;
};

/// Tells the memory which of the stores to see, and so on: Strategy::choose, or always 0.
class Chooser {
  public:
    virtual unsigned older_store(unsigned n) = 0;
    virtual bool weak_failure() = 0;

  protected:
    ~Chooser() = default;
};

class Memory {
  public:
    using Order = std::memory_order;
    using Cell = detail::Cell;

    /// The result of an operation, for the trace.
    struct Seen {
        std::uint64_t value = 0;
        int location = 0;
        bool older = false;   // not the newest value
        bool success = false; // of a compare-exchange
    };

    Memory();
    void reset(int threads);

    Seen load(ThreadMemory& me, Cell cell, Order order, Chooser& chooser, const Where& at);
    Seen store(ThreadMemory& me, Cell cell, std::uint64_t value, Order order, const Where& at);
    Seen begin_update(ThreadMemory& me, Cell cell, Order order, const Where& at);
    void end_update(ThreadMemory& me, Cell cell, std::uint64_t value, Order order);
    Seen compare_exchange(ThreadMemory& me, Cell cell, std::uint64_t expected, std::uint64_t desired, bool weak,
                          Order success, Order failure, Chooser& chooser, const Where& at);
    /// The newest value, as the kernel reads it: orders nothing.
    Seen peek(ThreadMemory& me, Cell cell, const Where& at);
    int plain_read(ThreadMemory& me, Cell cell, const Where& at);
    int plain_write(ThreadMemory& me, Cell cell, const Where& at);
    int born(ThreadMemory& me, Cell cell, bool is_atomic);
    int died(ThreadMemory& me, Cell cell);
    void fence(ThreadMemory& me);

    /// The child knows what its parent does; who joins it, what it knew.
    void begin_thread(ThreadMemory& child, ThreadMemory& parent, int number);
    void join(ThreadMemory& me, const ThreadMemory& ended);

  private:
    struct Store {
        std::uint64_t value;
        std::uint32_t stamp; // its place in the order of the location's stores, for ever growing
        bool carries;
        View view;
    };
    struct Location {
        const void* address = nullptr;
        std::uint32_t next_stamp = 1;
        int born_by = -1; // -1: before the run
        std::uint32_t born_clock = 0;
        int written_by = -1; // plain data: the last write; -1: before the run
        std::uint32_t written_clock = 0;
        std::array<std::uint32_t, max_threads> accessed{}; // the clock of each thread at its last access; 0: none
        std::array<Where, max_threads> accessed_at;
        // Atomics: a ring of the last stores, addressed by age: 0 is the newest.
        std::array<Store, max_history> ring;
        int newest = 0;
        int count = 0;
        Store& store(int age) { return ring[static_cast<std::size_t>((newest + max_history - age) % max_history)]; }
        const Store& store(int age) const { return const_cast<Location*>(this)->store(age); }
        void note(ThreadMemory& me, const Where& at) {
            const auto i = static_cast<std::size_t>(me.thread);
            accessed[i] = ++me.now.clock[i];
            accessed_at[i] = at;
        }
    };
    struct Place {
        int location = -1; // -1: the object that was here is dead
        int died_by = -1;
    };

    int find(ThreadMemory& me, Cell cell, bool is_atomic, const Where& at);
    int allocate(Cell cell, bool is_atomic);
    Location& access(ThreadMemory& me, Cell cell, bool is_atomic, const Where& at, int& index);
    void push(Location& l, int index, ThreadMemory& me, std::uint64_t value, Order order, bool continues);
    void see(ThreadMemory& me, int index, const Store& s, Order order);
    int oldest_age(const ThreadMemory& me, const Location& l, int index, Order order) const;
    void join(View& into, const View& from) const;
    void check_ordered(const ThreadMemory& me, const Location& l, const char* what, const Where* at) const;

    std::vector<Location> locations_;
    std::vector<int> free_;
    std::unordered_map<const void*, Place> places_;
    View seq_cst_;
    int used_ = 0;    // locations that were ever used
    int threads_ = 0; // that were ever begun
};

/// "lock.cpp:17 Lock::release"
std::string text(const Where& at);

} // namespace sennit::model

#if defined(SENNIT_MODEL)

#include "model_memory.hpp"

#include <sennit/impl/model_scheduler.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace sennit::model {
namespace {

bool acquires(std::memory_order o) {
    return o == std::memory_order_acquire || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}
bool releases(std::memory_order o) {
    return o == std::memory_order_release || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}

std::uint64_t read_memory(const detail::Cell& cell) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, cell.address, cell.size < sizeof bits ? cell.size : sizeof bits);
    return bits;
}

std::string name(int thread) { return "T" + std::to_string(thread); }

} // namespace

std::string text(const Where& at) {
    std::string_view file = at.file_name();
    if (file.empty()) return "?";
    file.remove_prefix(file.rfind('/') + 1);
    // "bool sennit::sync::Lock::try_fast()" -> "Lock::try_fast"
    std::string_view function = at.function_name();
    function = function.substr(0, function.find('('));
    function.remove_prefix(function.rfind(' ') + 1);
    for (std::string_view outer : {"sennit::", "wait::", "sync::", "os::", "{anonymous}::", "(anonymous namespace)::"})
        if (function.starts_with(outer)) function.remove_prefix(outer.size());
    return std::string(file) + ':' + std::to_string(at.line()) + ' ' + std::string(function);
}

Memory::Memory() : locations_(max_locations) {}

void Memory::reset(int threads) {
    threads_ = threads;
    seq_cst_ = View{};
    places_.clear();
    free_.clear();
    used_ = 0;
}

void Memory::join(View& into, const View& from) const {
    for (int i = 0; i < threads_; ++i) into.clock[i] = std::max(into.clock[i], from.clock[i]);
    for (int i = 0; i < used_; ++i) into.seen[i] = std::max(into.seen[i], from.seen[i]);
}

void Memory::begin_thread(ThreadMemory& child, ThreadMemory& parent, int number) {
    threads_ = std::max(threads_, number + 1);
    ++parent.now.clock[parent.thread];
    child.now = parent.now;
    child.on_fence = View{};
    child.fence = View{};
    child.fenced = false;
    child.thread = number;
    child.now.clock[number] = 1;
}

void Memory::join(ThreadMemory& me, const ThreadMemory& ended) { join(me.now, ended.now); }

int Memory::allocate(Cell cell, bool is_atomic) {
    int index;
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else {
        if (used_ == max_locations) fail("the scenario has too many objects for the model: more than max_locations");
        index = used_++;
        locations_[index].next_stamp = 1;
    }
    Location& l = locations_[index];
    l.address = cell.address;
    l.born_by = l.written_by = -1;
    l.accessed.fill(0);
    l.newest = 0;
    l.count = 1;
    // Views that still speak of the location's former object only know older stamps.
    l.ring[0].value = is_atomic ? read_memory(cell) : 0;
    l.ring[0].stamp = l.next_stamp++;
    l.ring[0].carries = false;
    return index;
}

int Memory::born(ThreadMemory& me, Cell cell, bool is_atomic) {
    Place& place = places_[cell.address];
    if (place.location >= 0) free_.push_back(place.location); // its memory was given back without a destructor
    place.location = allocate(cell, is_atomic);
    Location& l = locations_[place.location];
    l.born_by = me.thread;
    l.born_clock = ++me.now.clock[me.thread];
    l.accessed[me.thread] = l.born_clock;
    l.written_by = me.thread;
    l.written_clock = l.born_clock;
    me.now.seen[place.location] = l.ring[0].stamp;
    return place.location;
}

int Memory::find(ThreadMemory& me, Cell cell, bool is_atomic, const Where& at) {
    auto [it, fresh] = places_.try_emplace(cell.address);
    Place& place = it->second;
    if (fresh) {
        place.location = allocate(cell, is_atomic);
    } else if (place.location < 0) {
        fail(name(me.thread) + " touches an object after its death: at " + text(at) + "; " + name(place.died_by) +
             " has destroyed it");
    }
    return place.location;
}

Memory::Location& Memory::access(ThreadMemory& me, Cell cell, bool is_atomic, const Where& at, int& index) {
    index = find(me, cell, is_atomic, at);
    Location& l = locations_[index];
    if (l.born_by >= 0 && me.now.clock[l.born_by] < l.born_clock)
        fail(name(me.thread) + " uses an object whose making by " + name(l.born_by) + " is not ordered before: at " +
             text(at) + " (a late touch of what was here before, or published too early)");
    return l;
}

void Memory::check_ordered(const ThreadMemory& me, const Location& l, const char* what, const Where* at) const {
    for (int i = 0; i < threads_; ++i) {
        if (i == me.thread || l.accessed[i] <= me.now.clock[i]) continue;
        fail(name(me.thread) + what + (at ? ", after " + text(*at) + ',' : std::string()) + " while " + name(i) +
             " may still be using it: not ordered after that one's " + text(l.accessed_at[i]));
    }
}

int Memory::died(ThreadMemory& me, Cell cell) {
    const auto it = places_.find(cell.address);
    if (it == places_.end() || it->second.location < 0) return -1; // never used in this run
    const int index = it->second.location;
    check_ordered(me, locations_[index], " destroys an object", nullptr);
    it->second = {-1, me.thread};
    free_.push_back(index);
    return index;
}

// How many stores back a load may see.
int Memory::oldest_age(const ThreadMemory& me, const Location& l, int index, Order order) const {
    std::uint32_t floor = me.now.seen[index];
    if (order == std::memory_order_seq_cst) floor = std::max(floor, seq_cst_.seen[index]);
    int age = 0;
    while (age + 1 < l.count && l.store(age + 1).stamp >= floor) ++age;
    return age;
}

void Memory::see(ThreadMemory& me, int index, const Store& s, Order order) {
    me.now.seen[index] = std::max(me.now.seen[index], s.stamp);
    if (order == std::memory_order_seq_cst) seq_cst_.seen[index] = std::max(seq_cst_.seen[index], s.stamp);
    if (s.carries) join(acquires(order) ? me.now : me.on_fence, s.view);
}

void Memory::push(Location& l, int index, ThreadMemory& me, std::uint64_t value, Order order, bool continues) {
    const Store& before = l.store(0);
    l.newest = (l.newest + 1) % max_history;
    if (l.count < max_history) ++l.count;
    Store& s = l.store(0);
    s.value = value;
    s.stamp = l.next_stamp++;
    me.now.seen[index] = s.stamp;
    if (order == std::memory_order_seq_cst) seq_cst_.seen[index] = s.stamp;
    s.carries = continues && before.carries;
    if (s.carries) s.view = before.view;
    const View* mine = releases(order) ? &me.now : me.fenced ? &me.fence : nullptr;
    if (!mine) return;
    if (s.carries)
        join(s.view, *mine);
    else
        s.view = *mine;
    s.carries = true;
}

Memory::Seen Memory::load(ThreadMemory& me, Cell cell, Order order, Chooser& chooser, const Where& at) {
    Seen result;
    Location& l = access(me, cell, true, at, result.location);
    l.note(me, at);
    const int oldest = oldest_age(me, l, result.location, order);
    const int age = oldest > 0 ? static_cast<int>(chooser.older_store(static_cast<unsigned>(oldest) + 1)) : 0;
    const Store& s = l.store(age);
    see(me, result.location, s, order);
    result.value = s.value;
    result.older = age != 0;
    return result;
}

Memory::Seen Memory::peek(ThreadMemory& me, Cell cell, const Where& at) {
    Seen result;
    Location& l = access(me, cell, true, at, result.location);
    l.note(me, at);
    result.value = l.store(0).value;
    return result;
}

Memory::Seen Memory::store(ThreadMemory& me, Cell cell, std::uint64_t value, Order order, const Where& at) {
    Seen result;
    Location& l = access(me, cell, true, at, result.location);
    l.note(me, at);
    push(l, result.location, me, value, order, false);
    std::memcpy(cell.address, &value, cell.size);
    result.value = value;
    return result;
}

Memory::Seen Memory::begin_update(ThreadMemory& me, Cell cell, Order order, const Where& at) {
    Seen result;
    Location& l = access(me, cell, true, at, result.location);
    l.note(me, at);
    const Store& s = l.store(0);
    see(me, result.location, s, order);
    result.value = s.value;
    return result;
}

void Memory::end_update(ThreadMemory& me, Cell cell, std::uint64_t value, Order order) {
    const int index = places_.find(cell.address)->second.location;
    Location& l = locations_[index];
    push(l, index, me, value, order, true);
    std::memcpy(cell.address, &value, cell.size);
}

Memory::Seen Memory::compare_exchange(ThreadMemory& me, Cell cell, std::uint64_t expected, std::uint64_t desired,
                                      bool weak, Order success, Order failure, Chooser& chooser, const Where& at) {
    Seen result;
    Location& l = access(me, cell, true, at, result.location);
    l.note(me, at);
    // It fails as a load does: an older store may be seen, if it is another value than the expected one.
    std::array<int, max_history> ages{0};
    unsigned n = 1;
    for (int age = 1, oldest = oldest_age(me, l, result.location, failure); age <= oldest; ++age)
        if (l.store(age).value != expected) ages[n++] = age;
    const int age = ages[n > 1 ? chooser.older_store(n) : 0];
    const Store& s = l.store(age);
    result.value = s.value;
    result.older = age != 0;
    if (s.value != expected || (weak && chooser.weak_failure())) {
        see(me, result.location, s, failure);
        return result;
    }
    result.success = true;
    see(me, result.location, s, success);
    end_update(me, cell, desired, success);
    return result;
}

int Memory::plain_read(ThreadMemory& me, Cell cell, const Where& at) {
    int index;
    Location& l = access(me, cell, false, at, index);
    if (l.written_by >= 0 && l.written_clock > me.now.clock[l.written_by])
        fail("a data race: " + name(me.thread) + " reads after " + text(at) + " what " + name(l.written_by) +
             " has written, and neither is ordered before the other; " + name(l.written_by) + " used it last after " +
             text(l.accessed_at[static_cast<std::size_t>(l.written_by)]));
    l.note(me, at);
    return index;
}

int Memory::plain_write(ThreadMemory& me, Cell cell, const Where& at) {
    int index;
    Location& l = access(me, cell, false, at, index);
    check_ordered(me, l, " (a data race) writes plain data", &at);
    l.note(me, at);
    l.written_by = me.thread;
    l.written_clock = l.accessed[me.thread];
    return index;
}

void Memory::fence(ThreadMemory& me) {
    join(me.now, me.on_fence);
    for (int i = 0; i < used_; ++i) {
        me.now.seen[i] = std::max(me.now.seen[i], seq_cst_.seen[i]);
        seq_cst_.seen[i] = me.now.seen[i];
    }
    me.fence = me.now;
    me.fenced = true;
}

} // namespace sennit::model

#endif

#include <sennit/base/fault_point.hpp>

#if defined(SENNIT_FAULT_POINTS)

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <sched.h>
#include <string>
#include <string_view>

namespace sennit::base {
namespace {

enum class Action : std::uint8_t { none, delay, yield, fail, kill, stop, abort, exit, throw_, wait };

// One entry of the table. Written under `table_lock`, then published by `used`; afterwards only `passes` changes.
struct Entry {
    FaultPoint* point = nullptr;
    Action action = Action::none; // none: only counted, for another entry waits for it
    std::int64_t argument = 0;    // ns, errno or exit code
    FaultPoint* other = nullptr;  // of wait
    std::uint64_t nth = 0;        // 0: each pass
    bool and_later = false;
    unsigned percent = 100;
    std::uint64_t passes = 0;
};

constexpr int most_entries = 64;
Entry entries[most_entries];
int used = 0;                 // release: meets the acquire in pass_slow: the entries below it are visible
unsigned char table_lock = 0; // a spin lock: only who arms and disarms takes it
std::uint64_t epoch = 0;      // grows with each disarm: whoever waits gives up
std::uint64_t injected = 0;
std::uint64_t random_state = 1;
constinit FaultPoint* first = nullptr;

struct TableGuard {
    TableGuard() noexcept {
        while (__atomic_exchange_n(&table_lock, 1, __ATOMIC_ACQUIRE)) ::sched_yield();
    }
    ~TableGuard() { __atomic_store_n(&table_lock, 0, __ATOMIC_RELEASE); }
};

// splitmix64 over a shared counter: passes draw in whatever order they come.
std::uint64_t draw() noexcept {
    std::uint64_t z = __atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15u, __ATOMIC_RELAXED);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

[[noreturn]] void refuse(std::string_view entry, const char* why) {
    throw std::invalid_argument("fault table: in '" + std::string(entry) + "': " + why);
}

FaultPoint& find(std::string_view entry, std::string_view name) {
    for (FaultPoint* p = first; p; p = p->next)
        if (name == p->name) return *p;
    refuse(entry, "no such point in this program; tests/faults/run.sh --points lists those of the library");
}

std::int64_t number(std::string_view entry, std::string_view text, std::string_view* rest = nullptr) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view left(end, static_cast<std::size_t>(text.data() + text.size() - end));
    if (error != std::errc() || value < 0 || (!rest && !left.empty())) refuse(entry, "a number was expected");
    if (rest) *rest = left;
    return value;
}

std::int64_t duration_ns(std::string_view entry, std::string_view text) {
    std::string_view unit;
    const std::int64_t n = number(entry, text, &unit);
    if (unit == "ns") return n;
    if (unit == "us") return n * 1'000;
    if (unit == "ms") return n * 1'000'000;
    if (unit == "s") return n * 1'000'000'000;
    refuse(entry, "a delay is a number with ns, us, ms or s");
}

std::int64_t errno_value(std::string_view entry, std::string_view text) {
    static constexpr struct {
        const char* name;
        int value;
    } names[] = {{"EAGAIN", EAGAIN}, {"ENOMEM", ENOMEM}, {"EMFILE", EMFILE}, {"ENFILE", ENFILE}, {"EINTR", EINTR},
                 {"EPERM", EPERM},   {"ENOSYS", ENOSYS}, {"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EACCES", EACCES},
                 {"ENOENT", ENOENT}, {"EPIPE", EPIPE},   {"EINVAL", EINVAL}, {"ESRCH", ESRCH}};
    for (const auto& n : names)
        if (text == n.name) return n.value;
    return number(entry, text);
}

// POINT=ACTION[:ARGUMENT][@N[+]][%P]
Entry parse(std::string_view text) {
    Entry e;
    const auto equals = text.find('=');
    if (equals == text.npos) refuse(text, "POINT=ACTION was expected");
    e.point = &find(text, text.substr(0, equals));
    std::string_view how = text.substr(equals + 1);
    if (const auto at = how.rfind('%'); at != how.npos) {
        e.percent = static_cast<unsigned>(number(text, how.substr(at + 1)));
        how = how.substr(0, at);
    }
    if (const auto at = how.rfind('@'); at != how.npos) {
        std::string_view n = how.substr(at + 1);
        if (n.ends_with('+')) {
            e.and_later = true;
            n.remove_suffix(1);
        }
        e.nth = static_cast<std::uint64_t>(number(text, n));
        how = how.substr(0, at);
    }
    std::string_view argument;
    if (const auto colon = how.find(':'); colon != how.npos) {
        argument = how.substr(colon + 1);
        how = how.substr(0, colon);
    }
    if (how == "delay") {
        e.action = Action::delay;
        e.argument = duration_ns(text, argument);
    } else if (how == "fail") {
        e.action = Action::fail;
        e.argument = errno_value(text, argument);
    } else if (how == "exit") {
        e.action = Action::exit;
        e.argument = number(text, argument);
    } else if (how == "wait") {
        e.action = Action::wait;
        e.other = &find(text, argument);
    } else {
        static constexpr struct {
            const char* name;
            Action action;
        } plain[] = {{"yield", Action::yield}, {"kill", Action::kill},    {"stop", Action::stop},
                     {"abort", Action::abort}, {"throw", Action::throw_}, {"count", Action::none}};
        bool known = false;
        for (const auto& p : plain)
            if (how == p.name) (known = true), e.action = p.action;
        if (!known)
            refuse(text, "unknown action; there are delay yield fail kill stop abort exit throw wait and count");
        if (!argument.empty()) refuse(text, "this action takes no argument");
    }
    return e;
}

void add(const Entry& e) {
    TableGuard guard;
    const int n = __atomic_load_n(&used, __ATOMIC_RELAXED);
    if (n == most_entries) throw std::invalid_argument("fault table: it has room for 64 entries");
    entries[n] = e;
    __atomic_store_n(&used, n + 1, __ATOMIC_RELEASE);
    __atomic_fetch_or(&e.point->state, FaultPoint::armed, __ATOMIC_RELEASE);
}

void report(const char* name) noexcept {
    static const char* const path = ::secure_getenv("SENNIT_FAULT_REPORT");
    if (!path) return;
    if (std::FILE* f = std::fopen(path, "ae")) { // append mode: whole lines, also from several processes
        std::fprintf(f, "%s\n", name);
        std::fclose(f);
    }
}

void sleep_ns(std::int64_t ns) noexcept {
    timespec left{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    while (::nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

std::uint64_t passes_of(const FaultPoint& point) noexcept {
    std::uint64_t most = 0;
    const int n = __atomic_load_n(&used, __ATOMIC_ACQUIRE);
    for (int i = 0; i < n; ++i)
        if (entries[i].point == &point) {
            const std::uint64_t p = __atomic_load_n(&entries[i].passes, __ATOMIC_ACQUIRE);
            if (p > most) most = p;
        }
    return most;
}

// Until `other` has been passed after the table was armed. Gives up when the table is emptied, and after 10 s.
void wait_for(const FaultPoint& point, const FaultPoint& other) noexcept {
    const std::uint64_t began = __atomic_load_n(&epoch, __ATOMIC_RELAXED);
    for (int i = 0; passes_of(other) == 0; ++i) {
        if (__atomic_load_n(&epoch, __ATOMIC_RELAXED) != began) return;
        if (i == 100'000) {
            std::fprintf(stderr, "sennit: fault point %s has waited 10 s for %s, and goes on\n", point.name,
                         other.name);
            return;
        }
        sleep_ns(i < 100 ? 1'000 : 100'000);
    }
}

int perform(const Entry& e) {
    __atomic_fetch_add(&injected, 1, __ATOMIC_RELAXED);
    switch (e.action) {
    case Action::none:
        break;
    case Action::delay:
        sleep_ns(e.argument);
        break;
    case Action::yield:
        ::sched_yield();
        break;
    case Action::fail:
        return static_cast<int>(e.argument);
    case Action::kill:
        std::raise(SIGKILL);
        break;
    case Action::stop:
        std::raise(SIGSTOP);
        break;
    case Action::abort:
        std::abort();
    case Action::exit:
        std::_Exit(static_cast<int>(e.argument));
    case Action::throw_:
        throw FaultInjected(std::string("injected at ") + e.point->name);
    case Action::wait:
        wait_for(*e.point, *e.other);
        break;
    }
    return 0;
}

// SENNIT_FAULTS, once all points are listed: at the first pass of any.
bool arm_from_environment() {
    const char* table = ::secure_getenv("SENNIT_FAULTS");
    if (!table) return true;
    try {
        const char* seed = ::secure_getenv("SENNIT_SEED");
        arm_faults(table, seed ? std::strtoull(seed, nullptr, 0) : 1);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "sennit: SENNIT_FAULTS: %s\n", e.what());
        std::abort();
    }
    return true;
}

} // namespace

impl::FaultPointListed::FaultPointListed(FaultPoint& point) noexcept {
    point.next = first; // before main(), or under the loader's lock
    first = &point;
}

int FaultPoint::pass_slow() {
    const int saved = errno;
    static const bool environment_read = arm_from_environment();
    static_cast<void>(environment_read);
    if (!(__atomic_fetch_or(&state, reached, __ATOMIC_RELAXED) & reached)) report(name);
    int error = 0;
    const int n = __atomic_load_n(&used, __ATOMIC_ACQUIRE);
    for (int i = 0; i < n && error == 0; ++i) {
        Entry& e = entries[i];
        if (e.point != this) continue;
        // release: meets the acquire in passes_of(): who waited for this point sees what was done before it.
        const std::uint64_t pass = __atomic_add_fetch(&e.passes, 1, __ATOMIC_RELEASE);
        if (e.action == Action::none) continue;
        if (e.nth != 0 && (e.and_later ? pass < e.nth : pass != e.nth)) continue;
        if (e.percent < 100 && draw() % 100 >= e.percent) continue;
        error = perform(e);
    }
    errno = saved;
    return error;
}

FaultPoint* all_fault_points() noexcept { return first; }

void arm_faults(const char* table, std::uint64_t seed) {
    __atomic_store_n(&random_state, seed, __ATOMIC_RELAXED);
    for (std::string_view rest = table; !rest.empty();) {
        const auto end = rest.find(';');
        std::string_view text = rest.substr(0, end);
        rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
        while (text.starts_with(' ')) text.remove_prefix(1);
        while (text.ends_with(' ')) text.remove_suffix(1);
        if (text.empty()) continue;
        const Entry e = parse(text);
        if (e.other) { // count its passes
            Entry counted;
            counted.point = e.other;
            add(counted);
        }
        add(e);
    }
}

void disarm_faults() noexcept {
    TableGuard guard;
    for (FaultPoint* p = first; p; p = p->next)
        __atomic_fetch_and(&p->state, static_cast<unsigned char>(~FaultPoint::armed), __ATOMIC_RELAXED);
    __atomic_store_n(&used, 0, __ATOMIC_RELEASE);
    __atomic_add_fetch(&epoch, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&injected, 0, __ATOMIC_RELAXED);
}

std::uint64_t faults_injected() noexcept { return __atomic_load_n(&injected, __ATOMIC_RELAXED); }

std::uint64_t fault_point_passes(const char* name) noexcept {
    for (FaultPoint* p = first; p; p = p->next)
        if (std::string_view(name) == p->name) return passes_of(*p);
    return 0;
}

} // namespace sennit::base

#endif

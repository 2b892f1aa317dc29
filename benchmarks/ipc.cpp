// Two processes on two cores: round trips of 64 bytes, with the other side awake or asleep, and messages of 1 MiB.
#include "common/processes.hpp"

#include <array>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <memory>
#include <sennit/multiprocessing.hpp>
#include <span>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace {

using bench::Board;
using bench::seconds;
namespace mp = sennit::multiprocessing;
namespace bip = boost::interprocess;

constexpr std::size_t message_bytes = 64, mib = std::size_t{1} << 20;
using Bytes = std::array<std::byte, message_bytes>;

void read_all(int fd, void* to, std::size_t n) {
    for (char* p = static_cast<char*>(to); n > 0;) {
        const ssize_t k = ::read(fd, p, n);
        if (k <= 0) bench::die("read");
        p += k;
        n -= static_cast<std::size_t>(k);
    }
}
void write_all(int fd, const void* from, std::size_t n) {
    for (const char* p = static_cast<const char*>(from); n > 0;) {
        const ssize_t k = ::write(fd, p, n);
        if (k <= 0) bench::die("write");
        p += k;
        n -= static_cast<std::size_t>(k);
    }
}

// What both sides do: ask() and answer() one round trip.
struct Gates {
    alignas(64) bench::Gate a;
    alignas(64) bench::Gate b;
    alignas(64) Bytes message;
};
template <int spins>
struct Futex {
    Gates* g = bench::shared<Gates>();
    std::uint32_t n = 0;
    Bytes mine{};
    void ask() {
        g->message = mine;
        g->a.post();
        g->b.await(++n, spins);
        mine = g->message;
    }
    void answer() {
        g->a.await(++n, spins);
        mine = g->message;
        g->message = mine;
        g->b.post();
    }
};
struct SennitQueue {
    mp::Queue<Bytes> there, back;
    Bytes mine{};
    void ask() {
        there.put(mine);
        mine = back.get();
    }
    void answer() { back.put(there.get()); }
};
struct SennitPipe {
    std::pair<mp::Connection, mp::Connection> ends = mp::Pipe();
    Bytes mine{};
    void ask() {
        ends.first.send(mine);
        mine = ends.first.recv<Bytes>();
    }
    void answer() { ends.second.send(ends.second.recv<Bytes>()); }
};
struct SocketPair {
    int fd[2];
    Bytes mine{};
    SocketPair() {
        if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0) bench::die("socketpair");
    }
    ~SocketPair() {
        ::close(fd[0]);
        ::close(fd[1]);
    }
    void ask() {
        write_all(fd[0], &mine, sizeof mine);
        read_all(fd[0], &mine, sizeof mine);
    }
    void answer() {
        read_all(fd[1], &mine, sizeof mine);
        write_all(fd[1], &mine, sizeof mine);
    }
};
struct BoostQueue {
    std::string a = "sennit-bench-a-" + std::to_string(::getpid()), b = "sennit-bench-b-" + std::to_string(::getpid());
    bip::message_queue there{bip::open_or_create, a.c_str(), 16, message_bytes},
        back{bip::open_or_create, b.c_str(), 16, message_bytes};
    Bytes mine{};
    BoostQueue() {
        bip::message_queue::remove(a.c_str()); // both sides have it already
        bip::message_queue::remove(b.c_str());
    }
    void pass(bip::message_queue& in, bip::message_queue& out, bool first_out) {
        bip::message_queue::size_type n = 0;
        unsigned priority = 0;
        if (first_out) out.send(&mine, sizeof mine, 0);
        in.receive(&mine, sizeof mine, n, priority);
        if (!first_out) out.send(&mine, sizeof mine, 0);
    }
    void ask() { pass(back, there, true); }
    void answer() { pass(there, back, false); }
};

template <class Link>
double hot(int n) {
    Link link;
    const pid_t other = bench::child([&] {
        bench::pin_to_one_of_two(1);
        for (int i = 0; i < n + 100; ++i) link.answer();
    });
    bench::pin_to_one_of_two(0);
    for (int i = 0; i < 100; ++i) link.ask();
    const double start = seconds();
    for (int i = 0; i < n; ++i) link.ask();
    const double took = seconds() - start;
    bench::reap(other);
    return took / n * 1e6;
}
// Between two round trips a pause, in which the other side falls asleep.
template <class Link>
double asleep(int n) {
    Link link;
    const pid_t other = bench::child([&] {
        bench::pin_to_one_of_two(1);
        for (int i = 0; i < n; ++i) link.answer();
    });
    bench::pin_to_one_of_two(0);
    double took = 0;
    for (int i = 0; i < n; ++i) {
        ::usleep(500);
        const double start = seconds();
        link.ask();
        took += seconds() - start;
    }
    bench::reap(other);
    return took / n * 1e6;
}
template <class Link>
void add_round_trips(Board& board, const char* who, int n) {
    board.add("round trip of 64 B, hot", who, "us", [=] { return hot<Link>(n); });
}
template <class Link>
void add_asleep(Board& board, const char* who) {
    board.add("round trip of 64 B, asleep", who, "us", [] { return asleep<Link>(300); });
}

// ---- messages of 1 MiB: send() and receive() one, out of and into a buffer of one's own

struct Slots {
    static constexpr std::uint32_t n = 4;
    struct End {
        alignas(64) std::atomic<std::uint32_t> position{0};
        alignas(64) bench::Gate gate;
    };
    End in, out;
    alignas(4096) char slot[n][mib];
};
struct Ring {
    Slots* s = bench::shared<Slots>();
    std::vector<char> mine = std::vector<char>(mib, 'x');
    ~Ring() { ::munmap(s, sizeof *s); }
    static void wait(Slots::End& end, std::uint32_t behind) { // until it is further
        const auto there = [&] {
            return static_cast<std::int32_t>(end.position.load(std::memory_order_acquire) - behind) > 0;
        };
        for (int k = 0; !there();) {
            if (++k < 2'000) {
                bench::relax();
                continue;
            }
            const std::uint32_t seen = end.gate.v.load();
            end.gate.sleeping.store(1);
            std::atomic_thread_fence(std::memory_order_seq_cst);
            if (!there()) bench::futex_wait(end.gate.v, seen);
            end.gate.sleeping.store(0);
        }
    }
    void send() {
        const std::uint32_t i = s->in.position.load(std::memory_order_relaxed);
        wait(s->out, i - Slots::n);
        std::memcpy(s->slot[i % Slots::n], mine.data(), mib);
        s->in.position.store(i + 1, std::memory_order_release);
        s->in.gate.post();
    }
    void receive() {
        const std::uint32_t i = s->out.position.load(std::memory_order_relaxed);
        wait(s->in, i);
        std::memcpy(mine.data(), s->slot[i % Slots::n], mib);
        s->out.position.store(i + 1, std::memory_order_release);
        s->out.gate.post();
    }
};
struct QueueOfSpans {
    mp::Queue<std::vector<char>> queue{4};
    std::vector<char> mine = std::vector<char>(mib, 'x');
    void send() { queue.put_range(mine); }
    void receive() {
        if (queue.get_range(mine) != mib) bench::die("a message was cut");
    }
};
struct QueueOfObjects {
    mp::Queue<std::vector<int>> queue{4};
    std::vector<int> mine = std::vector<int>(mib / sizeof(int), 7);
    void send() { queue.put(mine); }
    void receive() {
        const std::vector<int> got = queue.get();
        if (got.size() != mine.size() || got.back() != 7) bench::die("a message was cut");
    }
};
struct PipeOfBytes {
    std::pair<mp::Connection, mp::Connection> ends = mp::Pipe();
    std::vector<char> mine = std::vector<char>(mib, 'x');
    void send() { ends.first.send_bytes(std::as_bytes(std::span(mine))); }
    void receive() {
        if (ends.second.recv_bytes_into(std::as_writable_bytes(std::span(mine))) != mib)
            bench::die("a message was cut");
    }
};
struct SocketOfBytes : SocketPair {
    std::vector<char> buffer = std::vector<char>(mib, 'x');
    void send() { write_all(fd[0], buffer.data(), mib); }
    void receive() { read_all(fd[1], buffer.data(), mib); }
};
struct BoostOfBytes {
    std::string name = "sennit-bench-bulk-" + std::to_string(::getpid());
    bip::message_queue queue{bip::open_or_create, name.c_str(), 4, mib};
    std::vector<char> buffer = std::vector<char>(mib, 'x');
    BoostOfBytes() { bip::message_queue::remove(name.c_str()); }
    void send() { queue.send(buffer.data(), mib, 0); }
    void receive() {
        bip::message_queue::size_type n = 0;
        unsigned priority = 0;
        queue.receive(buffer.data(), mib, n, priority);
    }
};

template <class Link>
double bulk(int n) {
    Link link;
    bench::Gate* const done = bench::shared<bench::Gate>();
    const pid_t other = bench::child([&] {
        bench::pin_to_one_of_two(1);
        for (int i = 0; i < 8; ++i) link.receive();
        done->post();
        for (int i = 0; i < n; ++i) link.receive();
        done->post();
    });
    bench::pin_to_one_of_two(0);
    for (int i = 0; i < 8; ++i) link.send();
    done->await(1, 0);
    const double start = seconds();
    for (int i = 0; i < n; ++i) link.send();
    done->await(2, 0);
    const double took = seconds() - start;
    bench::reap(other);
    ::munmap(done, sizeof *done);
    return static_cast<double>(n) * mib / took / 1e9;
}
template <class Link>
void add_bulk(Board& board, const char* who, int n) {
    board.add("1 MiB messages", who, "GB/s", [=] { return bulk<Link>(n); });
}

} // namespace

int main(int argc, char** argv) {
    Board board;
    add_round_trips<Futex<-1>>(board, "shared memory, polling for ever (limit)", 100'000);
    add_round_trips<Futex<2'000>>(board, "futex in shared memory, 2,000 polls then asleep", 20'000);
    add_round_trips<SennitQueue>(board, "sennit multiprocessing::Queue, a pair", 20'000);
    add_round_trips<SennitPipe>(board, "sennit multiprocessing::Pipe", 5'000);
    add_round_trips<SocketPair>(board, "socketpair", 5'000);
    add_round_trips<BoostQueue>(board, "Boost.Interprocess message_queue", 5'000);
    add_asleep<Futex<0>>(board, "two futex wakes (limit)");
    add_asleep<SennitQueue>(board, "sennit multiprocessing::Queue, a pair");
    add_asleep<SennitPipe>(board, "sennit multiprocessing::Pipe");
    add_asleep<SocketPair>(board, "socketpair");
    add_asleep<BoostQueue>(board, "Boost.Interprocess message_queue");
    add_bulk<Ring>(board, "shared ring of 4, copied in and out (limit)", 1'000);
    add_bulk<QueueOfSpans>(board, "sennit multiprocessing::Queue, spans", 1'000);
    add_bulk<QueueOfObjects>(board, "sennit multiprocessing::Queue, objects", 1'000);
    add_bulk<PipeOfBytes>(board, "sennit multiprocessing::Pipe, bytes", 300);
    add_bulk<SocketOfBytes>(board, "socketpair", 300);
    add_bulk<BoostOfBytes>(board, "Boost.Interprocess message_queue, 4 deep", 300);
    return board.run(argc, argv);
}

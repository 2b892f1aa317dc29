// Fuzz target: a Connection whose other end writes any bytes at all: as messages, as an object, and as either half of the handshake.
// Each ends in a value or a typed exception, no message is longer than was asked for, no key is taken for right that is not, and no
// descriptor stays open.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include <sennit/base/deadline.hpp>
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/multiprocessing/listener.hpp>
#include <sennit/os/fd.hpp>

#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace sennit;
using multiprocessing::Connection;

constexpr std::size_t longest = 1000;

void must(bool holds) {
    if (!holds) std::abort();
}

template <class F>
bool ends_well(F&& f) {
    try {
        f();
        return true;
    } catch (const std::exception&) {
        return false;
    }
}

int next_descriptor() {
    const int fd = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0) ::close(fd);
    return fd;
}

int one_input(const std::uint8_t* data, std::size_t size) {
    if (size < 2 || size > 60'000) return 0; // what fits into a socket
    const int before = next_descriptor();
    {
        int ends[2];
        must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        Connection connection{os::Fd(ends[0])};
        os::Fd peer{os::Fd(ends[1])};
        must(::write(peer.get(), data + 2, size - 2) == static_cast<ssize_t>(size - 2));
        ::shutdown(peer.get(), SHUT_WR); // it writes no more, and could still be written to
        const Deadline soon = std::chrono::seconds(20);
        const bool legacy = (data[1] & 1) != 0;
        switch (data[0] % 5) {
        case 0:
            connection.set_max_message(longest);
            while (ends_well([&] { must(connection.recv_bytes(soon).size() <= longest); })) {}
            break;
        case 1: {
            std::byte room[16];
            while (ends_well([&] { must(connection.recv_bytes_into(room, soon) <= sizeof room); })) {}
            break;
        }
        case 2:
            connection.set_max_message(longest);
            while (ends_well([&] {
                const auto all = connection.recv<std::map<std::string, std::vector<std::string>>>(soon);
                must(all.size() <= longest);
            })) {}
            break;
        case 3: // the digest of a random challenge under a key that these bytes do not know
            must(!ends_well([&] { multiprocessing::deliver_challenge(connection, "a key", legacy, soon); }));
            break;
        default:
            ends_well([&] { multiprocessing::answer_challenge(connection, "a key", legacy, soon); });
        }
    }
    must(next_descriptor() == before);
    return 0;
}

} // namespace

#ifdef SENNIT_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { return one_input(data, size); }
#else
#include "support/seed.hpp"
#include "support/tier.hpp"

#include <gtest/gtest.h>
#include <random>
#include <string_view>

namespace sennit::testing {
namespace {

void append_length(std::string& to, std::uint64_t n, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) to += static_cast<char>(n >> (8 * i) & 0xff);
}

TEST(F40Fuzz, any_bytes_on_a_connection_end_in_a_message_or_a_typed_exception) {
    static constexpr std::string_view pieces[] = {"#CHALLENGE#",
                                                  "#WELCOME#",
                                                  "#FAILURE#",
                                                  "{sha256}",
                                                  "{md5}",
                                                  "{",
                                                  "xxxxxxxxxxxxxxxxxxxx",
                                                  "0123456789abcdef",
                                                  "0123456789abcdef0123456789abcdef",
                                                  "\xff\xff\xff\xff"};
    std::mt19937_64 random(seed());
    std::string good; // what an object looks like
    {
        int ends[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        Connection from{os::Fd(ends[0])};
        const os::Fd to{os::Fd(ends[1])};
        from.send(std::map<std::string, std::vector<std::string>>{{"one", {"a", "b"}}, {"two", {}}});
        char bytes[512];
        const ssize_t n = ::read(to.get(), bytes, sizeof bytes);
        ASSERT_GT(n, 0);
        good.assign(bytes, static_cast<std::size_t>(n));
    }
    const std::int64_t runs = by_tier(sanitized() ? 3'000 : 20'000, 500'000, 5'000'000);
    std::string input, body;
    for (std::int64_t run = 0; run < runs; ++run) {
        input.clear();
        input += static_cast<char>(random());
        input += static_cast<char>(random());
        for (auto messages = random() % 4; messages > 0; --messages) {
            body.clear();
            if (random() % 3 == 0) {
                body = good;
                for (auto changes = random() % 4; changes > 0; --changes)
                    body[random() % body.size()] = static_cast<char>(random() % 4 == 0 ? random() : random() % 16);
                input += body;
                continue;
            }
            for (auto n = random() % 5; n > 0; --n) body += pieces[random() % std::size(pieces)];
            switch (random() % 8) { // its length: right, nearly, long form, any
            case 0:
                append_length(input, body.size() + 1, 4);
                break;
            case 1:
                append_length(input, 0xffffffff, 4), append_length(input, body.size(), 8);
                break;
            case 2:
                append_length(input, random(), 4);
                break;
            case 3:
                append_length(input, 0xffffffff, 4), append_length(input, random(), 8);
                break;
            default:
                append_length(input, body.size(), 4);
            }
            input += body;
        }
        if (random() % 8 == 0) input.resize(2 + random() % (input.size() - 1));
        one_input(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    }
}

} // namespace
} // namespace sennit::testing
#endif

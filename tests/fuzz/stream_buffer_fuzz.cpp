// Fuzz target: StreamBuffer. Any bytes are a sequence of feeding and reading; whatever comes out, put together, is what went in, and
// each reading keeps its promise.
//
// With libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DSENNIT_LIBFUZZER; without, the test below runs random inputs.
#include <sennit/asyncio/stream_buffer.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using sennit::asyncio::IncompleteReadError;
using sennit::asyncio::LimitOverrunError;
using sennit::asyncio::Separators;
using sennit::asyncio::StreamBuffer;

void must(bool holds) {
    if (!holds) std::abort();
}

} // namespace

#ifdef SENNIT_LIBFUZZER
#define one_input LLVMFuzzerTestOneInput
extern "C"
#else
static
#endif
    int
    one_input(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    StreamBuffer buffer(data[0] % 16 + 1U);
    const Separators one("ab"), several{"a", "bb", "aba"};
    std::string in, out;     // all that went in, all that came out
    std::size_t dropped = 0; // of lines too long
    std::string held;        // what is to be in the buffer
    const auto came = [&](const std::string& text) {
        must(held.starts_with(text));
        held.erase(0, text.size());
        out += text;
    };
    for (std::size_t i = 1; i < size; ++i) {
        const unsigned n = data[i] >> 4;
        try {
            switch (data[i] & 7) {
            case 0:
            case 1: { // feed, in one of two ways
                std::string piece;
                for (unsigned k = 0; k < n; ++k) piece += "ab\nx"[(i * 7 + k * 3 + data[i]) & 3];
                if (buffer.eof()) break;
                if ((data[i] & 8) != 0) {
                    const auto room = buffer.prepare(piece.size() + 1);
                    if (auto some = buffer.take_some(1); some && !held.empty()) came(*some); // while it is lent
                    piece.copy(room.data(), piece.size());
                    buffer.commit(piece.size());
                } else {
                    buffer.feed(piece);
                }
                in += piece;
                held += piece;
                break;
            }
            case 2:
                if (auto r = buffer.take_some(n)) must(r->size() <= n), came(*r);
                break;
            case 3:
                if (auto r = buffer.take_exactly(n)) must(r->size() == n), came(*r);
                break;
            case 4: {
                StreamBuffer::Search search;
                if (auto r = buffer.take_until(one, search)) {
                    must(r->find("ab") == r->size() - 2);
                    came(*r);
                }
                break;
            }
            case 5: {
                StreamBuffer::Search search;
                if (auto r = buffer.take_until(several, search)) {
                    must(r->ends_with("a") || r->ends_with("bb"));
                    must(r->substr(0, r->size() - 1).find('a') == std::string::npos);
                    came(*r);
                }
                break;
            }
            case 6: {
                StreamBuffer::Search search;
                if (auto r = buffer.take_line(search)) {
                    must(r->find('\n') >= r->size() - 1 || buffer.eof());
                    came(*r);
                }
                break;
            }
            default:
                if (n == 15) buffer.feed_eof();
                buffer.release_if_empty();
            }
        } catch (const IncompleteReadError& e) {
            must(buffer.eof());
            came(e.partial());
        } catch (const LimitOverrunError& e) {
            must(e.consumed() > buffer.limit());
            if ((data[i] & 7) == 6) { // the line is gone
                must(held.size() >= buffer.size());
                dropped += held.size() - buffer.size();
                held.erase(0, held.size() - buffer.size());
            }
        }
        must(buffer.view() == held);
    }
    must(out.size() + dropped + held.size() == in.size());
    return 0;
}

#ifndef SENNIT_LIBFUZZER
#include <gtest/gtest.h>
#include <random>

namespace {

TEST(StreamBufferFuzz, what_comes_out_is_what_went_in_whatever_the_order) {
    const char* executions = std::getenv("SENNIT_FUZZ_RUNS");
    const int runs = executions != nullptr ? std::atoi(executions) : 20'000;
    std::mt19937 random(42);
    std::string input;
    for (int run = 0; run < runs; ++run) {
        input.clear();
        for (std::size_t n = random() % 60; n > 0; --n) input += static_cast<char>(random());
        one_input(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    }
}

} // namespace
#endif

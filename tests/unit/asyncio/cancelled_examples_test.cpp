// The coroutines of the repository's examples, each cancelled at its 1st, 2nd, … suspension.
#if !defined(__clang__) // lambdas in a source that is included; before the templates that they go to
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif
#include <sennit/asyncio.hpp>
#include <sennit/threading.hpp>

#include "support/cancel_everywhere.hpp"

#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

// Their sources, each in a namespace of its own; what they include is included above.
#define main run_as_a_program
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type" // main may do without a return
namespace gather_sleeps {
#include "../../../examples/gather_sleeps.cpp"
}
namespace generator_coroutines {
#include "../../../examples/generator_coroutines.cpp"
}
namespace download_coroutines {
#include "../../../examples/download_coroutines.cpp"
}
namespace event_driven_server {
#include "../../../examples/event_driven_server.cpp"
}
#pragma GCC diagnostic pop
#undef main

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using testing::cancel_everywhere;

// For what refers to nothing of this frame: a coroutine that can be made again and again.
Coro<> discard(Coro<bool> coro) { co_await std::move(coro); }

TEST(CancelledExamples, gather_sleeps) {
    EXPECT_GE(cancel_everywhere([] { return gather_sleeps::both(); }), 1);
    EXPECT_GE(cancel_everywhere([] { return gather_sleeps::wait_for("early", 1ms); }), 1);
}

TEST(CancelledExamples, generators) {
    EXPECT_GE(cancel_everywhere([] { return generator_coroutines::show_all(); }), 3);
}

TEST(CancelledExamples, downloads_in_coroutines) {
    wait::current_agent();
    // A server for each run: its threads, which end when they notice, are no leak.
    std::optional<download_coroutines::SlowServer> server;
    const auto end_server = [&] { server.reset(); };
    const download_coroutines::Download file{"one", 5, 100'000};
    const auto fetch_all = [&]() -> Coro<> {
        server.emplace();
        co_await download_coroutines::fetch_all(server->port());
    };
    const auto fetch_one = [&]() -> Coro<> {
        server.emplace();
        co_await download_coroutines::fetch_file(server->port(), file);
    };
    EXPECT_GE(cancel_everywhere(fetch_all, end_server), 1);
    EXPECT_GE(cancel_everywhere(fetch_one, end_server), 1);
}

TEST(CancelledExamples, a_server_and_its_clients) {
    EXPECT_GE(cancel_everywhere([]() -> Coro<> { co_await event_driven_server::serve(8); }), 2);
    EXPECT_GE(cancel_everywhere([]() -> Coro<> {
                  Server server = co_await start_server(event_driven_server::answer, "127.0.0.1", 0);
                  event_driven_server::Crowd crowd(1);
                  co_await discard(event_driven_server::client(server.port(), 7, crowd));
              }),
              2);
    // The server's side of a connection: its client asks when the handler already waits.
    EXPECT_GE(cancel_everywhere([]() -> Coro<> {
                  struct Ends {
                      std::optional<StreamReader> in;
                      std::optional<StreamWriter> out;
                      Event connected;
                  };
                  const auto ends = std::make_shared<Ends>(); // the handler may run when this has been cancelled
                  // Named: g++ 12 destroys a closure with captures twice when it is a temporary of a co_await.
                  const auto keep = [ends](StreamReader reader, StreamWriter writer) -> Coro<> {
                      ends->in.emplace(std::move(reader));
                      ends->out.emplace(std::move(writer));
                      ends->connected.set();
                      co_return;
                  };
                  Server server = co_await start_server(keep, "127.0.0.1", 0);
                  auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
                  co_await ends->connected.async_wait();
                  StreamWriter& asks = writer;
                  co_await gather(event_driven_server::answer(std::move(*ends->in), std::move(*ends->out)),
                                  [&asks]() -> Coro<> {
                                      co_await sleep(1ms);
                                      asks.write("12\n");
                                      asks.write_eof();
                                  });
                  EXPECT_EQ(co_await reader.readline(), "144\n");
              }),
              3);
}

} // namespace
} // namespace sennit::asyncio

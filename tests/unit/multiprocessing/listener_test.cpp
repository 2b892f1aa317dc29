#include <sennit/asyncio.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/os/fd_passing.hpp>
#include <sennit/os/io.hpp>

#include "multiprocessing/digest.hpp"
#include "support/snapshot.hpp"

#include <chrono>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

class ListenerTest : public sennit::testing::SnapshotTest {
  protected:
    void SetUp() override {
        wait::current_agent(); // the main thread is one from here on
        SnapshotTest::SetUp();
    }
};

std::string hex(const std::string& bytes) {
    std::string text;
    for (const unsigned char c : bytes) {
        text += "0123456789abcdef"[c >> 4];
        text += "0123456789abcdef"[c & 15];
    }
    return text;
}
std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Digest, agrees_with_the_standards_examples) {
    EXPECT_EQ(hex(digest::sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hex(digest::sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex(digest::sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hex(digest::md5("")), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(hex(digest::md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890")),
              "57edf4a22be3c955ac49da2e2107b67a");
    // RFC 4231, case 2 and 6; RFC 2104, the second.
    EXPECT_EQ(hex(digest::hmac_sha256("Jefe", "what do ya want for nothing?")),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    EXPECT_EQ(
        hex(digest::hmac_sha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    EXPECT_EQ(hex(digest::hmac_md5("Jefe", "what do ya want for nothing?")), "750c783e6ab0b503eaa86e310a5db738");
}

// What CPython answers, as recorded from it.
std::string answer_to(const std::string& message, bool legacy = true) {
    auto [ours, theirs] = Pipe();
    theirs.send_bytes(message);
    theirs.send_bytes("#WELCOME#");
    answer_challenge(ours, "braid-test-key", legacy);
    return hex(text_of(theirs.recv_bytes()));
}
std::string counted(int n) {
    std::string bytes;
    for (int i = 0; i < n; ++i) bytes += static_cast<char>(i);
    return bytes;
}

TEST_F(ListenerTest, answers_both_handshakes_of_CPython_byte_for_byte) {
    EXPECT_EQ(answer_to("#CHALLENGE#" + counted(20)), "bd7ff81adb6f2945a11838412e508002");
    EXPECT_EQ(answer_to("#CHALLENGE#{sha256}" + counted(40)),
              "7b7368613235367dd5a41dceac61e92fee04bdb69d451eca00d574da97f69403d508af3f9e7b15a6");
    EXPECT_THROW(answer_to("#CHALLENGE#" + counted(20), false), AuthenticationError);
    EXPECT_THROW(answer_to("#CHALLENGE#{sha1}" + counted(40)), AuthenticationError);
    EXPECT_THROW(answer_to("hello"), AuthenticationError);
    EXPECT_THROW(answer_to(std::string(300, 'x')), CargoError);
}

TEST_F(ListenerTest, takes_both_answers_of_CPython_and_no_other) {
    for (const auto& [legacy, modern_answer, right] :
         {std::tuple{true, true, true}, {true, false, true}, {false, false, false}, {false, true, true}}) {
        auto [ours, theirs] = Pipe();
        std::thread peer([&, modern = modern_answer] {
            const std::string message = text_of(theirs.recv_bytes()).substr(11);
            theirs.send_bytes(modern ? "{sha256}" + digest::hmac_sha256("key", message)
                                     : digest::hmac_md5("key", message));
        });
        bool taken = true;
        try {
            deliver_challenge(ours, "key", legacy);
        } catch (const AuthenticationError&) {
            taken = false;
        }
        peer.join();
        EXPECT_EQ(taken, right) << legacy << modern_answer;
        EXPECT_EQ(text_of(theirs.recv_bytes()), right ? "#WELCOME#" : "#FAILURE#");
    }
    Connection none;
    EXPECT_THROW(deliver_challenge(none, ""), UsageError);
}

TEST_F(ListenerTest, a_path_is_private_and_goes_with_the_listener) {
    Address address;
    {
        Listener listener;
        address = listener.address();
        const std::filesystem::path path = address.path();
        struct stat info {};
        ASSERT_EQ(::stat(path.c_str(), &info), 0);
        EXPECT_EQ(info.st_mode & 0777, 0600u);
        ASSERT_EQ(::stat(path.parent_path().c_str(), &info), 0);
        EXPECT_EQ(info.st_mode & 0777, 0700u);
        std::thread client([&] { Client(address).send(1); });
        EXPECT_EQ(listener.accept().recv<int>(), 1);
        client.join();
        EXPECT_THROW(Listener{address}, OSError) << "the address is taken";
    }
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(address.path()).parent_path()));
    EXPECT_THROW(Client(address), OSError);
}

TEST_F(ListenerTest, a_port_of_this_machine_is_usable_again_at_once) {
    Address address("localhost", 0);
    for (int i = 0; i < 3; ++i) {
        Listener listener(address, {.authkey = "key"});
        address = listener.address();
        EXPECT_EQ(address.host(), "127.0.0.1");
        EXPECT_NE(address.port(), 0);
        std::thread client([&] {
            Connection c = Client(address, {.authkey = "key"});
            c.send(std::string("hello"));
            EXPECT_THROW(c.recv<int>(), EndOfFile);
        });
        Connection c = listener.accept();
        EXPECT_EQ(c.recv<std::string>(), "hello");
        EXPECT_EQ(listener.last_accepted().host(), "127.0.0.1");
        EXPECT_THROW(c.send(Value<int>(1)), UsageError) << "TCP takes no descriptors";
        c.close();
        client.join();
    }
    EXPECT_THROW(Listener(Address("0.0.0.0", 0)), UsageError);
    EXPECT_THROW(Client(Address("192.0.2.1", 9)), UsageError);
    EXPECT_THROW(Client(Address("no.such.name", 9)), UsageError);
    EXPECT_THROW(Client({}), UsageError);
}

TEST_F(ListenerTest, who_has_another_key_is_refused_on_both_sides_and_the_next_is_served) {
    Listener listener({}, {.authkey = "right"});
    std::thread client([&] {
        EXPECT_THROW(Client(listener.address(), {.authkey = "wrong"}), AuthenticationError);
        Connection stranger = Client(listener.address()); // who says something else
        stranger.send_bytes(std::string(300, 'x'));
        Connection good = Client(listener.address(), {.authkey = "right"});
        EXPECT_EQ(good.recv<int>(), 1);
    });
    EXPECT_THROW(listener.accept(), AuthenticationError);
    EXPECT_THROW(listener.accept(), AuthenticationError);
    listener.accept().send(1);
    client.join();
}

TEST_F(ListenerTest, a_silent_peer_is_let_go_after_the_time_for_the_handshake) {
    Listener listener({}, {.authkey = "key", .handshake_time = 20ms});
    const Connection silent = Client(listener.address());
    EXPECT_THROW(listener.accept(), AuthenticationError);
    EXPECT_THROW(listener.accept(1ms), TimeoutError) << "nobody else is there";
    listener.close();
    EXPECT_THROW(listener.accept(), UsageError);
}

TEST_F(ListenerTest, coroutines_accept_and_connect) {
    Listener listener({}, {.authkey = "key"});
    const auto main = [&]() -> asyncio::Coro<> {
        ConnectionOptions options;
        options.authkey = "key";
        auto connecting = asyncio::create_task(async_client(listener.address(), options));
        Connection server = co_await listener.async_accept();
        Connection client = co_await connecting;
        co_await client.async_send(5);
        const int five = co_await server.async_recv<int>();
        EXPECT_EQ(five, 5);
        options.authkey = "other";
        auto wrong = asyncio::create_task(async_client(listener.address(), options));
        bool refused = false;
        try {
            co_await listener.async_accept();
        } catch (const AuthenticationError&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
        bool refused_there = false;
        try {
            co_await wrong;
        } catch (const AuthenticationError&) {
            refused_there = true;
        }
        EXPECT_TRUE(refused_there);
    };
    asyncio::run(main());
}

} // namespace
} // namespace sennit::multiprocessing

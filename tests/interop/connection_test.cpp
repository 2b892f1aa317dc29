// Listener, Client and Connection with an unmodified Python at the other end, both ways. Every python3 that is found takes part.
#include <sennit/multiprocessing.hpp>
#include <sennit/os/io.hpp>
#include <sennit/subprocess.hpp>

#include <chrono>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> pythons() {
    std::vector<std::string> found;
    for (const char* name : {"python3", "python3.9", "python3.12", "python3.13", "python3.14"}) {
        try {
            if (subprocess::run({name, "-c", "import multiprocessing.connection"}, {.capture_output = true})
                    .returncode == 0)
                found.emplace_back(name);
        } catch (const OSError&) {}
    }
    return found;
}

std::string joined(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text += part;
    return text;
}

// Messages of both frames, and of no bytes.
constexpr std::size_t sizes[] = {0, 1, 16'384, 16'385, 1'000'000};

constexpr const char* echo = R"(
def serve(c):
    while True:
        try:
            c.send_bytes(c.recv_bytes())
        except EOFError:
            break
)";

void echo_through(Connection& c) {
    for (const std::size_t n : sizes) {
        const std::string message(n, static_cast<char>('a' + n % 26));
        c.send_bytes(message);
        EXPECT_EQ(text_of(c.recv_bytes(60s)), message) << n;
    }
}

class PythonConnection : public ::testing::Test {
  protected:
    const std::vector<std::string> all_ = pythons();
    void SetUp() override {
        if (all_.empty()) GTEST_SKIP() << "there is no python3 here";
    }
};

TEST_F(PythonConnection, an_inherited_end_of_a_pipe_is_a_Connection_there) {
    for (const std::string& python : all_) {
        auto [here, there] = Pipe();
        const std::string script = joined({"import sys\nfrom multiprocessing.connection import Connection\n", echo,
                                           "serve(Connection(int(sys.argv[1])))\n"});
        subprocess::Popen child({python, "-c", script, std::to_string(there.fileno())}, {.pass_fds = {there.fileno()}});
        there.close();
        echo_through(here);
        here.close();
        EXPECT_EQ(child.wait(60s), 0) << python;
    }
}

TEST_F(PythonConnection, its_Client_comes_to_our_Listener_with_the_right_key_alone) {
    for (const std::string& python : all_) {
        for (const Address& address : {Address(), Address("localhost", 0)}) {
            Listener listener(address, {.authkey = "secret"});
            const std::string port = std::to_string(listener.address().port());
            const std::string where = listener.address().is_inet() ? joined({"('127.0.0.1', ", port, ")"})
                                                                   : joined({"'", listener.address().path(), "'"});
            const std::string script = joined(
                {"from multiprocessing.connection import Client\nfrom multiprocessing import AuthenticationError\n",
                 echo, "try:\n    Client(", where,
                 ", authkey=b'wrong')\n    raise SystemExit('taken with a wrong key')\n",
                 "except AuthenticationError:\n    pass\nserve(Client(", where, ", authkey=b'secret'))\n"});
            subprocess::Popen child({python, "-c", script});
            EXPECT_THROW(listener.accept(60s), AuthenticationError);
            Connection c = listener.accept(60s);
            echo_through(c);
            c.close();
            EXPECT_EQ(child.wait(60s), 0) << python << where;
        }
    }
}

TEST_F(PythonConnection, our_Client_comes_to_its_Listener_with_the_right_key_alone) {
    for (const std::string& python : all_) {
        for (const char* address : {"None", "('localhost', 0)"}) {
            const std::string script = joined(
                {"from multiprocessing.connection import Listener\nfrom multiprocessing import AuthenticationError\n",
                 echo, "l = Listener(", address, ", authkey=b'secret')\na = l.address\n",
                 "print(a if isinstance(a, str) else a[1], flush=True)\n",
                 "try:\n    l.accept()\n    raise SystemExit('taken with a wrong key')\n",
                 "except AuthenticationError:\n    pass\nserve(l.accept())\n"});
            auto [out, write_end] = os::make_pipe();
            subprocess::Popen child({python, "-c", script}, {.stdout_ = write_end.get()});
            write_end.reset();
            std::string line;
            for (char c = 0; os::read_some(out.get(), &c, 1) == 1 && c != '\n';) line += c;
            const Address where = line.starts_with('/')
                                      ? Address(line)
                                      : Address("127.0.0.1", static_cast<std::uint16_t>(std::stoi(line)));
            EXPECT_THROW(Client(where, {.authkey = "wrong"}), AuthenticationError);
            Connection c = Client(where, {.authkey = "secret"});
            echo_through(c);
            c.close();
            EXPECT_EQ(child.wait(60s), 0) << python << address;
        }
    }
}

} // namespace
} // namespace sennit::multiprocessing

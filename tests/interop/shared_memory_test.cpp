// SharedMemory and ShareableList with an unmodified Python at the other end, both ways. Every python3 that is found in the PATH
// under its own name takes part.
#include <sennit/multiprocessing/shareable_list.hpp>
#include <sennit/multiprocessing/shared_memory.hpp>
#include <sennit/subprocess.hpp>

#include "support/snapshot.hpp"
#include "support/tier.hpp"

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sennit::multiprocessing::shared_memory {
namespace {

using namespace std::chrono_literals;

// What attaches without the resource tracker's fault: 3.13 has an argument for it, older ones are told to forget the name.
constexpr const char* prelude = R"(
import os, signal, sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory, ShareableList
def attach(name):
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    block = SharedMemory(name)
    resource_tracker.unregister(block._name, 'shared_memory')
    return block
def attach_list(name):
    items = ShareableList(name=name)
    resource_tracker.unregister(items.shm._name, 'shared_memory')
    return items
)";

std::string python(const std::string& program, const std::string& script, const std::string& argument) {
    const auto done =
        subprocess::run({program, "-c", prelude + script, argument}, {.capture_output = true, .timeout = 60s});
    EXPECT_EQ(done.std_err, "") << program;
    EXPECT_TRUE(done.returncode == 0 || done.returncode == -SIGKILL) << program << ": " << done.returncode;
    return done.std_out;
}

std::vector<std::string> pythons() {
    std::vector<std::string> found;
    const std::vector<const char*> names =
        sennit::testing::fault_tier() == 1
            ? std::vector<const char*>{"python3", "python3.13"}
            : std::vector<const char*>{"python3", "python3.9", "python3.10", "python3.12", "python3.13", "python3.14"};
    for (const char* name : names) {
        try {
            if (subprocess::run({name, "-c", "import multiprocessing.shared_memory"}, {.capture_output = true})
                    .returncode == 0)
                found.emplace_back(name);
        } catch (const OSError&) {}
    }
    return found;
}

class PythonSharedMemory : public sennit::testing::SnapshotTest {
  protected:
    const std::vector<std::string> all_ = pythons();
    void SetUp() override {
        if (all_.empty()) GTEST_SKIP() << "there is no python3 here";
        SnapshotTest::SetUp();
    }
};

bool exists(const std::string& name) { return std::filesystem::exists("/dev/shm/" + name); }

TEST_F(PythonSharedMemory, reads_and_writes_a_block_of_ours_which_stays_when_python_leaves_or_is_killed) {
    for (const auto& program : all_) {
        SharedMemory block("", {.create = true, .size = 1000});
        std::memcpy(block.buf().data(), "from C++", 8);
        const std::string script = R"(
block = attach(sys.argv[1])
print(block.size, bytes(block.buf[:8]).decode(), flush=True)
block.buf[8:19] = b'from Python'
)";
        EXPECT_EQ(python(program, script + "block.close()", block.name()), "1000 from C++\n");
        EXPECT_EQ(std::memcmp(block.buf().data() + 8, "from Python", 11), 0);
        EXPECT_TRUE(exists(block.name()));
        python(program, script + "os.kill(os.getpid(), signal.SIGKILL)", block.name());
        EXPECT_TRUE(exists(block.name()));
    }
}

TEST_F(PythonSharedMemory, makes_a_block_that_we_read_and_write_and_leave_unharmed) {
    for (const auto& program : all_) {
        subprocess::Popen owner({program, "-c", std::string(prelude) + R"(
block = SharedMemory(create=True, size=77)
block.buf[:5] = b'hello'
print(block.name, flush=True)
sys.stdin.readline()
print(bytes(block.buf[:5]).decode(), os.path.exists('/dev/shm/' + block.name), flush=True)
block.close()
block.unlink()
)"},
                                {.stdin_ = subprocess::PIPE, .stdout_ = subprocess::PIPE});
        std::string name = owner.std_out().readline(60s);
        name.pop_back();
        {
            SharedMemory same(name);
            EXPECT_EQ(same.size(), 77U);
            EXPECT_EQ(std::memcmp(same.buf().data(), "hello", 5), 0);
            std::memcpy(same.buf().data(), "HELLO", 5);
        }
        const auto rest = owner.communicate("\n", 60s);
        EXPECT_EQ(rest.std_out, "HELLO True\n");
        EXPECT_FALSE(exists(name));
    }
}

TEST_F(PythonSharedMemory, reads_and_writes_a_list_of_ours) {
    for (const auto& program : all_) {
        ShareableList list({"howdy", Bytes{std::byte{0xff}, std::byte{0}, std::byte{1}}, -273.154, 100, nullptr, true,
                            "gr\u00fc\u00df\u20ac", std::string_view("end\0", 4)});
        EXPECT_EQ(python(program, R"(
items = attach_list(sys.argv[1])
print(ascii(list(items)), items.format)
items[0] = 'HOWDY'
items[2] = 7
items[3] = b'bytes'
items[4] = 'text'
items[5] = None
items.shm.close()
)",
                         list.shm().name()),
                  "['howdy', b'\\xff\\x00\\x01', -273.154, 100, None, True, 'gr\\xfc\\xdf\\u20ac', 'end'] "
                  "8s8sdqxxxxxx?xxxxxxxx?16s4s\n");
        EXPECT_EQ(list[0], Item("HOWDY"));
        EXPECT_EQ(list[2], Item(7));
        EXPECT_EQ(list[3].get(),
                  Item(Bytes{std::byte{'b'}, std::byte{'y'}, std::byte{'t'}, std::byte{'e'}, std::byte{'s'}}));
        EXPECT_EQ(list[4], Item("text"));
        EXPECT_EQ(list[5], Item(nullptr));
    }
}

TEST_F(PythonSharedMemory, makes_a_list_that_we_read_and_write) {
    for (const auto& program : all_) {
        subprocess::Popen owner({program, "-c", std::string(prelude) + R"(
items = ShareableList([1, 'two', b'3', 4.5, None, False, '\u20ac'])
print(items.shm.name, flush=True)
sys.stdin.readline()
print(ascii(list(items)), flush=True)
items.shm.close()
items.shm.unlink()
)"},
                                {.stdin_ = subprocess::PIPE, .stdout_ = subprocess::PIPE});
        std::string name = owner.std_out().readline(60s);
        name.pop_back();
        {
            ShareableList same({.name = name});
            EXPECT_EQ(same.items(),
                      (std::vector<Item>{1, "two", Bytes{std::byte{'3'}}, 4.5, nullptr, false, "\u20ac"}));
            same[0] = "one";
            same[1] = "2\u20ac";
            same[3] = nullptr;
            same[5] = -1;
            same[6] = 2.25;
        }
        EXPECT_EQ(owner.communicate("\n", 60s).std_out, "['one', '2\\u20ac', b'3', None, None, -1, 2.25]\n");
        EXPECT_FALSE(exists(name));
    }
}

} // namespace
} // namespace sennit::multiprocessing::shared_memory

#include <sennit/base/exception_group.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/subprocess/errors.hpp>

#include "support/snapshot.hpp"

#include <cerrno>
#include <chrono>
#include <deque>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

struct Order {
    std::string item;
    std::vector<double> prices;
    std::optional<int> amount;
    bool operator==(const Order&) const = default;
};
struct Plain {
    int number;
    double grid[2][2];
    char name[20];
    bool operator==(const Plain&) const = default;
};
struct Flagged {
    bool flag;
    char text[3];
    const int fixed;
    bool operator==(const Flagged&) const = default;
};
struct Tree {
    int value = 0;
    std::vector<Tree> branches;
    bool operator==(const Tree&) const = default;
};
struct Chain {
    int value = 0;
    std::unique_ptr<Chain> next;
};
struct Nothing {
    bool operator==(const Nothing&) const = default;
};
enum class Colour : unsigned char { red, green };

class Hidden { // as cereal has it, without cereal
  public:
    Hidden() = default;
    Hidden(std::string a, int b) : a_(std::move(a)), b_(b) {}
    template <class Archive>
    void serialize(Archive& archive) {
        archive(a_, b_);
    }
    bool operator==(const Hidden&) const = default;

  private:
    std::string a_;
    int b_ = 0;
};
class Parted {
  public:
    std::map<std::string, int> words;
    template <class Archive>
    void save(Archive& archive) const {
        static_assert(Archive::is_saving::value);
        archive << words;
    }
    template <class Archive>
    void load(Archive& archive) {
        static_assert(Archive::is_loading::value);
        archive >> words;
    }
    Parted() = default;
    bool operator==(const Parted&) const = default;
};
class Outside {
  public:
    Outside() = default;
    virtual ~Outside() = default;
    int x = 0;
};
template <class Archive>
void serialize(Archive& archive, Outside& o) {
    archive& o.x;
}
class Own {
  public:
    explicit Own(int value) : value_(value) {}
    void pack(CargoWriter& to) const { to.write_raw(value_); }
    static Own unpack(CargoReader& from) { return Own(from.read_raw<int>()); }
    bool operator==(const Own&) const = default;

  private:
    int value_;
};
struct Based : Nothing {
    int x;
};
struct HasReference {
    int& x;
};
struct HasPointer {
    int* x;
};
struct WithNoDefault {
    Own own;
    std::string text;
    bool operator==(const WithNoDefault&) const = default;
};

static_assert(Shippable<Order> && Shippable<Plain> && Shippable<Tree> && Shippable<Chain> && Shippable<Hidden> &&
              Shippable<Parted> && Shippable<Outside> && Shippable<Own> && Shippable<WithNoDefault>);
static_assert(Shippable<std::unordered_map<int, std::vector<Order>>> && Shippable<std::chrono::nanoseconds> &&
              Shippable<std::chrono::steady_clock::time_point> && Shippable<std::monostate> && Shippable<Nothing>);
static_assert(Shippable<Lock> && Shippable<RLock> && Shippable<Semaphore> && Shippable<BoundedSemaphore> &&
              Shippable<Event> && Shippable<Condition> && Shippable<Barrier> && Shippable<Value<int>> &&
              Shippable<Array<double>> && Shippable<RawValue<int>> && Shippable<RawArray<char>> &&
              Shippable<shared_memory::SharedMemory> && Shippable<shared_memory::ShareableList>);
static_assert(!Shippable<int*> && !Shippable<int&> && !Shippable<const char*> && !Shippable<std::string_view> &&
              !Shippable<std::span<int>> && !Shippable<void (*)()> && !Shippable<std::function<void()>> &&
              !Shippable<std::mutex> && !Shippable<std::reference_wrapper<int>> && !Shippable<std::shared_ptr<int>>);
static_assert(!Shippable<HasReference> && !Shippable<HasPointer> && !Shippable<Based> &&
              !Shippable<std::vector<HasPointer>> && !Shippable<std::optional<std::mutex>> &&
              !Shippable<std::tuple<int&>> && !Shippable<std::unique_ptr<Outside>> && !Shippable<decltype([] {})>);
static_assert(std::same_as<arrival_t<std::string_view>, std::string> &&
              std::same_as<arrival_t<const char (&)[3]>, std::string> &&
              std::same_as<arrival_t<std::span<const int>>, std::vector<int>> &&
              std::same_as<arrival_t<const Order&>, Order>);

template <class T>
T there_and_back(const T& value) {
    CargoWriter to;
    to.write_raw('x'); // nothing is where it would like to be
    pack(to, value);
    CargoReader from(to.bytes());
    from.read_raw<char>();
    T result = unpack<T>(from);
    from.check_end();
    return result;
}
#define EXPECT_TRAVELS(...)                                          \
    {                                                                \
        const auto value = __VA_ARGS__;                              \
        EXPECT_TRUE(there_and_back(value) == value) << #__VA_ARGS__; \
    }

TEST(Cargo, numbers_strings_and_containers_arrive_as_they_were) {
    EXPECT_TRAVELS(-7);
    EXPECT_TRAVELS(2.5L);
    EXPECT_TRAVELS(true);
    EXPECT_TRAVELS(Colour::green);
    EXPECT_TRAVELS(std::byte{9});
    EXPECT_TRAVELS(std::string("with a \0 in it", 14));
    EXPECT_TRAVELS(std::u32string(U"ÿ"));
    EXPECT_TRAVELS(std::vector<std::string>{"a", "", std::string(100'000, 'x')});
    EXPECT_TRAVELS(std::vector<bool>{true, false, true});
    EXPECT_TRAVELS(std::vector<long double>(1'000, 1.5L));
    EXPECT_TRAVELS(std::deque<int>{1, 2, 3});
    EXPECT_TRAVELS(std::list<std::string>{"a", "b"});
    EXPECT_TRAVELS(std::set<std::string>{"b", "a"});
    EXPECT_TRAVELS(std::multimap<int, int>{{1, 2}, {1, 3}});
    EXPECT_TRAVELS(std::unordered_map<std::string, std::vector<int>>{{"a", {1, 2}}, {"b", {}}});
    EXPECT_TRAVELS(std::unordered_set<long>{4, 5});
    EXPECT_TRAVELS(std::map<std::pair<int, int>, std::optional<std::string>>{{{1, 2}, "x"}, {{3, 4}, std::nullopt}});
    EXPECT_TRAVELS(std::make_tuple(1, std::string("two"), 3.0));
    EXPECT_TRAVELS(std::tuple<>());
    EXPECT_TRAVELS(std::variant<std::monostate, int, std::string>("text"));
    EXPECT_TRAVELS(std::variant<std::monostate, int, std::string>());
    EXPECT_TRAVELS(std::array<std::string, 3>{"a", "b", "c"});
    EXPECT_TRAVELS(std::array<std::string, 20>{"a"});
    EXPECT_TRAVELS(std::array<int, 0>());
    EXPECT_TRAVELS(std::chrono::steady_clock::time_point(3s));
}

TEST(Cargo, aggregates_and_what_cereal_serialises_travel_without_a_macro) {
    EXPECT_TRAVELS(Order{"nails", {1.5, 2.5}, 7});
    EXPECT_TRAVELS(Plain{1, {{1, 2}, {3, 4}}, "name"});
    EXPECT_TRAVELS(Flagged{true, "ab", 9});
    EXPECT_TRAVELS(std::vector<Plain>(50, Plain{1, {{1, 2}, {3, 4}}, "name"}));
    EXPECT_TRAVELS(Tree{1, {{2, {}}, {3, {{4, {}}}}}});
    EXPECT_TRAVELS(Nothing());
    EXPECT_TRAVELS(std::vector<Nothing>(3));
    EXPECT_TRAVELS(Hidden("a", 2));
    EXPECT_TRAVELS(Own(4));
    EXPECT_TRAVELS(WithNoDefault{Own(4), "x"});
    Parted parted;
    parted.words = {{"a", 1}, {"b", 2}};
    EXPECT_TRAVELS(parted);
    Outside outside;
    outside.x = 5;
    EXPECT_EQ(there_and_back(outside).x, 5);
    Chain chain{1, std::make_unique<Chain>(2, nullptr)};
    CargoWriter to;
    pack(to, chain);
    CargoReader from(to.bytes());
    const auto same = unpack<Chain>(from);
    EXPECT_EQ(same.next->value, 2);
    EXPECT_EQ(same.next->next, nullptr);
}

TEST(Cargo, views_arrive_as_what_owns_their_contents) {
    const int numbers[] = {1, 2, 3};
    CargoWriter to;
    pack(to, std::string_view("text"));
    pack(to, std::span<const int>(numbers));
    pack(to, "literal");
    CargoReader from(to.bytes());
    EXPECT_EQ(unpack<std::string>(from), "text");
    EXPECT_EQ(unpack<std::vector<int>>(from), (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(unpack<std::string>(from), "literal");
}

TEST(Cargo, large_ranges_are_lent_and_go_out_in_pieces) {
    const std::string small = "small";
    const std::vector<long> large(10'000, 7);
    CargoWriter to(CargoWriter::Ranges::lend);
    pack(to, small);
    pack(to, large);
    pack(to, small);
    std::size_t pieces = 0, bytes = 0;
    bool lent = false;
    to.for_each_piece([&](std::span<const std::byte> piece) {
        ++pieces;
        bytes += piece.size();
        lent = lent || static_cast<const void*>(piece.data()) == large.data();
    });
    EXPECT_EQ(pieces, 3u);
    EXPECT_EQ(bytes, to.size());
    EXPECT_TRUE(lent);
    CargoReader from(to.bytes());
    EXPECT_EQ(unpack<std::string>(from), small);
    EXPECT_EQ(unpack<std::vector<long>>(from), large);
    EXPECT_EQ(unpack<std::string>(from), small);
}

TEST(Cargo, bytes_that_are_no_such_object_throw_before_memory_is_taken) {
    CargoWriter to;
    pack(to, std::vector<int>{1, 2, 3});
    for (std::size_t n = 0; n < to.size(); ++n) {
        CargoReader from(to.bytes().first(n));
        EXPECT_THROW(unpack<std::vector<int>>(from), CargoError) << n;
    }
    CargoWriter huge;
    huge.write_raw(~std::uint64_t{0} / 4);
    const auto read = [&](auto as) {
        CargoReader from(huge.bytes());
        unpack<decltype(as)>(from);
    };
    EXPECT_THROW(read(std::vector<int>()), CargoError);
    EXPECT_THROW(read(std::map<int, Order>()), CargoError);
    EXPECT_THROW(read(std::variant<int, float>()), CargoError);
    CargoReader from(huge.bytes());
    EXPECT_THROW(unpack<bool>(from), CargoError);
    EXPECT_THROW(from.take_fd(), CargoError);
}

TEST(Cargo, a_chain_that_is_too_long_is_refused_on_both_sides) {
    Chain chain;
    for (int i = 0; i < 1'000; ++i) {
        auto next = std::make_unique<Chain>(i, std::move(chain.next));
        chain.next = std::move(next);
    }
    CargoWriter to;
    EXPECT_THROW(pack(to, chain), UsageError);
    EXPECT_EQ(to.depth, 0u);
    CargoWriter forged;
    for (int i = 0; i < 100'000; ++i) {
        forged.write_raw(1);
        forged.write_raw(std::uint8_t{1});
    }
    CargoReader from(forged.bytes());
    EXPECT_THROW(unpack<Chain>(from), CargoError);
    while (chain.next) { // not by recursion
        auto next = std::move(chain.next->next);
        chain.next = std::move(next);
    }
}

class CargoHandles : public sennit::testing::SnapshotTest {
  protected:
    void SetUp() override {
        wait::current_agent(); // the main thread is one from here on
        SnapshotTest::SetUp();
    }
};

// What a message would bring: the bytes, and copies of the descriptors.
CargoReader arrived(CargoWriter& to) {
    std::vector<os::Fd> fds;
    for (const int fd : to.fds()) fds.push_back(os::duplicate(fd));
    return {to.bytes(), std::move(fds)};
}

TEST_F(CargoHandles, shared_objects_arrive_as_handles_of_the_same) {
    Value<int> value(3);
    Array<double> array({1, 2, 3});
    Lock lock;
    RLock rlock;
    Semaphore semaphore(5);
    BoundedSemaphore bounded(1);
    Event event;
    Condition condition(lock);
    Barrier barrier(2, {}, 3s);
    shared_memory::SharedMemory block("", {.create = true, .size = 100});
    shared_memory::ShareableList list({1, "two"});
    CargoWriter to;
    pack(to, value);
    pack(to, array);
    pack(to, lock);
    pack(to, rlock);
    pack(to, semaphore);
    pack(to, bounded);
    pack(to, event);
    pack(to, condition);
    pack(to, barrier);
    pack(to, block);
    pack(to, list);
    EXPECT_EQ(to.fds().size(), 1u) << "small objects lie in one segment, which is sent once";
    CargoReader from = arrived(to);
    auto value2 = unpack<Value<int>>(from);
    value2.set(4);
    EXPECT_EQ(value.value(), 4);
    auto array2 = unpack<Array<double>>(from);
    array2.set(1, 9);
    EXPECT_EQ(array.get(1), 9);
    auto lock2 = unpack<Lock>(from);
    EXPECT_EQ(lock2.block(), lock.block()) << "what comes back is the memory that it was";
    lock2.acquire();
    EXPECT_TRUE(lock.locked());
    lock2.release();
    auto rlock2 = unpack<RLock>(from);
    rlock2.acquire();
    EXPECT_TRUE(rlock.is_owned());
    rlock2.release();
    unpack<Semaphore>(from).acquire();
    EXPECT_EQ(semaphore.value(), 4);
    auto bounded2 = unpack<BoundedSemaphore>(from);
    EXPECT_THROW(bounded2.release(), UsageError);
    unpack<Event>(from).set();
    EXPECT_TRUE(event.is_set());
    auto condition2 = unpack<Condition>(from);
    condition2.acquire();
    EXPECT_TRUE(lock.locked());
    condition2.release();
    EXPECT_EQ(unpack<Barrier>(from).parties(), 2u);
    auto block2 = unpack<shared_memory::SharedMemory>(from);
    block2.buf()[5] = std::byte{7};
    EXPECT_EQ(block.buf()[5], std::byte{7});
    auto list2 = unpack<shared_memory::ShareableList>(from);
    EXPECT_EQ(list2[1], shared_memory::Item("two"));
    from.check_end();

    Barrier with_action(2, [] {});
    EXPECT_THROW(pack(to, with_action), UsageError);
}

TEST_F(CargoHandles, a_handle_in_another_process_is_of_the_same_object) {
    Value<long> count(0);
    Event done;
    CargoWriter to;
    pack(to, std::make_tuple(count, done));
    const int fd = ::dup(to.fds()[0]);
    const pid_t child = ::fork();
    if (child == 0) {
        // As one that has only what it was sent.
        std::vector<os::Fd> fds;
        fds.emplace_back(fd);
        CargoReader from(to.bytes(), std::move(fds));
        auto [theirs, event] = unpack<std::tuple<Value<long>, Event>>(from);
        theirs.set(17);
        event.set();
        ::_exit(0);
    }
    ::close(fd);
    EXPECT_TRUE(done.wait(10s));
    EXPECT_EQ(count.value(), 17);
    int status = 0;
    ::waitpid(child, &status, 0);
}

TEST_F(CargoHandles, descriptors_travel_once_each) {
    os::Pipe pipe = os::make_pipe();
    CargoWriter to;
    to.attach(pipe.write_end.get());
    CargoReader from = arrived(to);
    CargoReader again(to.bytes());
    {
        const os::Fd other = from.take_fd();
        EXPECT_EQ(::write(other.get(), "x", 1), 1);
    }
    EXPECT_THROW(again.take_fd(), CargoError) << "the descriptor did not come along";
    char c = 0;
    EXPECT_EQ(::read(pipe.read_end.get(), &c, 1), 1);
    CargoWriter many;
    const auto keep = std::make_shared<int>();
    for (std::size_t i = 0; i < CargoWriter::most_fds; ++i) many.attach(static_cast<int>(i), keep);
    EXPECT_THROW(many.attach(1'000, keep), UsageError);
}

// ---- exceptions

template <class E>
std::exception_ptr sent(const E& error, const std::string& stack = "#0 somewhere") {
    CargoWriter to;
    pack_exception(to, std::make_exception_ptr(error), stack);
    CargoReader from(to.bytes());
    std::exception_ptr result = unpack_exception(from);
    from.check_end();
    return result;
}
template <class E>
void comes_back(const E& error) {
    try {
        std::rethrow_exception(sent(error));
    } catch (const E& e) {
        EXPECT_STREQ(e.what(), error.what());
        const auto cause = remote_cause(e);
        ASSERT_TRUE(cause);
        EXPECT_EQ(cause->pid(), ::getpid());
        EXPECT_EQ(cause->stack(), "#0 somewhere");
        // And once more, from there: it is still of the first process.
        try {
            std::rethrow_exception(sent(e));
        } catch (const std::exception& second) {
            EXPECT_STREQ(second.what(), error.what());
            ASSERT_TRUE(remote_cause(second));
            EXPECT_EQ(remote_cause(second)->type(), cause->type());
        }
    } catch (...) {
        ADD_FAILURE() << error.what() << " came as another type";
    }
}

TEST(CargoExceptions, standard_and_own_types_come_back_as_themselves) {
    comes_back(std::runtime_error("a"));
    comes_back(std::out_of_range("b"));
    comes_back(std::bad_alloc());
    comes_back(std::bad_optional_access());
    comes_back(std::system_error(EPERM, std::generic_category(), "opening"));
    comes_back(std::system_error(EPERM, std::system_category()));
    comes_back(TimeoutError("late"));
    comes_back(OSError(ENOENT, "open of \"x\""));
    comes_back(UsageError("do it otherwise"));
    comes_back(queue::Empty());
    comes_back(LockGivenUp());
    comes_back(BufferTooShort(3, std::vector<std::byte>(5)));
    comes_back(WorkerDied(
        {.pid = 12, .exitcode = -9, .core_dumped = false, .task = 7, .attempt = 1, .reason = "", .stack = ""}));
    comes_back(subprocess::CalledProcessError(3, {"false", "x y"}, "out", "err"));
    comes_back(subprocess::TimeoutExpired({"sleep", "9"}, 1.5));
}

TEST(CargoExceptions, a_group_comes_back_with_all_its_errors) {
    const ExceptionGroup group(
        "two", {std::make_exception_ptr(std::out_of_range("x")),
                std::make_exception_ptr(ExceptionGroup("inner", {std::make_exception_ptr(OSError(5, "y"))}))});
    try {
        std::rethrow_exception(sent(group));
    } catch (const ExceptionGroup& e) {
        EXPECT_EQ(e.message(), "two");
        ASSERT_EQ(e.exceptions().size(), 2u);
        EXPECT_TRUE(e.subgroup<OSError>());
        EXPECT_TRUE(e.subgroup<std::out_of_range>());
    }
}

struct Odd : std::runtime_error {
    using std::runtime_error::runtime_error;
};

TEST(CargoExceptions, other_types_come_as_RemoteError_with_type_text_process_and_stack) {
    try {
        std::rethrow_exception(sent(Odd("strange")));
    } catch (const RemoteError& e) {
        EXPECT_EQ(e.type(), "sennit::multiprocessing::(anonymous namespace)::Odd");
        EXPECT_EQ(e.message(), "strange");
        EXPECT_EQ(e.pid(), ::getpid());
        EXPECT_EQ(e.stack(), "#0 somewhere");
        EXPECT_THAT(e.what(), ::testing::HasSubstr("Odd: strange"));
    }
    try {
        std::rethrow_exception(sent(42));
    } catch (const RemoteError& e) {
        EXPECT_EQ(e.type(), "int");
        EXPECT_EQ(e.message(), "42");
    }
}

} // namespace
} // namespace sennit::multiprocessing

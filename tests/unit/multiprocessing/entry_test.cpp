#include <sennit/multiprocessing/entry.hpp>

#include <sennit/base/errors.hpp>

#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::multiprocessing {
namespace {

int twice(int n) { return 2 * n; }

struct Shape {
    int sides = 0;
    [[nodiscard]] int sides_and(int more) const { return sides + more; }
};

struct Prefix { // travels as data
    std::string text;
    std::string operator()(const std::string& more) const { return text + more; }
};

template <class F, class... Args>
auto call_through_bytes(F function, const Args&... args) {
    CargoWriter out;
    pack_entry(out, entry_of<F, Args...>());
    Call<F, Args...>::pack_call(out, function, args...);
    CargoReader in(out.bytes());
    CargoWriter result;
    unpack_entry(in)(in, result);
    EXPECT_EQ(in.remaining(), 0U);
    CargoReader back(result.bytes());
    return unpack<typename Call<F, Args...>::Result>(back);
}

TEST(Entry, carries_functions_lambdas_members_and_function_objects) {
    EXPECT_EQ(call_through_bytes(&twice, 21), 42);
    EXPECT_EQ(call_through_bytes([](int a, int b) { return a - b; }, 5, 3), 2);
    int k = 7;
    double d = 0.5;
    EXPECT_EQ(call_through_bytes([k, d](int a) { return a * k + d; }, 6), 42.5);
    EXPECT_EQ(call_through_bytes(&Shape::sides_and, Shape{4}, 3), 7);
    EXPECT_EQ(call_through_bytes(Prefix{"pre"}, std::string("fix")), "prefix");
    EXPECT_EQ(call_through_bytes([](int (*f)(int), int n) { return f(n); }, &twice, 4), 8)
        << "a function as an argument";
}

TEST(Entry, gives_a_text_to_whoever_takes_one) {
    const detail::ShippedText text("abc");
    EXPECT_EQ(call_through_bytes([](const char* s) { return std::strlen(s); }, text), 3U);
    EXPECT_EQ(call_through_bytes([](std::string s) { return s + s; }, text), "abcabc");
    EXPECT_EQ(call_through_bytes([](std::string_view s) { return s.size(); }, text), 3U);
}

TEST(Entry, is_refused_when_its_bytes_name_no_code) {
    CargoWriter out;
    pack_code(out, reinterpret_cast<const void*>(&twice));
    const std::vector<std::byte> good(out.bytes().begin(), out.bytes().end());
    {
        std::vector<std::byte> strange_module = good;
        strange_module[3] ^= std::byte{0x55};
        CargoReader in(strange_module);
        EXPECT_THROW(unpack_code(in), CargoError);
    }
    {
        std::vector<std::byte> far_away = good;
        far_away[far_away.size() - 3] ^= std::byte{0x55};
        CargoReader in(far_away);
        EXPECT_THROW(unpack_code(in), CargoError);
    }
    for (std::size_t n = 0; n < good.size(); ++n) {
        CargoReader in(std::span<const std::byte>(good.data(), n));
        EXPECT_THROW(unpack_code(in), CargoError) << n;
    }
    CargoReader in(good);
    EXPECT_EQ(unpack_code(in), reinterpret_cast<const void*>(&twice));
}

TEST(Entry, is_refused_when_it_is_no_code_of_the_program) {
    CargoWriter out;
    static int data = 0;
    EXPECT_THROW(pack_code(out, nullptr), UsageError);
    EXPECT_THROW(pack_code(out, &data), UsageError);
}

} // namespace
} // namespace sennit::multiprocessing

#include <sennit/os/address.hpp>
#include <sennit/os/resolve.hpp>
#include <sennit/os/socket_setup.hpp>

#include <sennit/base/errors.hpp>

#include <gtest/gtest.h>
#include <netdb.h>
#include <string>

namespace sennit::os {
namespace {

TEST(SocketAddress, of_numbers_needs_no_look_up) {
    const auto v4 = SocketAddress::numeric("127.0.0.1", 80);
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->to_string(), "127.0.0.1:80");
    EXPECT_EQ(v4->family(), AF_INET);
    EXPECT_EQ(v4->port(), 80);
    EXPECT_TRUE(v4->is_loopback());
    const auto v6 = SocketAddress::numeric("::1", 65535);
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->to_string(), "[::1]:65535");
    EXPECT_TRUE(v6->is_loopback());
    EXPECT_EQ(SocketAddress::numeric("fe80::1%lo", 1)->host(), "fe80::1%lo");
    EXPECT_FALSE(SocketAddress::numeric("192.0.2.1", 1)->is_loopback());
    for (const char* name : {"localhost", "", "1.2.3", "1.2.3.4.5", "::g", "fe80::1%nosuchinterface"})
        EXPECT_FALSE(SocketAddress::numeric(name, 1)) << name;
    EXPECT_FALSE(SocketAddress::numeric(std::string("127.0.0.1\0x", 11), 1));
}

TEST(SocketAddress, of_a_path_says_what_is_wrong_with_one) {
    EXPECT_EQ(SocketAddress::unix_path("/run/x").to_string(), "/run/x");
    EXPECT_EQ(SocketAddress::unix_path(std::string(107, 'a')).path().size(), 107U);
    EXPECT_THROW(SocketAddress::unix_path(std::string(108, 'a')), UsageError);
    EXPECT_THROW(SocketAddress::unix_path(""), UsageError);
    EXPECT_THROW(SocketAddress::unix_path(std::string("\0abstract", 9)), UsageError);
    EXPECT_EQ(SocketAddress().to_string(), "");
}

TEST(SocketAddress, is_known_of_both_ends_of_a_connection) {
    const Fd listener(open_socket(AF_INET, SOCK_STREAM));
    ASSERT_EQ(bind_socket(listener.get(), *SocketAddress::numeric("127.0.0.1", 0)), 0);
    ASSERT_EQ(listen_socket(listener.get(), 1), 0);
    const SocketAddress here = local_address(listener.get());
    EXPECT_GT(here.port(), 0);
    EXPECT_EQ(here.host(), "127.0.0.1");
    EXPECT_EQ(peer_address(listener.get()).family(), AF_UNSPEC);
    const Fd other(open_socket(AF_INET, SOCK_STREAM));
    EXPECT_EQ(bind_socket(other.get(), here), -EADDRINUSE);
}

TEST(Resolve, names_of_this_machine_and_names_that_nobody_has) {
    const auto found = resolve("localhost", "80", AF_UNSPEC, SOCK_STREAM, 0);
    ASSERT_FALSE(found.empty());
    for (const auto& one : found) EXPECT_TRUE(one.is_loopback() && one.port() == 80) << one.to_string();
    EXPECT_THROW(resolve("127.0.0.300", "80", AF_UNSPEC, SOCK_STREAM, AI_NUMERICHOST), ResolveError);
    EXPECT_THROW(resolve(std::string("a\0b", 3), "80", AF_UNSPEC, SOCK_STREAM, 0), UsageError);
    EXPECT_EQ(resolve_name(*SocketAddress::numeric("127.0.0.1", 9), NI_NUMERICHOST | NI_NUMERICSERV),
              std::pair(std::string("127.0.0.1"), std::string("9")));
}

} // namespace
} // namespace sennit::os

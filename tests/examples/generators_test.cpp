#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sennit {
namespace {

TEST(Examples, generator_coroutines_give_their_values_in_order_and_take_those_that_are_sent) {
    const std::vector<std::string> command{testing::bin_dir() + "/examples/generator_coroutines"};
    EXPECT_EQ(subprocess::check_output(command), "count 3\ncount 2\ncount 1\n"
                                                 "sent 10, mean 10.0\nsent 20, mean 15.0\nsent 60, mean 30.0\n"
                                                 "producer sends 1\nconsumer got 1\nproducer got ok 1\n"
                                                 "producer sends 2\nconsumer got 2\nproducer got ok 2\n");
}

} // namespace
} // namespace sennit

// For tests that start processes.
#pragma once

#include "support/snapshot.hpp"

#include <sennit/multiprocessing/child.hpp>
#include <sennit/os/fork.hpp>
#include <sennit/os/spawn.hpp>

#include <gtest/gtest.h>

namespace sennit::testing {

inline constexpr multiprocessing::StartMethod all_start_methods[] = {
    multiprocessing::StartMethod::forkserver, multiprocessing::StartMethod::spawn, multiprocessing::StartMethod::fork};

/// Makes what stays for the life of a process before anything is counted.
class ProcessEnvironment final : public ::testing::Environment {
    void SetUp() override { os::Lifeline::read_end(); }
};
inline const ::testing::Environment* const process_environment =
    ::testing::AddGlobalTestEnvironment(new ProcessEnvironment);

/// Around whose tests no descriptor, process or zombie is left; the zygote ends with each.
class ProcessTest : public SnapshotTest {
  protected:
    void SetUp() override {
        multiprocessing::detail::stop_forkserver(); // of a test before
        SnapshotTest::SetUp();
    }
    void TearDown() override {
        multiprocessing::detail::stop_forkserver();
        os::reap_released();
        SnapshotTest::TearDown();
    }
};

} // namespace sennit::testing

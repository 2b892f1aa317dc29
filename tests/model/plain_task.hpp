// A task of which a scenario sees that it ran once, by who saw what its submitter had written.
#pragma once

#include "model/explore.hpp"

#include <sennit/sync/executor.hpp>

#include <exception>

namespace sennit::model {

struct PlainTask final : sync::Task {
    static constexpr int written = 7;
    var<int> content{0}; ///< the submitter writes `written`
    var<int> runs{0};
    void run() noexcept override {
        expect(content == written, "what the submitter wrote");
        ++runs;
    }
    void cancel_and_drop() noexcept override {}
    void fail_and_drop(const std::exception_ptr&) noexcept override {}
};

} // namespace sennit::model

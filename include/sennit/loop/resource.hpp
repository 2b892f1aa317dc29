#pragma once

#include <sennit/base/intrusive_list.hpp>

namespace sennit::loop {

/// What lives on an event loop besides tasks and callbacks, and may have operations in flight that nobody waits for: a stream
/// that sends its last bytes, a server. EventLoop::add_resource() until it is removed or told.
///
/// Agents    The thread of the loop.
class Resource : public base::ListNode {
  public:
    Resource(const Resource&) = delete;
    Resource& operator=(const Resource&) = delete;
    /// The loop closes, after its tasks have ended: cancel what is in flight (done() still comes), use the loop no more.
    virtual void loop_closes() noexcept = 0;

  protected:
    Resource() = default;
    ~Resource() = default;
};

} // namespace sennit::loop

#pragma once

namespace sennit::wait {

/// While it lives, this OS thread runs a plain callback of an event loop: a call that blocks it is reported, as one in a coroutine
/// is (see BlockingCallPolicy). Event loops in debug mode have one.
class CallbackMark {
  public:
    /// `name` is what the report says; it lives as long.
    explicit CallbackMark(const char* name) noexcept : outer_(current_) { current_ = name; }
    ~CallbackMark() { current_ = outer_; }
    CallbackMark(const CallbackMark&) = delete;
    CallbackMark& operator=(const CallbackMark&) = delete;
    /// The innermost one's name; nullptr: no callback runs.
    static const char* current() noexcept { return current_; }

  private:
    static inline constinit thread_local const char* current_ = nullptr;
    const char* outer_;
};

} // namespace sennit::wait

#pragma once

#include <concepts>
#include <string>
#include <sys/types.h>
#include <utility>

namespace sennit::subprocess {

/// A user or a group, by number or by name.      Python: the `user`, `group` and `extra_groups` arguments
class Account {
  public:
    template <std::integral T>
    Account(T id) : id_(static_cast<long long>(id)) {}        // NOLINT(google-explicit-constructor)
    Account(std::string name) : name_(std::move(name)) {}     // NOLINT(google-explicit-constructor)
    Account(const char* name) : Account(std::string(name)) {} // NOLINT(google-explicit-constructor)

    /// The number; a name is looked up in the system's database (this may ask the network, and waits for it). Throws
    /// UsageError for a number that can't be one, OSError when there is no such name.
    [[nodiscard]] uid_t user_id() const;
    [[nodiscard]] gid_t group_id() const;

  private:
    long long id_ = -1;
    std::string name_;
};

} // namespace sennit::subprocess

#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace sennit::subprocess {

/// The environment of a child.      Python: the `env` argument
///
///     .env = {{"LANG", "C"}, {"PATH", "/bin"}}      these and nothing else
///     .env = {}                                     an empty one
///     .env = a_map                                  a std::map<std::string, std::string> or any range of such pairs
///     .extra_env = {{"LANG", "C"}}                  the inherited one with these added or replaced
///
/// A key that is empty or holds '=', and a NUL anywhere, are refused by who starts the program. The last of equal keys counts.
class Env {
  public:
    using Variable = std::pair<std::string, std::string>;

    Env(std::initializer_list<Variable> variables) // NOLINT(google-explicit-constructor)
        : variables_(variables) {}
    template <class Range>
    requires requires(const Range& r) { Variable(*r.begin()), r.begin() != r.end(); }
    Env(const Range& variables) // NOLINT(google-explicit-constructor)
        : variables_(variables.begin(), variables.end()) {}
    /// The parent's, as it is when the child is started.
    static Env inherit() {
        Env env{};
        env.inherits_ = true;
        return env;
    }

    [[nodiscard]] bool inherits() const noexcept { return inherits_; }
    [[nodiscard]] const std::vector<Variable>& variables() const noexcept { return variables_; }

  private:
    std::vector<Variable> variables_;
    bool inherits_ = false;
};

} // namespace sennit::subprocess

// Several errors that arrive as one.
#pragma once

#include <sennit/base/errors.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace sennit {

struct ExceptionGroupParts;

/// Errors of several tasks, in one exception.            Python: ExceptionGroup
///
///     try {
///         co_await TaskGroup::run(body);
///     } catch (const ExceptionGroup& group) {
///         if (auto refused = group.subgroup<OSError>()) report(refused->what());
///     }
///
/// what() has all of it: the message, and below it each error with its type and text, groups within groups indented.
///
/// Agents    Never changes: any number of readers. Copies share one state, and copying never throws.
/// Source    Python 3.13 (PEP 654).
class ExceptionGroup : public Error {
  public:
    /// Throws UsageError when there are no exceptions, or an empty exception_ptr among them.
    ExceptionGroup(std::string message, std::vector<std::exception_ptr> exceptions);

    [[nodiscard]] const std::string& message() const noexcept { return state_->message; }
    /// In the order in which they came. Some may be groups themselves.
    [[nodiscard]] const std::vector<std::exception_ptr>& exceptions() const noexcept { return state_->exceptions; }

    using Predicate = std::function<bool(const std::exception_ptr&)>;
    /// The errors for which the predicate holds, in groups nested as before; nullopt when there are none. The predicate is asked
    /// about groups, too: one for which it holds stays whole.
    [[nodiscard]] std::optional<ExceptionGroup> subgroup(const Predicate& matches) const;
    /// The errors that `catch (const E&)` would catch, for any of the types.
    template <class... E>
    [[nodiscard]] std::optional<ExceptionGroup> subgroup() const {
        return subgroup(Predicate(is_any<E...>));
    }
    /// Both: those for which the predicate holds, and the rest.
    [[nodiscard]] ExceptionGroupParts split(const Predicate& matches) const;
    template <class... E>
    [[nodiscard]] ExceptionGroupParts split() const;

    /// Whether `catch (const E&)` would catch the error.
    template <class E>
    [[nodiscard]] static bool is(const std::exception_ptr& error) noexcept {
        try {
            std::rethrow_exception(error);
        } catch (const E&) {
            return true;
        } catch (...) {
            return false;
        }
    }

  private:
    template <class... E>
    static bool is_any(const std::exception_ptr& error) noexcept {
        static_assert(sizeof...(E) > 0, "subgroup<E...>(), split<E...>(): name the types to look for");
        return (is<E>(error) || ...);
    }
    struct State {
        std::string message;
        std::vector<std::exception_ptr> exceptions;
    };
    std::shared_ptr<const State> state_;
};

/// What ExceptionGroup::split() gives.
struct ExceptionGroupParts {
    std::optional<ExceptionGroup> match; ///< nullopt: none
    std::optional<ExceptionGroup> rest;
};

template <class... E>
ExceptionGroupParts ExceptionGroup::split() const {
    return split(Predicate(is_any<E...>));
}

} // namespace sennit

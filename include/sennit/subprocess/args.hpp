#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sennit::subprocess {

/// One argument: whatever converts to a std::string or std::string_view, a std::filesystem::path included.
class Arg {
  public:
    template <class T>
    requires std::convertible_to<T, std::string> || std::convertible_to<T, std::string_view>
    Arg(T&& text) // NOLINT(google-explicit-constructor, bugprone-forwarding-reference-overload): `{"ls", path}` is the point
        : text_(make(std::forward<T>(text))) {}
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

  private:
    template <class T>
    static std::string make(T&& text) {
        if constexpr (std::convertible_to<T, std::string>)
            return std::forward<T>(text);
        else
            return std::string(std::string_view(std::forward<T>(text)));
    }
    std::string text_;
};

/// The program and its arguments.      Python: the first argument of subprocess.run
///
///     run({"ls", "-l", directory});                  a list: each element arrives as it is, no shell looks at it
///     run(words);                                    a std::vector<std::string>
///     run("ls -l | wc", {.shell = true});            one string for the shell
///     run("ls");                                     without a shell, one string is the name of the program
///
/// An embedded NUL or an empty list is refused by who starts the program.
class Args {
  public:
    Args(std::initializer_list<Arg> list); // NOLINT(google-explicit-constructor)
    Args(std::vector<std::string> list)    // NOLINT(google-explicit-constructor)
        : list_(std::move(list)) {}
    Args(std::string text);                                  // NOLINT(google-explicit-constructor)
    Args(std::string_view text) : Args(std::string(text)) {} // NOLINT(google-explicit-constructor)
    Args(const char* text) : Args(std::string(text)) {}      // NOLINT(google-explicit-constructor)

    [[nodiscard]] const std::vector<std::string>& list() const noexcept { return list_; }
    /// Made of one string, not of a list.
    [[nodiscard]] bool is_string() const noexcept { return is_string_; }
    [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
    [[nodiscard]] const std::string& operator[](std::size_t i) const noexcept { return list_[i]; }
    /// As one would type it in a shell, quoted where needed; a single string as it is.      Python: shlex.join
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const Args& a, const Args& b) noexcept { return a.list_ == b.list_; }

  private:
    std::vector<std::string> list_;
    bool is_string_ = false;
};

} // namespace sennit::subprocess

#include <sennit/base/exception_group.hpp>

#include <cstdlib>
#include <cxxabi.h>
#include <typeinfo>
#include <utility>

namespace sennit {
namespace {

std::string type_name(const std::type_info& type) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                      std::free);
    return status == 0 ? name.get() : type.name();
}

std::string count_of(std::size_t n) { return std::to_string(n) + (n == 1 ? " error)" : " errors)"); }

// A group's what() has its own lines: they are indented as a whole.
std::string indented(const std::string& text) {
    std::string result;
    for (const char c : text) {
        result += c;
        if (c == '\n') result += "  ";
    }
    return result;
}

std::string describe(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const ExceptionGroup& group) {
        return indented(group.what());
    } catch (const std::exception& e) {
        return type_name(typeid(e)) + ": " + indented(e.what());
    } catch (...) {
        const std::type_info* const type = abi::__cxa_current_exception_type();
        return type ? type_name(*type) : std::string("an exception of unknown type");
    }
}

std::string describe_all(const std::string& message, const std::vector<std::exception_ptr>& exceptions) {
    if (exceptions.empty())
        throw UsageError("ExceptionGroup: there must be at least one exception in \"" + message + '"');
    std::string text = message + " (" + count_of(exceptions.size());
    std::size_t number = 0;
    for (const auto& error : exceptions) {
        if (!error) throw UsageError("ExceptionGroup: an empty exception_ptr among those of \"" + message + '"');
        text += "\n  " + std::to_string(++number) + ". " + describe(error);
    }
    return text;
}

} // namespace

ExceptionGroup::ExceptionGroup(std::string message, std::vector<std::exception_ptr> exceptions)
    : Error(describe_all(message, exceptions)),
      state_(std::make_shared<const State>(State{std::move(message), std::move(exceptions)})) {}

std::optional<ExceptionGroup> ExceptionGroup::subgroup(const Predicate& matches) const { return split(matches).match; }

ExceptionGroupParts ExceptionGroup::split(const Predicate& matches) const {
    std::vector<std::exception_ptr> match, rest;
    for (const auto& error : exceptions()) {
        if (matches(error)) {
            match.push_back(error);
            continue;
        }
        try {
            std::rethrow_exception(error);
        } catch (const ExceptionGroup& group) {
            ExceptionGroupParts parts = group.split(matches);
            if (parts.match) match.push_back(std::make_exception_ptr(*std::move(parts.match)));
            if (parts.rest) rest.push_back(std::make_exception_ptr(*std::move(parts.rest)));
        } catch (...) {
            rest.push_back(error);
        }
    }
    ExceptionGroupParts parts;
    if (!match.empty()) parts.match.emplace(message(), std::move(match));
    if (!rest.empty()) parts.rest.emplace(message(), std::move(rest));
    return parts;
}

} // namespace sennit

#include "base/type_name.hpp"

#include <cstdlib>
#include <cxxabi.h>
#include <string_view>

namespace sennit::base {

std::string readable_type_name(const char* mangled) {
    int status = -1;
    char* plain = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    std::string text = status == 0 ? plain : mangled;
    std::free(plain); // NOLINT(cppcoreguidelines-no-malloc): made by __cxa_demangle
    return text;
}

std::string text_of_current_exception() {
    try {
        throw;
    } catch (const char* text) {
        return text ? text : "";
    } catch (const std::string& text) {
        return text;
    } catch (const std::string_view& text) {
        return std::string(text);
    } catch (int value) {
        return std::to_string(value);
    } catch (...) {
        return "";
    }
}

} // namespace sennit::base

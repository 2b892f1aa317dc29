#pragma once

#include <string>

namespace sennit::base {

/// The name of a type as a person writes it, of what std::type_info::name() gives.
std::string readable_type_name(const char* mangled);

/// In a catch block: the text of what was thrown and is no std::exception; empty when its type has none.
std::string text_of_current_exception();

} // namespace sennit::base

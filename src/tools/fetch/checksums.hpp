#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sennit::tools {

/// The list of --sha256: which file must have which SHA-256. Lines as sha256sum writes them (`HASH  NAME`, `HASH *NAME`,
/// with a '\' first where the name is escaped) or with --tag (`SHA256 (NAME) = HASH`); empty lines and '#' comments are passed
/// over. Of a name with folders the last part counts.
class Checksums {
  public:
    /// Reads a list. `where` is for messages. Throws UsageError, which names the line, for what is no such line and for two
    /// hashes of one name.
    static Checksums parse(std::string_view text, std::string_view where);

    /// The hash as 64 hexadecimal digits in lower case; null if the list does not have the name.
    [[nodiscard]] const std::string* find(const std::string& name) const;
    [[nodiscard]] std::size_t size() const noexcept { return hashes_.size(); }

  private:
    std::unordered_map<std::string, std::string> hashes_;
};

} // namespace sennit::tools

#include <sennit/subprocess/account.hpp>

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <grp.h>
#include <limits>
#include <pwd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

// The number that the database has for `name`. `look_up` is getpwnam_r or getgrnam_r.
template <class Record, class LookUp>
Record look_up_name(const char* kind, const std::string& name, LookUp look_up, std::vector<char>& buffer) {
    Record record{};
    for (buffer.resize(1024);; buffer.resize(buffer.size() * 4)) {
        Record* found = nullptr;
        const int error = look_up(name.c_str(), &record, buffer.data(), buffer.size(), &found);
        if (error == ERANGE) continue;
        if (error == EINTR) {
            buffer.resize(1024);
            continue;
        }
        if (found != nullptr) return record;
        throw OSError(error != 0 ? error : ENOENT,
                      std::string("no ") + kind + " named '" + name + "' is known to the system");
    }
}

template <class Id>
Id checked(const char* kind, long long id) {
    // The last number means "leave it" to the kernel.
    if (id < 0 || id >= static_cast<long long>(std::numeric_limits<Id>::max()))
        throw UsageError(std::string("a ") + kind + " id is between 0 and 4294967294, not " + std::to_string(id));
    return static_cast<Id>(id);
}

} // namespace

uid_t Account::user_id() const {
    if (name_.empty()) return checked<uid_t>("user", id_);
    std::vector<char> buffer;
    return look_up_name<passwd>("user", name_, ::getpwnam_r, buffer).pw_uid;
}

gid_t Account::group_id() const {
    if (name_.empty()) return checked<gid_t>("group", id_);
    std::vector<char> buffer;
    return look_up_name<group>("group", name_, ::getgrnam_r, buffer).gr_gid;
}

} // namespace sennit::subprocess

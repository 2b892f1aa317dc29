// A table of the program's modules, made when an address or a place is met that the one of before does not know (a module was loaded
// since), and never taken away: readers go without a lock.
//
// A place on its way: [bytes of the id: u8][id][offset from the module's load address: u64].
#include <sennit/multiprocessing/entry.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/shared_memory.hpp>

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <memory>
#include <string>
#include <vector>

namespace sennit::multiprocessing {
namespace {

constexpr std::size_t most_id_bytes = 64;

struct Segment {
    std::uintptr_t begin, end; // executable
};

struct Module {
    std::uintptr_t base;
    std::string id;
    std::string name;
    std::vector<Segment> code;

    [[nodiscard]] bool has(std::uintptr_t address) const noexcept {
        return std::any_of(code.begin(), code.end(),
                           [address](const Segment& s) { return s.begin <= address && address < s.end; });
    }
};

using Modules = std::vector<Module>;

std::string id_of(const dl_phdr_info& info) {
    for (int i = 0; i < info.dlpi_phnum; ++i) {
        const ElfW(Phdr)& header = info.dlpi_phdr[i];
        if (header.p_type != PT_NOTE) continue;
        const auto* at = reinterpret_cast<const char*>(info.dlpi_addr + header.p_vaddr);
        const char* const end = at + header.p_memsz;
        while (end - at >= static_cast<std::ptrdiff_t>(sizeof(ElfW(Nhdr)))) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof note);
            const char* const name = at + sizeof note;
            const std::size_t unit = header.p_align == 8 ? 8 : 4;
            const auto padded = [unit](std::size_t n) { return (n + unit - 1) / unit * unit; };
            const char* const text = name + padded(note.n_namesz);
            if (text < name || text > end || static_cast<std::size_t>(end - text) < note.n_descsz) break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0)
                return std::string(text, std::min<std::size_t>(note.n_descsz, most_id_bytes));
            at = text + padded(note.n_descsz);
        }
    }
    return {};
}

// For a module without a build id: its file's name, size and number; the vDSO and what has no file by its name alone.
std::string id_of_file(const std::string& name) {
    std::string id = "file:" + name;
    int error = 0;
    if (const os::Fd file = os::open_file(name.empty() ? "/proc/self/exe" : name.c_str(), 0, error)) {
        const os::FileId which = os::file_id(file.get());
        id += ':' + std::to_string(os::file_bytes(file.get())) + ':' + std::to_string(which.device) + ':' +
              std::to_string(which.inode);
    }
    // Long paths differ in their end.
    return id.size() <= most_id_bytes ? id : id.substr(id.size() - most_id_bytes);
}

struct Table {
    Modules modules;
    unsigned long long changes = 0; // modules loaded and unloaded till then
    const Table* before = nullptr;  // stays for who reads it
};

unsigned long long count_changes() {
    unsigned long long changes = 0;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* to) {
            *static_cast<unsigned long long*>(to) = info->dlpi_adds + info->dlpi_subs;
            return 1;
        },
        &changes);
    return changes;
}

const Table* list_modules(const Table* before) {
    auto made = std::make_unique<Table>();
    made->before = before;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* to) {
            auto& it = *static_cast<Table*>(to);
            it.changes = info->dlpi_adds + info->dlpi_subs;
            Module module{info->dlpi_addr, id_of(*info), info->dlpi_name, {}};
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                const ElfW(Phdr)& header = info->dlpi_phdr[i];
                if (header.p_type != PT_LOAD || (header.p_flags & PF_X) == 0) continue;
                const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
                module.code.push_back({begin, begin + header.p_memsz});
            }
            if (module.code.empty()) return 0;
            if (module.id.empty()) module.id = id_of_file(module.name);
            it.modules.push_back(std::move(module));
            return 0;
        },
        made.get());
    return made.release(); // for ever; there are as many as times a module was loaded
}

// The table of now; release meets acquire.
constinit atomic<const Table*> table{nullptr};

const Modules& modules(bool anew) {
    const Table* known = table.load(memory_order_acquire);
    if (known != nullptr && (!anew || known->changes == count_changes())) return known->modules;
    const Table* const made = list_modules(known);
    // Of two that make one at the same time the second is the first's successor in vain: both lists are right.
    while (!table.compare_exchange_weak(known, made, memory_order_acq_rel, memory_order_acquire))
        const_cast<Table*>(made)->before = known;
    return made->modules;
}

const Module* module_of(std::uintptr_t address) {
    for (const bool anew : {false, true})
        for (const Module& module : modules(anew))
            if (module.has(address)) return &module;
    return nullptr;
}

} // namespace

void pack_code(CargoWriter& to, const void* address) {
    const auto number = reinterpret_cast<std::uintptr_t>(address);
    const Module* const module = module_of(number);
    if (module == nullptr)
        throw UsageError(
            "a function that lies in no module of the program can't travel to another process: a null pointer, or code "
            "that was made at run time. Give a function that the program has from its start");
    const std::uint64_t offset = number - module->base;
    to.write_raw(static_cast<std::uint8_t>(module->id.size()));
    to.write(module->id.data(), module->id.size());
    to.write_raw(offset);
}

const void* unpack_code(CargoReader& from) {
    const std::size_t bytes = from.read_raw<std::uint8_t>();
    const char* const id = reinterpret_cast<const char*>(from.take(bytes));
    const auto offset = from.read_raw<std::uint64_t>();
    for (const bool anew : {false, true}) {
        for (const Module& module : modules(anew)) {
            if (module.id.size() != bytes || std::memcmp(module.id.data(), id, bytes) != 0) continue;
            const std::uintptr_t address = module.base + offset;
            if (!module.has(address))
                throw CargoError("a function to call lies outside of the code of '" +
                                 (module.name.empty() ? std::string("the program") : module.name) +
                                 "': the bytes are damaged, or come from somebody else");
            return reinterpret_cast<const void*>(address);
        }
    }
    throw CargoError("a function to call is of a program or library that this process has not loaded, or of another "
                     "build of it: both "
                     "processes must run the same files");
}

} // namespace sennit::multiprocessing

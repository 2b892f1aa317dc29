// The handler allocates nothing and takes no lock that could be held: the modules are noted when the worker begins, the unwinder is
// loaded then (its first use allocates), and names are looked up by who reads the note.
#include "multiprocessing/crash_note.hpp"

#include <sennit/os/crash.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace sennit::multiprocessing::detail {
namespace {

CrashNote* where = nullptr;

void note_frames(void* const* frames, std::size_t n) noexcept {
    n = std::min(n, CrashNote::most_frames);
    for (std::size_t i = 0; i < n; ++i) where->address[i] = reinterpret_cast<std::uint64_t>(frames[i]);
    where->frames.store(static_cast<std::uint32_t>(n), memory_order_release); // meets describe_crash()
}

} // namespace

void note_crashes(CrashNote& note) noexcept {
    where = &note;
    note.modules = 0;
    os::for_each_module(
        [](void* to, std::uintptr_t base, std::uintptr_t end, const char* name) noexcept {
            auto& n = *static_cast<CrashNote*>(to);
            if (n.modules == CrashNote::most_modules) return;
            CrashNote::Module& m = n.module[n.modules++];
            m.base = base;
            m.end = end;
            const std::size_t length = std::min(std::strlen(name), CrashNote::name_bytes - 1);
            std::memcpy(m.name, name, length);
            m.name[length] = '\0';
        },
        &note);
    os::on_crash(note_frames);
}

std::string describe_crash(const CrashNote& note) {
    const std::size_t n = std::min<std::size_t>(note.frames.load(memory_order_acquire), CrashNote::most_frames);
    const std::size_t modules = std::min<std::size_t>(note.modules, CrashNote::most_modules);
    std::string text;
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint64_t address = note.address[i];
        for (std::size_t k = 0; k < modules; ++k) {
            CrashNote::Module m;
            std::memcpy(&m, &note.module[k], sizeof m);
            m.name[CrashNote::name_bytes - 1] = '\0';
            if (address < m.base || address >= m.end) continue;
            char line[160];
            std::snprintf(line, sizeof line, "%s(+0x%llx)", m.name[0] ? m.name : "program",
                          static_cast<unsigned long long>(address - m.base));
            const std::string name = os::name_of_place(m.name, address - m.base);
            if (!name.empty()) text += name + " ";
            text += line;
            text += '\n';
            break;
        }
    }
    return text;
}

} // namespace sennit::multiprocessing::detail

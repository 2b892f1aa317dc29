// With this header, what only cereal itself can serialise travels between processes as well: private serialize() functions
// (friend class cereal::access), versions (CEREAL_CLASS_VERSION), std::shared_ptr and polymorphic types (CEREAL_REGISTER_TYPE).
//
// Include it wherever such a type is sent or received, before that. It includes cereal's headers, which take a second to compile: what
// needs no more than serialize(), save() and load() that are open needs it not. Needs the package libcereal-dev.
//
// Each object that goes this way is an archive of its own: two shared_ptrs to one object in different members arrive as two objects; in
// one object that cereal serialises as a whole they stay one.
#pragma once

#include <sennit/multiprocessing/cargo.hpp>

#include <cereal/archives/binary.hpp>
#include <cereal/cereal.hpp>
#include <cereal/types/base_class.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/polymorphic.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

#include <istream>
#include <ostream>
#include <streambuf>

namespace sennit::multiprocessing::detail {

class CargoOutBuffer final : public std::streambuf {
  public:
    explicit CargoOutBuffer(CargoWriter& to) noexcept : to_(to) {}

  private:
    std::streamsize xsputn(const char* from, std::streamsize n) override {
        to_.write(from, static_cast<std::size_t>(n));
        return n;
    }
    int_type overflow(int_type c) override {
        to_.write_raw(static_cast<char>(c));
        return c;
    }
    CargoWriter& to_;
};

class CargoInBuffer final : public std::streambuf {
  public:
    explicit CargoInBuffer(std::span<const std::byte> bytes) noexcept {
        char* const begin = const_cast<char*>(reinterpret_cast<const char*>(bytes.data())); // it is only read
        setg(begin, begin, begin + bytes.size());
    }
};

template <class T>
requires(std::is_class_v<T> &&
         (std::is_default_constructible_v<T> || is_a<T, std::shared_ptr>)&&!std::is_pointer_v<T> &&
         cereal::traits::is_output_serializable<T, cereal::BinaryOutputArchive>::value &&
         cereal::traits::is_input_serializable<T, cereal::BinaryInputArchive>::value) //
    struct ThroughCereal<T> {
    static constexpr bool value = true;
    static void pack(CargoWriter& to, const T& value) {
        CargoWriter archive;
        {
            CargoOutBuffer buffer(archive);
            std::ostream stream(&buffer);
            cereal::BinaryOutputArchive out(stream);
            out(value);
        }
        multiprocessing::pack(to, archive.bytes()); // with its length: what reads it stays within
    }
    static T unpack(CargoReader& from) {
        const std::size_t n = from.read_count(1);
        CargoInBuffer buffer({from.take(n), n});
        std::istream stream(&buffer);
        cereal::BinaryInputArchive in(stream);
        T value{};
        try {
            in(value);
        } catch (const cereal::Exception& e) {
            throw CargoError(std::string("a message is no good: cereal says: ") + e.what());
        }
        return value;
    }
};

} // namespace sennit::multiprocessing::detail

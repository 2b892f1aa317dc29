#include <sennit/multiprocessing/cereal.hpp>

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

namespace sennit::multiprocessing {

// Not in the unnamed namespace: cereal's registry names them.
struct Shape {
    virtual ~Shape() = default;
    virtual int corners() const = 0;
    int id = 0;
    template <class Archive>
    void serialize(Archive& archive) {
        archive(id);
    }
};
struct Square : Shape {
    int corners() const override { return 4; }
    std::string colour;
    template <class Archive>
    void serialize(Archive& archive) {
        archive(cereal::base_class<Shape>(this), CEREAL_NVP(colour));
    }
};
class Private {
  public:
    Private() = default;
    explicit Private(int n) : n_(n) {}
    [[nodiscard]] int n() const { return n_; }

  private:
    friend class cereal::access;
    template <class Archive>
    void serialize(Archive& archive, const std::uint32_t version) {
        archive(n_);
        if (version != 3) n_ = -1;
    }
    std::unique_ptr<int> nothing_; // no plain bytes
    int n_ = 0;
};

} // namespace sennit::multiprocessing

CEREAL_REGISTER_TYPE(sennit::multiprocessing::Square)
CEREAL_CLASS_VERSION(sennit::multiprocessing::Private, 3)

namespace sennit::multiprocessing {
namespace {

template <class T>
T there_and_back(const T& value) {
    CargoWriter to = packed(value);
    CargoReader from(to.bytes());
    T result = unpack<T>(from);
    from.check_end();
    return result;
}

TEST(CargoThroughCereal, private_functions_versions_shared_pointers_and_polymorphic_types_travel) {
    CargoWriter to = packed(Private(7));
    CargoReader from(to.bytes());
    EXPECT_EQ(unpack<Private>(from).n(), 7);
    auto square = std::make_shared<Square>();
    square->id = 3;
    square->colour = "red";
    const std::shared_ptr<Shape> shape = square;
    const auto same = there_and_back(std::vector<std::shared_ptr<Shape>>{shape, nullptr});
    ASSERT_EQ(same.size(), 2u);
    EXPECT_EQ(same[0]->corners(), 4);
    EXPECT_EQ(same[0]->id, 3);
    EXPECT_EQ(same[1], nullptr);
    EXPECT_EQ(*there_and_back(std::make_shared<int>(5)), 5);
}

TEST(CargoThroughCereal, cut_bytes_are_refused) {
    CargoWriter to = packed(std::make_shared<int>(5));
    for (std::size_t n = 0; n < to.size(); ++n) {
        CargoReader from(to.bytes().first(n));
        EXPECT_THROW(unpack<std::shared_ptr<int>>(from), CargoError) << n;
    }
}

} // namespace
} // namespace sennit::multiprocessing

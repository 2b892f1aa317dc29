// The image, in the machine's byte order; N items, D bytes of data:
//
//   0            8        N
//   8            8(N+1)   offsets into the data: entry i where item i begins, entry N = D; entry 0 is 0
//   8(N+2)       D        the data: for each item a multiple of 8 bytes, its place
//   8(N+2)+D     8N       the format of each, as Python's struct has it, filled up with NULs
//   8(N+2)+D+8N  N        how to read each: 0 as its format says, 1 a str, 2 bytes, 3 None
//
// A str or bytes has the format "Ns", where CPython writes the size of the place for N, and takes the NULs off the end when it
// reads. Where there are NULs that belong to the value, sennit writes the exact N, which CPython reads as well.
//
// Whoever has the name may write anything at any time: so each read checks offsets, format and code anew, on a copy.
#include <sennit/multiprocessing/shareable_list.hpp>

#include <sennit/multiprocessing/cargo.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace sennit::multiprocessing::shared_memory {
namespace {

constexpr std::size_t word = 8;
constexpr std::string_view int_format = "q", float_format = "d", bool_format = "xxxxxxx?", none_format = "xxxxxx?x";
enum Code : signed char { as_format = 0, is_str = 1, is_bytes = 2, is_none = 3 };
constexpr std::size_t longest_place = 9'999'992; // its format has 8 characters

[[noreturn]] void refuse_image(const std::string& why) {
    throw InvalidStateError("ShareableList: the block holds no list of Python 3.9 or later: " + why);
}

// Whether `text` is UTF-8 as Python decodes it: shortest forms, no surrogates, up to U+10FFFF.
bool is_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto at = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U; };
        const auto goes_on = [&](std::size_t k) { return (at(k) & 0xc0) == 0x80; };
        const unsigned c = at(i);
        if (c < 0x80) {
            i += 1;
        } else if (c >= 0xc2 && c < 0xe0 && goes_on(i + 1)) {
            i += 2;
        } else if ((c & 0xf0) == 0xe0 && goes_on(i + 1) && goes_on(i + 2)) {
            const unsigned point = (c & 0x0f) << 12 | (at(i + 1) & 0x3f) << 6;
            if (point < 0x800 || (point & 0xf800) == 0xd800) return false;
            i += 3;
        } else if (c >= 0xf0 && c < 0xf5 && goes_on(i + 1) && goes_on(i + 2) && goes_on(i + 3)) {
            const unsigned point = (c & 0x07) << 18 | (at(i + 1) & 0x3f) << 12;
            if (point < 0x10000 || point > 0x10ffff) return false;
            i += 4;
        } else {
            return false;
        }
    }
    return true;
}

// The bytes of a str or bytes; for other types {nullptr, 0}.
std::string_view text_of(const Item& value) {
    if (const auto* s = std::get_if<std::string>(&value)) return {s->data() ? s->data() : "", s->size()};
    if (const auto* b = std::get_if<Bytes>(&value))
        return {b->empty() ? "" : reinterpret_cast<const char*>(b->data()), b->size()};
    return {};
}
bool is_text(const Item& value) { return value.index() >= 4; }

void check_text(const Item& value) {
    if (std::holds_alternative<std::string>(value) && !is_utf8(std::get<std::string>(value)))
        throw UsageError("ShareableList: this str is no UTF-8, which Python could not read; store it as Bytes");
}

std::size_t place_bytes(const Item& value) { return is_text(value) ? word * (text_of(value).size() / word + 1) : word; }

std::string format_for(const Item& value, std::size_t place) {
    switch (value.index()) {
    case 0:
        return std::string(none_format);
    case 1:
        return std::string(bool_format);
    case 2:
        return std::string(int_format);
    case 3:
        return std::string(float_format);
    default:
        const std::string_view text = text_of(value);
        return std::to_string(text.ends_with('\0') ? text.size() : place) + 's';
    }
}
Code code_for(const Item& value) {
    switch (value.index()) {
    case 0:
        return is_none;
    case 4:
        return is_str;
    case 5:
        return is_bytes;
    default:
        return as_format;
    }
}

// Into a place that is large enough. The rest of it becomes NUL.
void write_value(const Item& value, std::byte* to, std::size_t place) {
    std::memset(to, 0, is_text(value) ? place : word);
    if (const auto* i = std::get_if<std::int64_t>(&value)) std::memcpy(to, i, word);
    if (const auto* d = std::get_if<double>(&value)) std::memcpy(to, d, word);
    if (const auto* b = std::get_if<bool>(&value)) to[word - 1] = static_cast<std::byte>(*b);
    const std::string_view text = text_of(value);
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
}

std::int64_t word_at(std::span<const std::byte> image, std::size_t at) {
    std::int64_t n = 0;
    std::memcpy(&n, image.data() + at, word);
    return n;
}

std::string index_text(std::size_t i, std::size_t size) {
    return "ShareableList: there is no item " + std::to_string(i) + " in a list of " + std::to_string(size);
}

} // namespace

void Item::refuse_integer() {
    throw UsageError("ShareableList: this integer does not fit into 64 bits with a sign; store it as a str");
}

ShareableListView::ShareableListView(std::span<std::byte> image) : image_(image) {
    if (image.size() < 2 * word)
        refuse_image("it has " + std::to_string(image.size()) + " bytes, and the least are 16");
    const std::int64_t n = word_at(image, 0);
    // Each item takes at least an offset, its format and its code.
    if (n < 0 || static_cast<std::uint64_t>(n) > (image.size() - 2 * word) / (2 * word + 1))
        refuse_image(std::to_string(image.size()) + " bytes can't hold " + std::to_string(n) + " items");
    size_ = static_cast<std::size_t>(n);
    data_at_ = word * (size_ + 2);
    if (word_at(image, word) != 0) refuse_image("its first item does not begin at 0 (a list of Python 3.8 looks so)");
    const std::int64_t data = word_at(image, data_at_ - word);
    const std::size_t room = image.size() - data_at_ - size_ * (word + 1);
    if (data < 0 || static_cast<std::uint64_t>(data) > room)
        refuse_image("its " + std::to_string(data) + " bytes of data do not fit");
    formats_at_ = data_at_ + static_cast<std::size_t>(data);
}

std::span<std::byte> ShareableListView::slot(std::size_t i) const {
    if (i >= size_) throw std::out_of_range(index_text(i, size_));
    const std::int64_t from = word_at(image_, word * (i + 1)), to = word_at(image_, word * (i + 2));
    if (from < 0 || to < from || static_cast<std::uint64_t>(to) > formats_at_ - data_at_)
        refuse_image("item " + std::to_string(i) + " lies outside of its data");
    return image_.subspan(data_at_ + static_cast<std::size_t>(from), static_cast<std::size_t>(to - from));
}

std::string ShareableListView::format(std::size_t i) const {
    if (i >= size_) throw std::out_of_range(index_text(i, size_));
    char text[word];
    std::memcpy(text, image_.data() + formats_at_ + word * i, word);
    std::size_t n = word;
    while (n > 0 && text[n - 1] == '\0') --n;
    for (std::size_t k = 0; k < n; ++k)
        if (text[k] <= ' ' || text[k] > '~') refuse_image("the format of item " + std::to_string(i) + " is no text");
    return {text, n};
}

std::string ShareableListView::format() const {
    std::string all;
    for (std::size_t i = 0; i < size_; ++i) all += format(i);
    return all;
}

Item ShareableListView::get(std::size_t i) const {
    const std::span<const std::byte> place = slot(i);
    const std::string form = format(i);
    const auto code = std::to_integer<signed char>(image_[formats_at_ + word * size_ + i]);
    const auto wrong = [&]() {
        refuse_image("item " + std::to_string(i) + " has the format \"" + form + "\", the code " +
                     std::to_string(code) + " and " + std::to_string(place.size()) + " bytes");
    };
    if (code == is_none) return None{};
    if (form.size() > 1 && form.back() == 's') {
        std::size_t n = 0;
        const auto [end, error] = std::from_chars(form.data(), form.data() + form.size(), n);
        if (error != std::errc() || *end != 's' || end + 1 != form.data() + form.size() || n > place.size()) wrong();
        const bool exact = n < place.size();
        const char* text = reinterpret_cast<const char*>(place.data());
        // A copy first: it may change at any time.
        std::string copy(text, n);
        if (!exact) copy.resize(copy.find_last_not_of('\0') + 1);
        if (code == is_str) {
            if (!is_utf8(copy)) refuse_image("item " + std::to_string(i) + " is a str that is no UTF-8");
            return copy;
        }
        if (code != is_bytes) wrong();
        const auto* bytes = reinterpret_cast<const std::byte*>(copy.data());
        return Bytes(bytes, bytes + copy.size());
    }
    if (code != as_format || place.size() < word) wrong();
    if (form == int_format) return word_at(place, 0);
    if (form == bool_format) return place[word - 1] != std::byte{0};
    if (form != float_format) wrong();
    double d = 0;
    std::memcpy(&d, place.data(), word);
    return d;
}

void ShareableListView::set(std::size_t i, const Item& value) const {
    const std::span<std::byte> place = slot(i);
    check_text(value);
    const std::size_t needed = is_text(value) ? text_of(value).size() : word;
    if (needed > place.size())
        throw UsageError("ShareableList: item " + std::to_string(i) + " has room for " + std::to_string(place.size()) +
                         " bytes, and this value has " + std::to_string(needed) +
                         "; make the list with a value of the greatest size that will be needed");
    const std::string form = format_for(value, place.size());
    char text[word] = {};
    std::memcpy(text, form.data(), std::min(form.size(), word));
    // In Python's order.
    std::memcpy(image_.data() + formats_at_ + word * i, text, word);
    image_[formats_at_ + word * size_ + i] = static_cast<std::byte>(code_for(value));
    write_value(value, place.data(), place.size());
}

std::size_t ShareableListView::image_bytes(std::span<const Item> items) {
    std::size_t bytes = 2 * word;
    for (const Item& value : items) {
        check_text(value);
        const std::size_t place = place_bytes(value);
        if (place > longest_place)
            throw UsageError("ShareableList: an item of " + std::to_string(text_of(value).size()) +
                             " bytes; at most 9,999,991 have a place. Use SharedMemory");
        bytes += place + 2 * word + 1;
    }
    return bytes;
}

void ShareableListView::write_image(std::span<const Item> items, std::span<std::byte> to) {
    std::memset(to.data(), 0, to.size());
    const auto put = [&](std::size_t at, std::size_t value) {
        const auto n = static_cast<std::int64_t>(value);
        std::memcpy(to.data() + at, &n, word);
    };
    put(0, items.size());
    const std::size_t data_at = word * (items.size() + 2);
    std::size_t offset = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::size_t place = place_bytes(items[i]);
        write_value(items[i], to.data() + data_at + offset, place);
        put(word * (i + 2), offset += place);
    }
    std::size_t at = data_at + offset;
    for (std::size_t i = 0; i < items.size(); ++i, at += word) {
        const std::size_t place = place_bytes(items[i]);
        const std::string form = format_for(items[i], place);
        std::memcpy(to.data() + at, form.data(), form.size());
    }
    for (const Item& value : items) to[at++] = static_cast<std::byte>(code_for(value));
}

ShareableList::ShareableList(std::span<const Item> items, const ShareableListOptions& options)
    : shm_(
          options.name,
          {.create = true,
           .size = static_cast<std::int64_t>(ShareableListView::image_bytes(items)),
           .track = options.track},
          [](std::span<std::byte> image, const void* from) {
              ShareableListView::write_image(*static_cast<const std::span<const Item>*>(from), image);
          },
          &items),
      view_(shm_.buf()) {}

ShareableList::ShareableList(const ShareableListOptions& options)
    : shm_(options.name, {.track = options.track}), view_(shm_.buf()) {}

ShareableList ShareableList::unpack(CargoReader& from) {
    ShareableListOptions options;
    options.name = multiprocessing::unpack<std::string>(from);
    return ShareableList(options);
}

ShareableList::Reference ShareableList::operator[](std::ptrdiff_t i) const {
    const auto n = static_cast<std::ptrdiff_t>(size());
    if (i < -n || i >= n) throw std::out_of_range(index_text(static_cast<std::size_t>(i < 0 ? -i : i), size()));
    return {view_, static_cast<std::size_t>(i < 0 ? i + n : i)};
}

namespace {

// As Python compares: numbers by value, whatever their types.
bool equal(const Item& a, const Item& b) {
    const auto number = [](const Item& i) -> const Item* { return i.index() >= 1 && i.index() <= 3 ? &i : nullptr; };
    if (number(a) && number(b) && a.index() != b.index()) {
        const auto integer = [](const Item& i) {
            return std::holds_alternative<bool>(i) ? std::int64_t{std::get<bool>(i)} : std::get<std::int64_t>(i);
        };
        if (!std::holds_alternative<double>(a) && !std::holds_alternative<double>(b)) return integer(a) == integer(b);
        const double d = std::holds_alternative<double>(a) ? std::get<double>(a) : std::get<double>(b);
        const std::int64_t n = integer(std::holds_alternative<double>(a) ? b : a);
        return d >= -9223372036854775808.0 && d < 9223372036854775808.0 && static_cast<std::int64_t>(d) == n &&
               static_cast<double>(static_cast<std::int64_t>(d)) == d;
    }
    return a == b;
}

} // namespace

std::size_t ShareableList::count(const Item& value) const {
    return static_cast<std::size_t>(std::count_if(begin(), end(), [&](const Item& i) { return equal(i, value); }));
}

std::size_t ShareableList::index(const Item& value) const {
    for (std::size_t i = 0; i < size(); ++i)
        if (equal(view_.get(i), value)) return i;
    throw std::out_of_range("ShareableList.index: no item is equal to this value");
}

std::vector<Item> ShareableList::items() const { return {begin(), end()}; }

} // namespace sennit::multiprocessing::shared_memory

#include "tools/fetch/resume_record.hpp"

#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

ResumeRecord some_record() {
    ResumeRecord r;
    r.url = "https://example.org/a.iso";
    r.length = 73'400'320;
    r.etag = "\"5f2a-17\"";
    r.synced = 41'943'040;
    r.boot = "6a4e";
    return r;
}

TEST(ResumeRecord, comes_back_as_it_was) {
    ResumeRecord r = some_record();
    EXPECT_EQ(ResumeRecord::decode(r.encode()), r);
    r.etag.clear();
    r.modified = "Sat, 01 Aug 2026 10:00:00 GMT";
    EXPECT_EQ(ResumeRecord::decode(r.encode()), r);
}
TEST(ResumeRecord, is_none_when_it_was_cut_anywhere) {
    const std::string text = some_record().encode();
    for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(ResumeRecord::decode(text.substr(0, n))) << n;
}
TEST(ResumeRecord, is_none_when_it_says_what_is_never_written) {
    const std::string text = some_record().encode();
    EXPECT_FALSE(ResumeRecord::decode(text + "more"));
    EXPECT_FALSE(ResumeRecord::decode(text + text));
    const auto with = [&](std::string_view from, std::string_view to) {
        std::string changed = text;
        return ResumeRecord::decode(changed.replace(changed.find(from), from.size(), to));
    };
    EXPECT_FALSE(with("fetch 1", "fetch 2"));
    EXPECT_FALSE(with("length 7", "length -7"));
    EXPECT_FALSE(with("length 7", "length 07"));
    EXPECT_FALSE(with("length 7", "length 99999999999999999997"));
    EXPECT_FALSE(with("\"5f", "W/\"5f"));
    EXPECT_FALSE(with("https", "ht\x1btps"));
    EXPECT_FALSE(with("url https://example.org/a.iso", "url "));
}

} // namespace
} // namespace sennit::tools

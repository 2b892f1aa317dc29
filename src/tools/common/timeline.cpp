#include "tools/common/timeline.hpp"

#include "tools/common/quoting.hpp"
#include "tools/common/timeline_page.hpp"

#include <string_view>

namespace sennit::tools {
namespace {

// JSON that may stand inside <script>: no '<', so nothing in it can end the element.
void append_script_string(std::string& to, std::string_view text) {
    std::string json;
    append_json_string(json, text);
    for (const char c : json) {
        if (c == '<')
            to += "\\u003c";
        else
            to += c;
    }
}

// Every occurrence. What comes in is not looked at again.
void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
}

} // namespace

Timeline::Timeline(std::string path, const Words& w, std::string_view title) : file_(std::move(path)) {
    const std::string shown = for_terminal(title, longest_label);
    std::string head(timeline_head);
    replace_all(head, "@TOOL@", w.tool);
    replace_all(head, "@TITLE@", for_html(shown));
    file_.write(head);
    file_.write("<script type=\"application/json\" id=\"rows\">[");
    const auto word = [this](std::string_view name, std::string_view text) {
        append_json_string(words_ += ',', name);
        append_json_string(words_ += ':', text);
    };
    word("one", w.one);
    word("many", w.many);
    word("label", w.label);
    word("bytes", w.bytes);
    words_ += w.processes ? ",\"processes\":true" : ",\"processes\":false";
}

// [number, slot, start µs, runtime µs, outcome, CPU µs, memory KiB, bytes, attempt if it was tried again, label]
void Timeline::add(const Row& r) {
    if (++rows_ > most_rows) return;
    row_ = rows_ == 1 ? "\n[" : ",\n[";
    const auto number = [this](std::int64_t n) { (row_ += std::to_string(n)) += ','; };
    number(static_cast<std::int64_t>(r.number));
    number(r.slot);
    number(r.start_ns / 1000);
    number(r.runtime_ns / 1000);
    if (r.outcome_word.empty()) {
        number(r.outcome);
    } else {
        append_script_string(row_, r.outcome_word);
        row_ += ',';
    }
    number(r.cpu_ns / 1000);
    number(r.memory_bytes / 1024);
    number(r.bytes);
    number(r.retried);
    append_script_string(row_, for_terminal(r.label, longest_label));
    row_ += ']';
    file_.write(row_);
}

void Timeline::finish(const Frame& f) {
    std::string tail =
        "\n]</script>\n<script type=\"application/json\" id=\"run\">{\"wall\":" + std::to_string(f.wall_ns / 1000) +
        ",\"started\":" + std::to_string(f.started_wall_ms) + ",\"slots\":" + std::to_string(f.slots) +
        ",\"cores\":" + std::to_string(f.cores) + ",\"ownCpu\":" + std::to_string(f.own_cpu_ns / 1000) +
        ",\"rows\":" + std::to_string(rows_) + words_ + ",\"ended\":";
    append_script_string(tail, for_terminal(f.ended));
    tail += "}</script>\n";
    file_.write(tail);
    file_.write(timeline_tail);
    file_.commit();
}

} // namespace sennit::tools

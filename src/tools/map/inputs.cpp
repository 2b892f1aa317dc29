#include "tools/map/inputs.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

constexpr std::size_t high_water_bytes = 4 * 1024 * 1024;

std::unique_ptr<RecordReader> open_stream(const std::string& path, char separator, int& own_stdin) {
    if (path == "-") {
        if (own_stdin < 0)
            throw UsageError("standard input can be read only once: it is named by two of -a and '::::'");
        auto stream = std::make_unique<RecordReader>(os::duplicate(own_stdin), "standard input", separator);
        own_stdin = -1;
        return stream;
    }
    int error = 0;
    os::Fd fd = os::open_file(path.c_str(), O_RDONLY, error);
    if (!fd) throw OSError(error, "cannot open the file of inputs " + shell_word(path));
    return std::make_unique<RecordReader>(std::move(fd), shell_word(path), separator);
}

std::vector<std::string> read_all(RecordReader& stream) {
    std::vector<std::string> values;
    std::string record;
    bool cut = false;
    for (;;) {
        switch (stream.next(record, cut)) {
        case RecordReader::State::record:
            values.push_back(record); // a cut one is still longer than any argument may be: its job is refused
            break;
        case RecordReader::State::need_data:
            stream.fill();
            break;
        case RecordReader::State::end:
            return values;
        }
    }
}

} // namespace

Inputs::Inputs(std::vector<InputSource> sources, char separator, int own_stdin) : per_job_(sources.size()) {
    for (std::size_t begin = 0; begin < sources.size();) {
        std::size_t end = begin + 1;
        while (end < sources.size() && sources[end].linked) ++end;
        std::vector<Column> columns;
        for (std::size_t i = begin; i < end; ++i) {
            Column column;
            if (sources[i].is_file)
                column.stream = open_stream(sources[i].path, separator, own_stdin);
            else
                column.values = std::move(sources[i].values);
            columns.push_back(std::move(column));
        }
        if (begin == 0) {
            first_ = std::move(columns);
        } else {
            std::size_t rows = SIZE_MAX;
            for (Column& column : columns) {
                if (column.stream) column.values = read_all(*column.stream);
                rows = std::min(rows, column.values.size());
            }
            std::vector<std::vector<std::string>> table(rows);
            for (std::size_t row = 0; row < rows; ++row)
                for (const Column& column : columns) table[row].push_back(column.values[row]);
            combinations_ *= rows;
            others_.push_back(std::move(table));
        }
        begin = end;
    }
    odometer_.assign(others_.size(), 0);
    ended_ = combinations_ == 0;
}

Inputs::State Inputs::next_row(std::vector<std::string>& row, bool& cut) {
    for (Column& column : first_) {
        if (column.has_pending) continue;
        if (!column.stream) {
            if (row_ >= column.values.size()) return State::end;
            column.pending = column.values[row_];
            column.has_pending = true;
            continue;
        }
        switch (column.stream->next(column.pending, column.cut)) {
        case RecordReader::State::record:
            column.has_pending = true;
            break;
        case RecordReader::State::need_data:
            waiting_ = column.stream->fd();
            return State::need_data;
        case RecordReader::State::end:
            return State::end;
        }
    }
    row.clear();
    cut = false;
    for (Column& column : first_) {
        row.push_back(column.pending);
        column.has_pending = false;
        cut |= column.cut;
        column.cut = false;
    }
    ++row_;
    return State::ready;
}

Inputs::State Inputs::next(std::vector<std::string>& values, bool& cut) {
    waiting_ = -1;
    if (ended_) return State::end;
    if (others_.empty()) {
        const State state = next_row(values, cut);
        ended_ = state == State::end;
        given_ += state == State::ready ? 1 : 0;
        return state;
    }
    if (!has_current_) {
        const State state = next_row(current_, current_cut_);
        if (state != State::ready) {
            ended_ = state == State::end;
            return state;
        }
        has_current_ = true;
    }
    values = current_;
    cut = current_cut_;
    for (std::size_t i = 0; i < others_.size(); ++i)
        values.insert(values.end(), others_[i][odometer_[i]].begin(), others_[i][odometer_[i]].end());
    std::size_t digit = others_.size();
    while (digit > 0 && ++odometer_[digit - 1] == others_[digit - 1].size()) odometer_[--digit] = 0;
    if (digit == 0) has_current_ = false;
    ++given_;
    return State::ready;
}

int Inputs::wait_fd() const noexcept {
    if (waiting_ >= 0) return waiting_;
    for (const Column& column : first_)
        if (column.stream && !column.stream->at_end()) return column.stream->fd();
    return -1;
}

void Inputs::read() {
    for (Column& column : first_) {
        if (!column.stream || column.stream->at_end()) continue;
        if (waiting_ >= 0 ? column.stream->fd() == waiting_ : column.stream->buffered() < high_water_bytes) {
            column.stream->fill();
            return;
        }
    }
}

bool Inputs::may_read_ahead() const noexcept {
    if (ended_) return false;
    for (const Column& column : first_)
        if (column.stream && !column.stream->at_end()) return column.stream->buffered() < high_water_bytes;
    return false;
}

std::optional<std::uint64_t> Inputs::total() const noexcept {
    if (ended_) return given_;
    std::uint64_t rows = UINT64_MAX;
    for (const Column& column : first_) {
        if (!column.stream)
            rows = std::min<std::uint64_t>(rows, column.values.size());
        else if (column.stream->at_end())
            rows = std::min(rows, row_ + column.stream->buffered_records() + (column.has_pending ? 1 : 0));
        else
            return std::nullopt;
    }
    return rows * combinations_;
}

} // namespace sennit::tools

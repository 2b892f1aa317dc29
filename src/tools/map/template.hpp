#pragma once

#include "tools/map/arguments.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::tools {

/// What one job puts into the placeholders.
struct Filling {
    std::span<const std::string> inputs;
    std::uint64_t sequence = 0; // {#}
    unsigned slot = 0;          // {%}
};

/// The command of `sennit map`, with placeholders as GNU parallel has them:
///
///     {}  the input              {/}  without its folder        {#}  the number of the job
///     {.} without its extension  {//} its folder                {%}  the number of its slot
///     {1} the first input        {/.} without both              {2.} {2/} {2//} {2/.} the second, likewise
///
/// A placeholder stays inside its argument, whatever the input is. Only a whole argument {} becomes several when a job has
/// several inputs. Without any placeholder the inputs are the last arguments.
///
/// With a shell, the text is a script, and the inputs reach it as positional parameters: a placeholder becomes "${1}" and the
/// like, quoted as its place in the script needs. So no input is ever read as shell syntax. Inside $((...)) the shell would
/// evaluate it, quoted or not: bind() throws a UsageError for one there.
class Template {
  public:
    /// A command without a shell. `replace` is what stands for the input, "{}" by default. Throws UsageError.
    static Template command(std::span<const std::string> words, std::string_view replace = "{}");
    /// A script for `/bin/sh -c`. Throws UsageError.
    static Template shell(std::string_view text, std::string_view replace = "{}");

    /// Tells how many inputs each job has. Throws UsageError when a placeholder asks for more. Call it before the rest.
    /// Without any placeholder the inputs become the last arguments, unless `insert` is false.
    void bind(std::size_t inputs_per_job, bool insert = true);

    /// The arguments of one job, the program's name first.
    void render(const Filling& filling, Arguments& arguments) const;
    /// One line that a shell would read as this job's command; for logs and people.
    void show(const Filling& filling, std::string& line) const;

    [[nodiscard]] bool uses_slot() const noexcept { return uses_slot_; }
    /// The program, if it is the same for every job; else empty.
    [[nodiscard]] std::string_view fixed_program() const noexcept { return fixed_program_; }

  private:
    enum class Part : std::uint8_t { whole, no_extension, base, folder, base_no_extension, sequence, slot };
    enum class Quotes : std::uint8_t { none, single, twofold, number }; // number: ours, inside $(( ))
    struct Piece {                                                      // text, then perhaps a placeholder
        std::string text;
        bool placeholder = false;
        Part part = Part::whole;
        std::size_t input = 0; // 0: all of them
        Quotes quotes = Quotes::none;
    };
    using Word = std::vector<Piece>;

    Template() = default;
    Word parse(std::string_view text, std::string_view replace);
    bool parse_placeholder(std::string_view text, std::string_view replace, Piece& piece, std::size_t& length) const;
    void track_quotes(Word& text) const;
    void build_script(std::size_t inputs_per_job);
    std::size_t parameter(Part part, std::size_t input);

    bool shell_ = false;
    std::vector<Word> words_; // of a command; of a shell text the one word
    std::string script_;      // of a shell text: what the shell gets
    std::vector<Piece> parameters_;
    std::size_t highest_ = 0;
    bool uses_any_ = false, uses_slot_ = false;
    std::string fixed_program_;
};

/// The parts of a path, as the placeholders mean them.
std::string_view without_extension(std::string_view path) noexcept;
std::string_view base_name(std::string_view path) noexcept;
std::string_view folder_name(std::string_view path) noexcept;

} // namespace sennit::tools

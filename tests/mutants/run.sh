#!/usr/bin/env bash
# run.sh SCRATCH BUILD [MUTANT...]: shows that the ordinary tests catch mistakes. Each NAME.patch here that is not model_*.patch (or each
# named one) is a mistake in the sources. A test passes with the build tree BUILD as it is; with what the patch changes compiled anew and
# linked in place of the original, it must fail, or hang. (model_*.patch are for the seeded scheduler: run_model.sh.)
#
# Above the patch stands what it changes, and
#   tests: FILE...     sources below tests/ whose tests are to catch it, without .cpp
#   filter: PATTERN    those tests (--gtest_filter); one must fail
#   tier: 1            it is tried daily; the others from SENNIT_FAULT_TIER=2 on, or when named
#   with: FILE...      sources below tests/ that these tests need besides
#   tool: PROGRAM...   they run these programs, of which the mistake is a part
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$1"
scratch=$(readlink -f "$1") build=$(readlink -f "$2")
shift 2
if [ $# = 0 ]; then
    cd "$here"
    mapfile -t patches < <(ls ./*.patch | sed 's,^\./,,' | grep -v '^model_')
    if [ "${SENNIT_FAULT_TIER:-1}" -lt 2 ]; then mapfile -t patches < <(grep -l '^tier: 1' "${patches[@]}"); fi
    set -- "${patches[@]%.patch}"
fi
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$build"

field() { sed -n "s/^$1: //p" "$here/$2.patch"; }
# The program that has tests/FOLDER/NAME.cpp, as tests/CMakeLists.txt says.
program_of() {
    local folder=${1%/*}
    case $folder in */*) printf %s "${folder//\//_}" ;; *) printf '%s_test' "$folder" ;; esac
}
command_of() { ninja -t commands "$1" | tail -n 1; }

# A test that hangs may leave children: they carry the mark in their environment.
end_what_is_left() {
    local process
    for process in /proc/[0-9]*; do
        if tr '\0' '\n' < "$process/environ" | grep -qxF "SENNIT_MUTANT=$1"; then kill -KILL "${process#/proc/}" || true; fi
    done
} 2> "$scratch/unreadable"

# run_tests PROGRAM FILTER LOG MARK
run_tests() {
    local status=0
    { SENNIT_MUTANT=$4 timeout 120 "$1" --gtest_filter="$2" || status=$?; } >> "$3" 2>&1 # and what bash says of its death
    end_what_is_left "$4"
    grep -aq '^\[==========\] Running [1-9]' "$3" || { echo "the filter $2 matches no test of $1" >&2; exit 2; }
    return $status
}

# link TARGET OUTPUT MUTANT_FOLDER [OBJECT...]: as BUILD does it, with the mutant's objects for those of the same name, before all archives; of
# the objects of a test program only those named.
link() {
    local target=$1 output=$2 folder=$3 word words=() objects=() own
    shift 3
    read -r -a words <<< "$(command_of "$target" | sed 's/^: && //; s/ && .*$//')"
    for ((i = 0; i < ${#words[@]}; ++i)); do
        word=${words[i]}
        case $word in
        -o) ((++i)); continue ;;
        *.o)
            own=$folder/objects/${word//\//_}
            if [ -e "$own" ]; then continue; fi # comes below
            if [[ $word == tests/CMakeFiles/${target##*/}.dir/* ]]; then
                [[ " $* " == *" $word "* ]] || continue
            fi
            ;;
        esac
        objects+=("$word")
    done
    words=("${objects[0]}" -o "$output" "$folder"/objects/*.o "${objects[@]:1}")
    "${words[@]}"
}

# Its verdict is the last line of FOLDER/said; exit code 0: caught, 1: survives, 2: cannot be tried.
try() {
    local mutant=$1 folder=$scratch/$1 file object target test status=0 caught=
    mkdir -p "$folder"/{objects,bin}
    local log=$folder/log
    for test in $(field tests "$mutant"); do
        run_tests "bin/tests/$(program_of "$test")" "$(field filter "$mutant")" "$log" "$folder" || {
            cat "$log"
            echo "$mutant: its tests fail without it"
            exit 2
        }
    done
    cp -a "$root/include" "$root/src" "$root/tests" "$folder"
    (cd "$folder" && patch -s -p1 < "$here/$mutant.patch") || {
        echo "$mutant.patch does not apply any more: bring it up to date with the source"
        exit 2
    }
    # What is compiled of what was changed: only what these tests are linked of.
    local wanted=()
    for test in $(field tests "$mutant") $(field with "$mutant"); do
        wanted+=("tests/CMakeFiles/$(program_of "$test").dir/${test#tests/}.cpp.o")
    done
    for file in $(sed -n 's,^+++ b/,,p' "$here/$mutant.patch"); do
        ninja -t deps | awk -v file="$root/$file" -v near="$(realpath -s --relative-to=. "$root/$file")" \
            '/^[^ ].*\.o: /{object = $1; sub(/:$/, "", object)} $1 == file || $1 == near {print object}' |
            while read -r object; do
                case $object in
                tests/CMakeFiles/sennit_test_*) ;;
                tests/*) [[ " ${wanted[*]} " == *" $object "* ]] || continue ;;
                CMakeFiles/*) ;;
                *) continue ;;
                esac
                echo "$object"
            done
    done | sort -u > "$folder/affected"
    [ -s "$folder/affected" ] || { echo "$mutant: nothing in $build is made of what it changes"; exit 2; }
    while read -r object; do
        command_of "$object" | sed -E "s,$root/(src|include|tests)\b,$folder/\1,g; s, -o [^ ]+, -o $folder/objects/${object//\//_},; s, -M[FT] [^ ]+,,g; s, -MD\b,,g; s, -Werror\b,,g" > "$folder/command"
        bash "$folder/command" > "$folder/build.log" 2>&1 || { cat "$folder/build.log"; echo "$mutant does not compile"; exit 2; }
    done < "$folder/affected"
    for target in $(field tool "$mutant"); do
        cp "bin/sennit" "$folder/bin/"
        link "bin/$target" "$folder/bin/$target" "$folder" || { echo "$mutant: cannot link $target"; exit 2; }
        rm "$folder"/objects/*.o # no part of the test
    done
    : > "$log"
    for test in $(field tests "$mutant"); do
        target=bin/tests/$(program_of "$test")
        if [ -z "$(field tool "$mutant")" ]; then
            link "$target" "$folder/bin/test" "$folder" "${wanted[@]}" || { echo "$mutant: cannot link $target"; exit 2; }
            target=$folder/bin/test
        else
            export SENNIT_TEST_BIN=$folder/bin
        fi
        run_tests "$target" "$(field filter "$mutant")" "$log" "$folder" || status=$?
        if [ $status != 0 ]; then caught=1; fi
    done
    if [ -z "$caught" ]; then
        echo "$mutant: SURVIVES"
        exit 1
    fi
    echo "$mutant: caught: $(grep -aE -m1 '^\[  FAILED  \]|HANG' "$log" || echo "its process ended")"
    rm -rf "$folder"/{include,src,tests,objects,bin}
}

# As many at a time as there are cores.
status=0
finish() {
    wait "$1" || { local code=$?; [ $code -le $status ] || status=$code; }
    cat "$scratch/$2.said"
}
pids=() names=()
for mutant; do
    [ -e "$here/$mutant.patch" ] || { echo "there is no $mutant.patch" >&2; exit 2; }
    if [ ${#pids[@]} -ge "$(nproc)" ]; then
        finish "${pids[0]}" "${names[0]}"
        pids=("${pids[@]:1}") names=("${names[@]:1}")
    fi
    (try "$mutant") > "$scratch/$mutant.said" 2>&1 < /dev/null &
    pids+=($!) names+=("$mutant")
done
for i in "${!pids[@]}"; do finish "${pids[i]}" "${names[i]}"; done
exit $status

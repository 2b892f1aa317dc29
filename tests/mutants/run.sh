#!/usr/bin/env bash
# run.sh SCRATCH COMPILER [MUTANT...]: shows that the ordinary tests catch mistakes. Each NAME.patch here that is not model_*.patch (or
# each named one) is a mistake in the library; applied to a copy in the folder SCRATCH, it must make a test fail, or hang,
# that passes without it. (model_*.patch are for the seeded scheduler: run_model.sh.)
#
# Above the patch stands what it changes, and
#   tests: FILE...     sources below tests/ that are built for it, without .cpp
#   filter: PATTERN    the tests (--gtest_filter) of which one must fail
#   tier: 1            it is tried daily; the others from SENNIT_FAULT_TIER=2 on, or when named
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$1"
scratch=$(readlink -f "$1") compiler=$2
shift 2
if [ $# = 0 ]; then
    cd "$here"
    mapfile -t patches < <(ls ./*.patch | sed 's,^\./,,' | grep -v '^model_')
    if [ "${SENNIT_FAULT_TIER:-1}" -lt 2 ]; then mapfile -t patches < <(grep -l '^tier: 1' "${patches[@]}"); fi
    set -- "${patches[@]%.patch}"
fi
field() { sed -n "s/^$1: //p" "$here/$2.patch"; }

rm -rf "$scratch"
mkdir -p "$scratch"/{src,objects,bin}
cd "$scratch"
cp -a "$root/include" "$root/tests" .
cp -a "$root"/src/{base,os,wait,sync,loop,threading,subprocess,asyncio,multiprocessing,futures} src/

# As the preset dev, but not optimised. The shim is linked as tests/CMakeLists.txt does it.
cache=
[ -z "$(command -v ccache)" ] || cache=ccache
wraps=$(sed -n 's/^\([a-z].*\)/-Wl,--wrap=\1/p' tests/support/shim_calls.txt | tr '\n' ' ')
{
    printf 'CXX = %s %s -std=c++20 -O0 -DSENNIT_DEBUG=1 -DSENNIT_FAULT_POINTS=1 -ftls-model=initial-exec -Iinclude -Isrc -Itests' "$cache" "$compiler"
    printf ' %s\n' "'-DSENNIT_SOURCE_DIR=\"$scratch\"'" "'-DSENNIT_BIN_DIR=\"$scratch/bin\"'" | tr -d '\n'
    echo
    common=()
    object() { printf 'objects/%s.o' "$(printf %s "${1%.cpp}" | tr / _)"; }
    rule() { printf '%s: %s\n\t@$(CXX) -MMD -c -o $@ $<\n' "$(object "$1")" "$1"; }
    for source in src/*/*.cpp tests/support/*.cpp; do
        common+=("$(object "$source")")
        rule "$source"
    done
    echo "COMMON = ${common[*]}"
    for test in $(for mutant; do field tests "$mutant"; done | tr ' ' '\n' | sort -u); do
        rule "tests/$test.cpp"
        printf 'bin/%s: %s $(COMMON)\n\t@$(CXX) -o $@ $^ %s -lgmock -lgtest -luring -pthread\n' "$(printf %s "$test" | tr / _)" \
            "$(object "tests/$test.cpp")" "$wraps"
    done
    echo "-include objects/*.d"
} > Makefile

# A test that hangs may leave children: they carry the mark in their environment.
end_what_is_left() {
    local process
    for process in /proc/[0-9]*; do
        if tr '\0' '\n' < "$process/environ" 2> "$scratch/unreadable" | grep -qxF "SENNIT_MUTANT=$scratch"; then
            kill -KILL "${process#/proc/}" 2> "$scratch/unreadable" || true
        fi
    done
} 2> "$scratch/unreadable"

# Builds and runs the tests of a mutant; their words are in NAME.log.
tests_pass() {
    local test program status=0
    : > "$1.log"
    for test in $(field tests "$1"); do
        program=bin/$(printf %s "$test" | tr / _)
        make -s -j2 "$program" > build.log 2>&1 || { cat build.log >&2; exit 2; }
        SENNIT_MUTANT=$scratch timeout 120 "$program" --gtest_filter="$(field filter "$1")" >> "$1.log" 2>&1 || status=$?
        end_what_is_left
        grep -aq '^\[==========\] Running [1-9]' "$1.log" || { echo "$1: the filter matches no test" >&2; exit 2; }
    done
    return $status
}

survivors=0
for mutant; do
    if ! tests_pass "$mutant"; then
        cat "$mutant.log" >&2
        echo "$mutant: its tests fail without it" >&2
        exit 1
    fi
    if ! patch -s -p1 < "$here/$mutant.patch" > patch.log; then
        cat patch.log >&2
        echo "$mutant.patch does not apply any more: bring it up to date with the source" >&2
        exit 1
    fi
    if tests_pass "$mutant"; then
        echo "$mutant: SURVIVES"
        survivors=$((survivors + 1))
    else
        why=$(grep -aE -m1 '^\[  FAILED  \]|HANG' "$mutant.log" || echo "its process ended")
        echo "$mutant: caught: $why"
    fi
    patch -s -R -p1 < "$here/$mutant.patch"
done
[ $survivors = 0 ] || { echo "$survivors of $# mutants survive" >&2; exit 1; }

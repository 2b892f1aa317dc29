#!/usr/bin/env bash
# run_model.sh SCRATCH COMPILER [MUTANT...]: shows that the model catches mistakes. Each model_*.patch here (or each named one) is a
# mistake in the library; applied to a copy in the folder SCRATCH, it must make scenarios fail that pass without it.
#
# Above the patch stands what it changes, and
#   tests: NAME...     tests/model/NAME_test.cpp that are built for it
#   filter: PATTERN    the scenarios (--gtest_filter) of which one must fail
#   tier: 1            it is tried daily; the others from SENNIT_FAULT_TIER=2 on, or when named
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$1 compiler=$2
shift 2
if [ $# = 0 ]; then
    cd "$here"
    patches=(model_*.patch)
    if [ "${SENNIT_FAULT_TIER:-1}" -lt 2 ]; then mapfile -t patches < <(grep -l '^tier: 1' "${patches[@]}"); fi
    patches=("${patches[@]#model_}")
    set -- "${patches[@]%.patch}"
fi

rm -rf "$scratch"
mkdir -p "$scratch"/{src/multiprocessing,tests,objects}
cd "$scratch"
cp -a "$root/include" .
cp -a "$root"/src/{base,os,wait,sync,futures,threading} src/
cp -a "$root"/src/multiprocessing/{ring.cpp,ring.hpp,worker_page.hpp} src/multiprocessing/ # what runs without processes
rm src/futures/{pool,process_pool_executor}.cpp # stand on multiprocessing, of which the model runs nothing
rm src/futures/spawn.cpp # needs the event loop, which no scenario runs
cp -a "$root"/tests/{model,support} tests/

cache=
[ -z "$(command -v ccache)" ] || cache=ccache
{
    echo "CXX = $cache $compiler -std=c++20 -O0 -DSENNIT_MODEL=1 -DSENNIT_DEBUG=1 -ftls-model=initial-exec -Iinclude -Isrc -Itests"
    sources=(src/*/*.cpp tests/support/model_loop.cpp tests/model/*.cpp)
    common=()
    for source in "${sources[@]}"; do
        object=objects/$(printf %s "${source%.cpp}" | tr / _).o
        case $source in *_test.cpp) ;; *) common+=("$object") ;; esac
        printf '%s: %s\n\t@$(CXX) -MMD -c -o $@ $<\n' "$object" "$source"
    done
    echo "COMMON = ${common[*]}"
    for test in tests/model/*_test.cpp; do
        name=$(basename "$test" _test.cpp)
        printf '%s: objects/tests_model_%s_test.o $(COMMON)\n\t@$(CXX) -o $@ $^ -lgtest -lgtest_main -pthread\n' "$name" "$name"
    done
    echo "-include objects/*.d"
} > Makefile

field() { sed -n "s/^$1: //p" "$here/model_$2.patch"; }
# Builds and runs the scenarios of a mutant; their words are in NAME.log.
scenarios_pass() {
    local name status=0
    for name in $(field tests "$1"); do
        make -s -j2 "$name" > build.log 2>&1 || { cat build.log >&2; exit 2; }
        SENNIT_FAULT_TIER=1 timeout 120 "./$name" --gtest_filter="$(field filter "$1")" > "$1.log" 2>&1 || status=$?
        grep -q '^\[==========\] [1-9]' "$1.log" || { echo "$1: the filter matches no scenario" >&2; exit 2; }
    done
    return $status
}

survivors=0
for mutant; do
    if ! scenarios_pass "$mutant"; then
        cat "$mutant.log" >&2
        echo "$mutant: its scenarios fail without it" >&2
        exit 1
    fi
    if ! patch -s -p1 < "$here/model_$mutant.patch" > patch.log; then
        cat patch.log >&2
        echo "model_$mutant.patch does not apply any more: bring it up to date with the source" >&2
        exit 1
    fi
    if scenarios_pass "$mutant"; then
        echo "$mutant: SURVIVES"
        survivors=$((survivors + 1))
    else
        echo "$mutant: caught: $(grep -A1 -m1 '^Failed$' "$mutant.log" | tail -n 1)"
    fi
    patch -s -R -p1 < "$here/model_$mutant.patch"
done
[ $survivors = 0 ] || { echo "$survivors of $# mutants survive" >&2; exit 1; }

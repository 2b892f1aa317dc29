# What ./run, ./test, ./bench and .ci/run have in common. Sourced, with `root` set to the repository.
set -euo pipefail

say() { printf '%s: %s\n' "$door" "$*" >&2; }
die() { say "$@"; exit 1; }

door=${0##*/}
[ "$(uname -s)" = Linux ] || die "sennit runs on Linux only."
. "$root/tools/packages.sh"

# configure PRESET [CMAKE_OPTION...]: makes the build tree if need be. Quiet; the whole output is shown when it fails.
configure() {
    local preset=$1 dir=$root/build/$1 log=$root/build/$1.log
    mkdir -p "$root/build"
    # A tree that was moved or copied carries the old place in its cache: begin it anew.
    if [ -e "$dir/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$dir/CMakeCache.txt"; then
        say "build/$preset belongs to another folder; building it anew"
        rm -rf "$dir"
    fi
    if ! (cd "$root" && configure_if_needed "$preset" "$dir" "${@:2}") > "$log" 2>&1; then
        cat "$log" >&2
        die "configuring preset $preset failed; CMake's words are above."
    fi
}

# build PRESET [CMAKE_OPTION...] -- [TARGET...]: configures if need be, and builds the targets, or all. As quiet. With keep_going set,
# an error does not end it: all are shown.
build() {
    local preset=$1 dir=$root/build/$1 log=$root/build/$1.log options=() targets=() target
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    [ $# = 0 ] || shift
    for target; do targets+=(--target "$target"); done
    configure "$preset" "${options[@]}"
    [ -e "$dir/.built" ] || say "building preset $preset in build/$preset (the first time takes a while)"
    if ! cmake --build "$dir" "${targets[@]}" ${keep_going:+-- -k 0} > "$log" 2>&1; then
        grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating|Re-)' "$log" >&2 || true
        die "building preset $preset failed; the compiler's words are above and in build/$preset.log."
    fi
    : > "$dir/.built"
}

# CMake runs again by itself when its files change; it is called here only for a new tree, new presets or an option more.
configure_if_needed() {
    local preset=$1 dir=$2 stamp presets options
    shift 2
    stamp=$dir/.configured # the first line tells the presets, the others are the options so far
    presets=$(cksum < CMakePresets.json)
    mapfile -t options < <({ tail -n +2 "$stamp" 2> /dev/null || true; printf '%s\n' "$@"; } | grep . | sort -u)
    local want
    want=$(printf '%s\n' "$presets" "${options[@]}")
    if [ -e "$dir/build.ninja" ] && [ "$(cat "$stamp" 2> /dev/null)" = "$want" ]; then return 0; fi
    cmake --preset "$preset" "${options[@]}" && printf '%s\n' "$want" > "$stamp"
}

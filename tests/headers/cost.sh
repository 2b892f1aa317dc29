#!/usr/bin/env bash
# cost.sh INCLUDE_DIR COMPILER ARG...: prints what including each umbrella header costs at -O0, beside some headers of the
# standard library, and fails when <sennit/threading.hpp> costs over three times as much as those. (Seconds differ from
# machine to machine; the goal is 1.5 s on an ordinary one.)
set -euo pipefail
include=$1
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cost() { # HEADER... -> the best of three, in milliseconds
    local best=999999 begin took
    printf '#include <%s>\n' "$@" > "$scratch/unit.cpp"
    echo 'int main() {}' >> "$scratch/unit.cpp"
    for _ in 1 2 3; do
        begin=$(date +%s%N)
        "${compile[@]}" -O0 -c "$scratch/unit.cpp" -o "$scratch/unit.o"
        took=$((($(date +%s%N) - begin) / 1000000))
        [ "$took" -ge "$best" ] || best=$took
    done
    echo "$best"
}

compile=("$@")
standard=(chrono functional memory optional string thread vector)
base=$(cost "${standard[@]}")
echo "$base ms  <chrono> <functional> <memory> <optional> <string> <thread> <vector>"
for path in "$include"/sennit/*.hpp; do
    [ -e "$path" ] || continue
    header=sennit/${path##*/}
    took=$(cost "$header")
    echo "$took ms  <$header>"
    if [ "$header" = sennit/threading.hpp ] && [ "$took" -gt $((3 * base)) ]; then
        echo "<$header> costs over three times as much as what it rests on. Find out what it drags in: g++ -H" >&2
        exit 1
    fi
done

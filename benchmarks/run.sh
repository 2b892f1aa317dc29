#!/bin/bash
# benchmarks/run.sh TOPIC...: measures, and prints one table a topic. ./bench builds first and then calls this.
#
# The programs of a topic are what exists of: TOPIC (from TOPIC.cpp), the Go peers, TOPIC_peers.py, TOPIC.py, TOPIC.sh. Each is called as
# `PROGRAM --rounds N`, with BENCH_BUILD naming the build tree, and prints rows: case, contender, figure, unit, separated by tabs.
# ROUNDS=3 (rounds over all programs of a topic), SAMPLES=3 (each program's own rounds), ROWS_DIR (keep the raw rows there).
set -u
here=$(cd "$(dirname "$0")" && pwd)
export BENCH_BUILD=${BENCH_BUILD:-$here/../build/release}
python=${PYTHON:-/usr/bin/python3} # Debian's; a python3 before it on PATH would be somebody else's peer
rounds=${ROUNDS:-3} samples=${SAMPLES:-3}
export PYTHONDONTWRITEBYTECODE=1
bin=$BENCH_BUILD/bin/benchmarks

if [ $# = 0 ]; then
    echo "usage: benchmarks/run.sh TOPIC...   (topics: $(cd "$here" && ls *.cpp *.sh | grep -v '^run.sh$' | sed 's/\.[a-z]*$//' | sort -u | xargs))" >&2
    exit 255
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
rows_dir=${ROWS_DIR:-$scratch}
mkdir -p "$rows_dir"

failed=0
sample() { # rows file, command...
    local rows=$1; shift
    "$@" --rounds "$samples" >> "$rows" || { echo "$1: failed with exit code $?; its figures are incomplete" >&2; failed=1; }
}
for topic; do
    rows=$rows_dir/$topic.tsv
    : > "$rows"
    for ((round = 1; round <= rounds; ++round)); do
        echo "$topic: round $round of $rounds" >&2
        if [ -e "$here/$topic.cpp" ]; then sample "$rows" "$bin/$topic"; fi
        if grep -q "\"$topic\":" "$here/go/main.go"; then
            if [ -x "$bin/go-peers" ]; then sample "$rows" "$bin/go-peers" "$topic"
            elif [ "$round" = 1 ]; then echo "$topic: Go is missing from the table (build with golang-go installed)" >&2; fi
        fi
        # (A queue.py would stand in the way of Python's own module queue, hence the other name.)
        for script in "$here/${topic}_peers.py" "$here/$topic.py"; do
            if [ -e "$script" ]; then sample "$rows" "$python" "$script"; fi
        done
        if [ -e "$here/$topic.sh" ]; then sample "$rows" bash "$here/$topic.sh"; fi
    done
    if [ ! -s "$rows" ]; then
        echo "$topic: no figures; is it a topic, and built (./bench $topic)?" >&2
        failed=1
        continue
    fi
    goals=$here/$topic.goals
    "$python" "$here/table.py" "$topic" "$rows" $([ -e "$goals" ] && printf %s "$goals")
done
exit $failed

#!/usr/bin/env bash
# run.sh SOURCE: ./run without arguments, on a folder with ordinary and with odd names, computes what `find -exec sha256sum`
# does, and leaves its page; ./run with arguments is the tool. From another folder than the repository's.
set -euo pipefail
source=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export SENNIT_NO_INSTALL=1 SENNIT_PRESET=dev
cd "$scratch"

cp -r "$source/include" from
for name in 'two words' $'new\nline' $'tab\t' -dash '"quoted"' "it's" '$HOME' '*' '{}' '{.}' '\' $'not \xff UTF-8' ' '; do
    printf '%s' "$name" > "from/$name"
done
: > from/empty

SENNIT_RUN_DIR=$scratch/from SENNIT_RUN_OUT=$scratch/out "$source/run" 2> words || { cat words; exit 1; }
find "$scratch/from" -type f -exec sha256sum {} + | LC_ALL=C sort > expected
LC_ALL=C sort out/sha256sums.txt | diff expected -
grep -q "$(find from -type f -printf x | wc -c) jobs" words || { cat words; echo "the summary does not tell the number of jobs"; exit 1; }
grep -q '</html>' out/timeline.html

[ "$("$source/run" map -k -j 2 echo '<{}>' ::: a 'b c')" = $'<a>\n<b c>' ]
status=0
"$source/run" map false ::: 1 2 3 2> /dev/null || status=$?
[ $status = 3 ] || { echo "./run gave exit code $status, not the tool's own 3"; exit 1; }

#!/usr/bin/env bash
# compiles_alone.sh SCRATCH HEADER COMPILER ARG...: HEADER, as <…>, needs nothing included before it and may be included twice.
# What it compiles stays in the folder SCRATCH, so that a compiler cache knows it again.
set -euo pipefail
unit=$1/${2//\//_} header=$2
shift 2
mkdir -p "${unit%/*}"
printf '#include <%s>\n#include <%s>\nint main() {}\n' "$header" "$header" > "$unit.cpp"
"$@" -O0 -c "$unit.cpp" -o "$unit.o"

#!/usr/bin/env bash
# compiles_alone.sh HEADER COMPILER ARG...: HEADER, as <…>, needs nothing included before it and may be included twice.
set -euo pipefail
header=$1
shift
printf '#include <%s>\n#include <%s>\nint main() {}\n' "$header" "$header" | "$@" -fsyntax-only -x c++ -

#!/usr/bin/env bash
# check.sh FILE COMPILER ARG...: FILE must not compile, and the compiler must say the sentence of the file's first line,
# `// expect: SENTENCE`. The same file must compile with -DCOMPILES, which leaves out the lines at fault: so it fails for
# the reason that it names and for no other.
set -uo pipefail
file=$1
shift
sentence=$(sed -n '1s,^// expect: *,,p' "$file")
[ -n "$sentence" ] || { echo "$file: the first line must be: // expect: SENTENCE" >&2; exit 1; }
grep -q COMPILES "$file" || { echo "$file: put the lines at fault between #ifndef COMPILES and #endif" >&2; exit 1; }
if ! "$@" -fsyntax-only -DCOMPILES "$file"; then
    echo "$file: does not compile even without the lines at fault" >&2
    exit 1
fi
if output=$("$@" -fsyntax-only "$file" 2>&1); then
    echo "$file: compiles, but should be refused with: $sentence" >&2
    exit 1
fi
if ! grep -qF -- "$sentence" <<< "$output"; then
    printf '%s\n%s: is refused, but not with: %s\n' "$output" "$file" "$sentence" >&2
    exit 1
fi

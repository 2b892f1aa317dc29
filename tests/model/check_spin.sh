#!/usr/bin/env bash
# check_spin.sh FILE.pml: checks a Promela model over all its interleavings. It must have no error, and each of its mutants
# must have one: so the model is strong enough to see what it is for. Lines in the model's comments direct it:
#
#   spin: cc FLAG...        flags for compiling the verifier   (default: -DSAFETY -DCOLLAPSE)
#   spin: pan FLAG...       flags for running it               (default: none)
#   spin: run TIER FLAG...  a search with these flags of spin, where SENNIT_FAULT_TIER is at least TIER (default: one without)
#   spin: mutant NAME WORDS...  spin -DNAME must find an error; the words tell what it changes   (any number of these lines)
set -euo pipefail
model=$(readlink -f "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

directive() { sed -nE "s,^[[:space:]/*]*spin: $1 ?(.*[^ */])?[ */]*\$,\1,p" "$model"; }
read -ra cc_flags <<< "$(directive cc)"
read -ra pan_flags <<< "$(directive pan)"
[ ${#cc_flags[@]} -gt 0 ] || cc_flags=(-DSAFETY -DCOLLAPSE)
mapfile -t runs < <(directive run)
[ ${#runs[@]} -gt 0 ] || runs=(1)

errors() { # SPIN_FLAG... -> prints the number of errors; the verifier's words are in pan.out
    spin -a "$@" "$model" > spin.out 2>&1 || { cat spin.out >&2; return 1; }
    local optimise=-O2
    [ -z "${mutant:-}" ] || optimise=-O0 # its error is found early: compiling is what takes time
    cc $optimise -w "${cc_flags[@]}" pan.c -o pan
    ./pan "${pan_flags[@]}" > pan.out 2>&1 || true
    if grep -qE 'max search depth too small|out of memory|search was not completed' pan.out; then
        grep -E 'max search depth|out of memory|not completed' pan.out >&2
        [ -n "${mutant:-}" ] || return 1 # a mutant may be found before the end; the model itself must be searched whole
    fi
    sed -nE 's/.*errors: ([0-9]+).*/\1/p' pan.out | grep . || { cat pan.out >&2; return 1; }
}

for run in "${runs[@]}"; do
    read -ra flags <<< "$run"
    [ "${flags[0]}" -le "${SENNIT_FAULT_TIER:-1}" ] || continue
    flags=("${flags[@]:1}")
    found=$(errors "${flags[@]}")
    if [ "$found" != 0 ]; then
        cat pan.out
        spin "${flags[@]}" -t -p "$model" -k ./*.trail | tail -n 60
        echo "$1 ${flags[*]}: $found errors; above is a way there" >&2
        exit 1
    fi
    echo "${flags[*]:-without flags}: $(sed -nE 's/^ *([0-9]+) states, stored.*/\1 states/p' pan.out)," \
        "$(sed -nE 's/.*elapsed time ([0-9.]+).*/\1 s/p' pan.out), no error"
done
while read -r mutant _; do
    [ -n "$mutant" ] || continue
    found=$(errors "-D$mutant")
    [ "$found" != 0 ] || { echo "$1: the mutant $mutant has no error: the model does not see what it changes" >&2; exit 1; }
    echo "mutant $mutant: caught"
done < <(directive mutant)

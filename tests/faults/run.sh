#!/usr/bin/env bash
# tests/faults/run.sh FAULT [TIER]: one fault of the specification, at tier 1 (the default), 2 or 3; prints its line of the table.
#
#   tests/faults/run.sh F18 2     the fault F18 at the size of nightly runs
#   tests/faults/run.sh all       every fault that there is here, one line each
#   tests/faults/run.sh --list    which those are
#   tests/faults/run.sh --points  the library's fault points, for SENNIT_FAULTS (see include/sennit/base/fault_point.hpp)
#
# SENNIT_SEED=N replays a run. SENNIT_PRESET=asan takes another build than dev. -v before FAULT shows what the tests say.
# A test belongs to a fault by the name of its suite: F18Allocation. Exit status: 0 when nothing was violated.
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
. "$root/tools/doors.sh"

declare -A about=(
    [F1]="workers of a process pool killed" [F2]="death at each point of a process pool"
    [F3]="a worker killed at its n-th system call" [F4]="ways for a worker to end"
    [F5]="workers stopped" [F8]="initializers that fail" [F11]="cargo that fails on its way, and of any size"
    [F12]="a worker scribbles over its ring"
    [F6]="map, or a parent, SIGKILLed: no orphan" [F7]="zygote killed" [F14]="no room on the disk, or in /dev/shm" [F9]="processes refused"
    [F10]="pools nested 3 deep, the middle one ends"
    [F13]="holder or waiter of a shared primitive killed" [F15]="8 processes create one name"
    [F16]="owner and attachers of a name leave or die"
    [F17]="descriptor limit = used + k" [F18]="the n-th allocation fails" [F19]="threads are refused"
    [F21]="io_uring refused, queues full" [F26]="signals at a loop's handler" [F36]="peers that stop, reset, vanish"
    [F23]="signals at 1 kHz over conformance" [F24]="INT, TERM, HUP at a random time" [F25]="the wall clock jumps"
    [F27]="Promela models" [F28]="real code under seeded schedules" [F29]="stress: primitives x agents x races"
    [F30]="outcome tables" [F31]="linearizability" [F32]="odd deadlines" [F33]="tasks cancelled at random"
    [F37]="the consumer is ever so slow"
    [F38]="short reads and writes, EAGAIN"
    [F42]="map killed, then --resume; whole lines" [F43]="hostile names, answers, certificates and URLs"
)
# Suites that belong to a fault without carrying its number.
declare -A also=([F29]="Million.*:Race.*:QueueRace.*:*QueueStress.*" [F31]="*Linearizability.*")
order=(F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 F16 F17 F18 F19 F21 F23 F24 F25 F26 F27 F28 F29 F30 F31 F32 F33 F36 F37 F38 F42 F43)
programs=(faults_test stress_test conformance_test tools_test)

verbose=
if [ "${1:-}" = -v ]; then verbose=1; shift; fi
case ${1:-} in
--list) for f in "${order[@]}"; do printf '%s  %s\n' "$f" "${about[$f]}"; done; exit 0 ;;
--points) cd "$root"; grep -rhoE 'FAULT_POINT(_ERROR)?\("[^"]+"' src include | grep -oE '"[a-z_.]+"' | tr -d '"' | sort -u; exit 0 ;;
all) faults=("${order[@]}") ;;
F[0-9]*) [ -n "${about[$1]:-}" ] || die "$1 is no fault of what is here; --list tells them."; faults=("$1") ;;
*) sed -n '2,/^root=/{/^root=/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
esac
export SENNIT_FAULT_TIER=${2:-${SENNIT_FAULT_TIER:-1}}
[[ $SENNIT_FAULT_TIER == [123] ]] || die "the tier is 1, 2 or 3, not '$SENNIT_FAULT_TIER'."
export SENNIT_SEED=${SENNIT_SEED:-$(od -An -N5 -tu8 /dev/urandom | tr -d ' ')}
preset=${SENNIT_PRESET:-dev}
limit=(0 150 900 480)
limit=${limit[$SENNIT_FAULT_TIER]}

log=$(mktemp)
trap 'rm -f "$log" "$log.one"' EXIT

# run COMMAND...: its output goes to the log, and one that ends badly without a failed test is a violation.
run() {
    local failed_before code=0
    failed_before=$(grep -c '^\[  FAILED  \] .*ms)$' "$log" || true)
    if [ -n "$verbose" ]; then
        timeout "$limit" "$@" 2>&1 | tee -a "$log" || code=$?
    else
        timeout "$limit" "$@" >> "$log" 2>&1 || code=$?
    fi
    if [ $code != 0 ] && [ "$(grep -c '^\[  FAILED  \] .*ms)$' "$log" || true)" = "$failed_before" ]; then
        printf '[  ENDED   ] %s: %s\n' "$code" "$*" >> "$log"
    fi
}

# Its suites in all programs.
run_suites() {
    local fault=$1 filter program path
    for program in "${programs[@]}"; do
        path=$root/build/$preset/bin/tests/$program
        # F1 is not F10: a name goes on with a letter.
        filter=$("$path" --gtest_list_tests | sed -nE "s,^(([^ ]*/)?$fault[^0-9. ][^. ]*\\.).*,\\1*,p" | paste -sd:)
        filter=${filter:-none}${also[$fault]:+:${also[$fault]}}
        if [ "$("$path" --gtest_list_tests --gtest_filter="$filter" | grep -c '^  ')" != 0 ]; then # not -q: it would end the list early
            run "$path" --gtest_filter="$filter"
        fi
    done
}

line() {
    local fault=$1
    awk -v fault="$fault" -v about="${about[$fault]}" -v seed="$SENNIT_SEED" '
        /^\[ RUN      \]/ { row = 0 }
        /^\[  FAULT   \]/ {
            row = 1
            n = split($0, part, "|")
            for (i = 2; i <= n; i++) {
                split(part[i], word, " ")
                if (word[1] == "trials") trials += word[2]
                if (word[1] == "injected") { injected += word[2]; known = 1 }
                if (word[1] == "violations") violations += word[2]
                if (word[1] == "worst" && word[2] > worst) worst = word[2]
            }
        }
        /^\[       OK \] .* ms\)$/ || /^\[  FAILED  \] .* ms\)$/ {
            tests++
            failed = $0 ~ /FAILED/
            bad += failed
            if (!row) {                          # a test that keeps no table of its own is one trial
                trials++
                violations += failed
                ms = $0; sub(/ ms\)$/, "", ms); sub(/.*\(/, "", ms)
                if (ms + 0 > worst) worst = ms + 0
            } else if (failed) extra++
        }
        /^\[  MODEL   \]/ { trials += $5; violations += $7; injected += $9; known = 1; tests++ }
        /^\[  ENDED   \]/ { violations++ }
        END {
            if (extra && !violations) violations = extra
            if (!tests) violations++
            printf "| %s %s | %s | %d | %s | %d | %.1f | %s |%s\n", fault, about, seed, trials, known ? injected : "-", violations,
                   worst, trials ? sprintf("< %.2g", 3 / trials) : "-", tests ? "" : " no test ran"
            exit violations != 0
        }' "$log"
}

cd "$root"
printf '| fault, tier %s, preset %s | seed | trials | injected | violations | worst settle time, ms | rate at 95 %% |\n|---|---|---|---|---|---|---|\n' \
    "$SENNIT_FAULT_TIER" "$preset"
bad=0
for fault in "${faults[@]}"; do
    : > "$log"
    case $fault in
    F27) # a trial is a search of all states; mutants are what is injected: check_spin.sh fails unless each is found
        for model in tests/model/*.pml; do
            if timeout "$limit" tests/model/check_spin.sh "$model" > "$log.one" 2>&1; then failed=0; else failed=1; fi
            cat "$log.one" >> "$log"
            printf '[  MODEL   ] trials %s violations %s injected %s\n' "$(grep -c ', no error$' "$log.one")" "$failed" \
                "$(grep -c '^mutant .*: caught$' "$log.one")" >> "$log"
        done
        ;;
    F28)
        build model -- model_test
        run build/model/bin/tests/model_test
        ;;
    F23)
        build "$preset" -- "${programs[@]}"
        run_suites F23
        seconds=(0 5 60 300) hertz=(0 1000 1000 5000)
        end=$((SECONDS + seconds[SENNIT_FAULT_TIER]))
        while [ $SECONDS -lt $end ]; do
            SENNIT_SIGNAL_STORM=${hertz[SENNIT_FAULT_TIER]} run "build/$preset/bin/tests/conformance_test"
        done
        ;;
    *)
        build "$preset" -- "${programs[@]}"
        run_suites "$fault"
        ;;
    esac
    if ! line "$fault"; then
        bad=1
        [ -n "$verbose" ] || cat "$log" >&2
    fi
done
exit $bad

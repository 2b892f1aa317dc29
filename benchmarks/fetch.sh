#!/usr/bin/env bash
# Downloads from a local nginx: `sennit fetch`, aria2c and `curl -Z`, 64 at once, taking turns. Each run's files are compared with what
# nginx has (outside of the measured time); a difference ends the benchmark. They go to memory (/dev/shm): the disk would decide
# otherwise, and the peers do not sync what they write, which sennit does.
set -euo pipefail
rounds=3
[ "${1:-}" = --rounds ] && rounds=$2
sennit=$BENCH_BUILD/bin/sennit
export PATH=$PATH:/usr/sbin
for program in nginx aria2c curl; do
    command -v $program > /dev/null || { echo "fetch: $program is not installed" >&2; exit 1; }
done

work=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
nginx=
trap '[ -z "$nginx" ] || kill "$nginx" 2> /dev/null || true; rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir "$work/small" "$work/large"

# The same bytes each time: a stream of ChaCha20, cut at random places from a fixed seed.
openssl enc -chacha20 -K "$(printf '5%.0s' {1..64})" -iv "$(printf '7%.0s' {1..32})" -in /dev/zero 2> /dev/null | head -c 320000000 > "$work/bytes" || true
RANDOM=42
exec 3< "$work/bytes"
for i in $(seq 1 2000); do head -c $((RANDOM * 2 + 1)) <&3 > "$work/small/f$i.bin"; done 2> /dev/null
exec 3<&-
split -n 8 -a 1 -d "$work/bytes" "$work/large/g"
rm "$work/bytes"

start_nginx() {
    local port
    for _ in {1..20}; do
        port=$((20000 + RANDOM % 20000))
        cat > "$work/nginx.conf" << END
daemon off; worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; $([ "$(id -u)" = 0 ] && echo "user root;")
events { worker_connections 1024; }
http { access_log off; sendfile on; keepalive_requests 100000; client_body_temp_path $work/t1; proxy_temp_path $work/t2;
  fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
  server { listen 127.0.0.1:$port; root $work; } }
END
        nginx -c "$work/nginx.conf" -p "$work" -e "$work/error.log" &
        nginx=$!
        for _ in {1..100}; do
            curl -s -o /dev/null "http://127.0.0.1:$port/small/f1.bin" && { base=http://127.0.0.1:$port; return; }
            kill -0 $nginx 2> /dev/null || break
            sleep 0.05
        done
        kill $nginx 2> /dev/null || true
        wait $nginx 2> /dev/null || true
    done
    echo "fetch: nginx does not start: $(tail -n 1 "$work/error.log")" >&2
    exit 1
}
start_nginx

for kind in small large; do
    (cd "$work/$kind" && sha256sum -- *) > "$work/$kind.sums"
    find "$work/$kind" -type f -printf "$base/$kind/%f\n" | sort > "$work/$kind.urls"
    while read -r url; do printf 'url="%s"\noutput="%s"\n' "$url" "$work/out/${url##*/}"; done < "$work/$kind.urls" > "$work/$kind.curl"
done

measure() { # kind, case, files, contender, command...
    local kind=$1 case=$2 files=$3 who=$4 begin end
    shift 4
    rm -rf "$work/out"
    mkdir "$work/out"
    begin=${EPOCHREALTIME/./}
    "$@" > /dev/null 2> "$work/words" || { echo "fetch: $who: exit code $?: $(tail -n 1 "$work/words")" >&2; exit 1; }
    end=${EPOCHREALTIME/./}
    (cd "$work/out" && sha256sum --check --quiet --strict "$work/$kind.sums" >&2) || { echo "fetch: $who: wrong files" >&2; exit 1; }
    [ "$(find "$work/out" -type f | wc -l)" = "$files" ] || { echo "fetch: $who: not $files files" >&2; exit 1; }
    awk -v f="$files" -v us=$((end - begin)) -v c="$case" -v w="$who" 'BEGIN { printf "%s\t%s\t%.1f\tfiles/s\n", c, w, f * 1e6 / us }'
}
for ((round = 0; round < rounds; ++round)); do
    for kind in small large; do
        case $kind in
        small) case='2000 files of 1 to 64 KiB' files=2000 ;;
        large) case='8 files of 38 MiB' files=8 ;;
        esac
        measure $kind "$case" $files 'sennit fetch -j64' "$sennit" fetch -j64 -d "$work/out" -i "$work/$kind.urls"
        measure $kind "$case" $files 'sennit fetch -j64 --sha256' "$sennit" fetch -j64 -d "$work/out" -i "$work/$kind.urls" --sha256 "$work/$kind.sums"
        measure $kind "$case" $files 'aria2c -j64' aria2c -q -j64 -x1 --file-allocation=none -d "$work/out" -i "$work/$kind.urls"
        measure $kind "$case" $files 'curl -Z --parallel-max 64' curl -s -Z --parallel-max 64 -K "$work/$kind.curl"
    done
done

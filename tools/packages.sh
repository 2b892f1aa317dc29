# The Debian packages that sennit's doors need, in one place. Sourced by tools/doors.sh.
#
#   core    to build the library and the tool                (./run)
#   test    to build and run the tests                       (./test)
#   bench   the peers that sennit is measured against        (./bench)
#   ci      the second compiler with its sanitizers, and the checkers (.ci/run)

packages_core=(g++ cmake ninja-build libcli11-dev libssl-dev liburing-dev libcurl4-openssl-dev)
packages_test=(openssl libgtest-dev libgmock-dev spin gcc python3-minimal pkg-config make patch valgrind
               mold ccache clang-format-14)
packages_bench=(libuv1-dev libboost1.81-dev libboost-context1.81-dev libboost-fiber1.81-dev libtbb-dev libconcurrentqueue-dev
                golang-go python3 python3-gevent python3-greenlet python3-uvloop parallel make mold ccache
                nginx aria2 curl openssl)
packages_ci=(clang-19 libclang-rt-19-dev clang-tidy-14 git)

# install_packages GROUP...: installs what is missing of these groups; says nothing and is quick when nothing is.
install_packages() {
    local group wanted=() missing=() log
    for group in "$@"; do
        local -n list=packages_$group
        wanted+=("${list[@]}")
    done
    [ "${SENNIT_NO_INSTALL:-0}" = 1 ] && return 0
    if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
        die "there is no apt here. Install by your system's means what Debian calls: ${wanted[*]};" \
            "then run this again with SENNIT_NO_INSTALL=1."
    fi
    # Installed packages are those whose status is "ii"; a name unknown to dpkg is reported on stderr and so is missing.
    mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) \
        <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${wanted[@]}" 2> /dev/null | sed -n 's/^ii  *//p' | sort -u))
    [ ${#missing[@]} = 0 ] && return 0

    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null ||
            die "these packages are missing, and neither root nor sudo is here to install them: ${missing[*]}." \
                "Ask an administrator for them, then run this again."
        root=(sudo)
    fi
    say "installing ${missing[*]}"
    log=$(mktemp)
    if ! { "${root[@]}" apt-get update -qq &&
           "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } > "$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "apt could not install ${missing[*]}. Its last words are above; usually the network or the list of sources is at fault." \
            "Install them yourself, then run this again."
    fi
    rm -f "$log"
}

#!/usr/bin/env bash
# check.sh static|shared SOURCE BUILD COMPILER: installs into a fresh prefix, moves that elsewhere, builds outside/ against it
# once with CMake and once with pkg-config alone, and runs both.
#
# `static` installs what BUILD has; `shared` first builds the library anew with BUILD_SHARED_LIBS, in BUILD/install-shared.
set -euo pipefail
kind=$1 source=$2 build=$3 compiler=$4
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ "$kind" = shared ]; then
    build=$build/install-shared
    cmake -S "$source" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Debug -DBUILD_SHARED_LIBS=ON \
        -DSENNIT_TESTS=OFF -DSENNIT_EXAMPLES=OFF -DSENNIT_TOOL=OFF > "$scratch/log" || { cat "$scratch/log"; exit 1; }
    cmake --build "$build" > "$scratch/log" || { cat "$scratch/log"; exit 1; }
fi
cmake --install "$build" --prefix "$scratch/first" > "$scratch/log" || { cat "$scratch/log"; exit 1; }
mv "$scratch/first" "$scratch/prefix" # nothing installed may know where it was installed first
prefix=$scratch/prefix

echo "-- find_package"
cmake -S "$here/outside" -B "$scratch/cmake" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" > "$scratch/log" &&
    cmake --build "$scratch/cmake" > "$scratch/log" || { cat "$scratch/log"; exit 1; }
"$scratch/cmake/outside"
if [ -f "$(find "$prefix" -name sennitTlsTargets.cmake)" ]; then "$scratch/cmake/outside_tls"; fi

echo "-- pkg-config"
libdir=$(dirname "$(find "$prefix" -name sennit.pc)")
export PKG_CONFIG_PATH=$libdir
pkg-config --exact-version="$(pkg-config --modversion sennit)" sennit
# shellcheck disable=SC2046 # the flags are words
"$compiler" -std=c++20 "$here/outside/main.cpp" $(pkg-config --cflags --libs sennit) -o "$scratch/outside"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir sennit) "$scratch/outside"
if [ -f "$libdir/sennit-tls.pc" ]; then
    # shellcheck disable=SC2046
    "$compiler" -std=c++20 "$here/outside/tls.cpp" $(pkg-config --cflags --libs sennit-tls) -o "$scratch/outside_tls"
    LD_LIBRARY_PATH=$(pkg-config --variable=libdir sennit) "$scratch/outside_tls"
fi
if [ "$kind" = shared ]; then
    # Not `ldd | grep -q`: grep is gone before ldd has written all, and pipefail takes that for "no".
    [[ $(ldd "$scratch/cmake/outside") == *libsennit.so* ]] || { echo "the program is not linked with libsennit.so" >&2; exit 1; }
fi

if [ -x "$prefix/bin/sennit" ]; then
    echo "-- the tool"
    "$prefix/bin/sennit" --version
    if [ -x "$build/bin/sennit-fetch" ]; then
        "$prefix/bin/sennit" fetch --help | head -n 1 # found where it was moved to
        # Where else a distribution may put it, `sennit` is told.
        cmake -S "$source" -B "$scratch/elsewhere" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_INSTALL_LIBEXECDIR=lib/helpers \
            -DSENNIT_TESTS=OFF -DSENNIT_EXAMPLES=OFF > "$scratch/log" || { cat "$scratch/log"; exit 1; }
        grep -q 'SENNIT_FETCH_FROM_BIN=.*\.\./lib/helpers/sennit/sennit-fetch' "$scratch/elsewhere/build.ninja" ||
            { echo "sennit does not look for sennit-fetch where CMAKE_INSTALL_LIBEXECDIR says" >&2; exit 1; }
    fi
fi

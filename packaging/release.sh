#!/usr/bin/env bash
# Builds metagate for Linux with glibc 2.31 (Debian 11, Ubuntu 20.04) or newer, and packs it into dist/: a tarball, a
# Debian package, packages for npm and pip, a bill of materials, the names of functions, checksums.
#
#   packaging/release.sh [x86_64|aarch64]
#
# Needs Rust, Python 3.11, npm, dpkg-deb, binutils. zig, which links against the older glibc, comes from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

machine=${1:-$(uname -m)}
target=$machine-unknown-linux-gnu
glibc=2.31

tools=${CARGO_TARGET_DIR:-$PWD/target}/tools/zig
if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
    python3 -m pip install --quiet --target "$tools" cargo-zigbuild==0.24.0 ziglang==0.17.0
fi
export CARGO_PROFILE_RELEASE_STRIP=debuginfo
PYTHONPATH=$tools PATH=$tools/bin:$PATH cargo zigbuild --release --locked --target "$target.$glibc"

binary=${CARGO_TARGET_DIR:-target}/$target/release/metagate
newest=$(readelf --version-info --wide "$binary" | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1)
if [ "$(printf '%s\n' "GLIBC_$glibc" "$newest" | sort -V | tail -n 1)" != "GLIBC_$glibc" ]; then
    echo "$binary needs $newest, which glibc $glibc does not have" >&2
    exit 1
fi
rm -rf dist
packaging/package.py "$binary" dist --target "$target"

#!/usr/bin/env bash
# Prints the rustc flags that a build for wasm32 needs with the installed rustc: nothing if the target is installed,
# else `--sysroot=…` with the path of a standard library that it builds once from source.
#
# usage: wasm-sysroot.sh [TARGET]      default: wasm32-unknown-unknown
#
#   WASM_SYSROOT_CACHE   where libraries are kept, by compiler and target; default ~/.cache/metagate-wasm-sysroot
#   RUST_STD_SRC         a `library` folder of this rustc; default: the rust-src component, else Debian's package
#   DEBIAN_MIRROR        where Debian's package comes from; default: the mirror that this machine's apt uses
set -euo pipefail

target=${1:-wasm32-unknown-unknown}
cache=${WASM_SYSROOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/metagate-wasm-sysroot}
release=$(rustc -vV | sed -n 's/^release: //p')
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')
sysroot=$cache/$release-${commit:0:10}
libraries=$sysroot/lib/rustlib/$target/lib

complain() { printf 'wasm-sysroot: %s\n' "$*" >&2; }
has_std() { compgen -G "$1/libstd-*.rlib" >/dev/null; }

# Prints the first of apt's repositories that is Debian's own. apt-get reads every file and format of sources.
debian_mirror() {
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 ~ /\/debian\/?$/ { print $2; exit }'
}

# Unpacks the package rust-src of exactly this release below $1 and prints its `library` folder. Searches Debian's newer
# suites with separate package lists, so that the machine's apt configuration does not change.
debian_source() {
    local work=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror suite package
    mirror=${DEBIAN_MIRROR:-$(debian_mirror)}
    [ -n "$mirror" ] || { complain "no Debian mirror; set RUST_STD_SRC or DEBIAN_MIRROR"; return 1; }
    mkdir -p "$work"/{lists/partial,cache/archives/partial,files}
    for suite in trixie-backports testing unstable; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >"$work/sources.list"
    local options=(
        -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    )
    apt-get "${options[@]}" update >&2
    package=$(apt-cache "${options[@]}" madison rust-src |
        awk -F'|' -v release="$release+" '{ gsub(/ /, "", $2) } index($2, release) == 1 && !seen++ { print $2 }')
    [ -n "$package" ] || { complain "Debian has no rust-src of $release; set RUST_STD_SRC"; return 1; }
    (cd "$work" && apt-get "${options[@]}" download "rust-src=$package" >&2)
    dpkg --fsys-tarfile "$work"/rust-src_*.deb | tar -x -C "$work/files" "./usr/src/rustc-$release/library"
    echo "$work/files/usr/src/rustc-$release/library"
}

# Builds the standard library from the folder $2 in the work folder $1, and moves it to $libraries. Cargo's build-std is
# for nightly compilers; the two variables make it work with a stable one and with sources outside its own sysroot.
build_std() {
    local work=$1 source=$2
    mkdir -p "$work/seed/src" "$work/lib"
    echo '#![no_std]' >"$work/seed/src/lib.rs"
    cat >"$work/seed/Cargo.toml" <<-'TOML'
	[package]
	name = "seed"
	version = "0.0.0"
	edition = "2024"
	[profile.release]
	panic = "abort"
	opt-level = "s"
	codegen-units = 1
	debug = false
	[workspace]
	TOML
    # Bitcode allows link-time optimisation across the standard library. The remapped paths are those in the panic
    # messages of every released standard library.
    local flags=-Cembed-bitcode=yes$'\x1f'--remap-path-prefix=$source=/rustc/$commit/library registry
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        flags+=$'\x1f'--remap-path-prefix=${registry%/}=crates
    done
    (cd "$work/seed" && env -u RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS="$flags" RUSTC_BOOTSTRAP=1 \
        __CARGO_TESTS_ONLY_SRC_ROOT="$source" CARGO_TARGET_DIR="$work/target" \
        cargo build --release -Zbuild-std=std,panic_abort --target "$target" >&2)
    cp "$work/target/$target"/release/deps/lib*.rlib "$work/lib/"
    rm -f "$work"/lib/libseed*
    has_std "$work/lib"
    mkdir -p "$(dirname "$libraries")"
    rm -rf "$libraries"
    mv "$work/lib" "$libraries"
}

if has_std "$(rustc --print target-libdir --target "$target")"; then
    exit 0
fi
if ! has_std "$libraries"; then
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
fi
if ! has_std "$libraries"; then
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    source=${RUST_STD_SRC:-$(rustc --print sysroot)/lib/rustlib/src/rust/library}
    [ -f "$source/Cargo.lock" ] || source=$(debian_source "$work/debian")
    complain "building the standard library of $release for $target"
    build_std "$work" "$source"
fi
echo "--sysroot=$sysroot"

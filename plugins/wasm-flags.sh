# shellcheck shell=bash
# Sourced by scripts that build components from Rust: sets CARGO_ENCODED_RUSTFLAGS for a build of the folder $1, which
# appears as $2 in panic messages. Run `cargo fetch` first.
wasm_flags() {
    # Panic messages contain paths of sources. Paths of this machine would make the built file differ between machines.
    local flags=("--remap-path-prefix=$1=$2") registry sysroot
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        flags+=("--remap-path-prefix=${registry%/}=crates")
    done
    sysroot=$("$(dirname "${BASH_SOURCE[0]}")/wasm-sysroot.sh")
    [ -z "$sysroot" ] || flags+=("$sysroot")
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}")
    export CARGO_ENCODED_RUSTFLAGS
}

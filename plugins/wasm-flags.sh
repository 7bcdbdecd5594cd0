# shellcheck shell=bash
# Sourced by scripts that build components from Rust: sets CARGO_ENCODED_RUSTFLAGS for a build of the folder $1, which
# messages of panics call $2. Run `cargo fetch` first.
wasm_flags() {
    # Messages of panics hold paths of sources: those of this machine have no place in what is shipped.
    local flags=("--remap-path-prefix=$1=$2") registry sysroot
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        flags+=("--remap-path-prefix=${registry%/}=crates")
    done
    sysroot=$("$(dirname "${BASH_SOURCE[0]}")/wasm-sysroot.sh")
    [ -z "$sysroot" ] || flags+=("$sysroot")
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}")
    export CARGO_ENCODED_RUSTFLAGS
}

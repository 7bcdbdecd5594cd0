#!/usr/bin/env bash
# Builds the Rust plugins of this folder from source.
#
# usage: plugins/build.sh [--commit] [NAME…]      default: all of them
#
# The components are written to target/wasm32-unknown-unknown/release (or below $CARGO_TARGET_DIR) and, with --commit,
# also to <name>/<name>.wasm, the file in the repository. If the target wasm32-unknown-unknown is not installed,
# wasm-sysroot.sh builds a standard library for it. Each plugin is built by a command of its own, so that Cargo does not
# unify its features with those of another.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
commit=no
names=()
for argument; do
    case $argument in
        --commit) commit=yes ;;
        -*) echo "build.sh: unknown option $argument" >&2; exit 2 ;;
        *) names+=("$argument") ;;
    esac
done
if [ ${#names[@]} = 0 ]; then
    for manifest in */Cargo.toml; do names+=("${manifest%/*}"); done
fi

# Fetches first: wasm_flags remaps the paths of the folders that this creates.
cargo fetch --locked --quiet
. ./wasm-flags.sh
wasm_flags "$here" plugins

built=${CARGO_TARGET_DIR:-$here/target}/wasm32-unknown-unknown/release
for name in "${names[@]}"; do
    cargo build --release --locked --package "$name"
    component=$built/${name//-/_}.wasm
    [ "$commit" = no ] || cp "$component" "$name/$name.wasm"
    printf '%8d bytes  %s\n' "$(stat -c %s "$component")" "$component"
done

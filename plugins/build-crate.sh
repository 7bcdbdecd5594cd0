#!/usr/bin/env bash
# Builds a component from the Rust crate in FOLDER, which is outside the workspace of this folder, and copies it to
# OUTPUT.
#
# usage: plugins/build-crate.sh FOLDER OUTPUT
set -euo pipefail

plugins=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=$(realpath -m "${2:?FOLDER OUTPUT}")
cd "$1"
name=$(basename "$PWD")

# Fetches first: wasm_flags remaps the paths of the folders that this creates.
cargo fetch --locked --quiet
. "$plugins/wasm-flags.sh"
wasm_flags "$PWD" "$name"
# The target and its linker are in .cargo/config.toml.
cargo build --release --locked --quiet
crate=$(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
cp "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/${crate//-/_}.wasm" "$output"

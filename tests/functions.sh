#!/usr/bin/env bash
# Builds functions in WebAssembly from their sources in four languages, deploys them and calls them over HTTP. Does the
# same with the examples, whose committed components must behave like freshly built ones.
#
# usage: tests/functions.sh METAGATE
set -euo pipefail
cd "$(dirname "$0")/.."
metagate=$1

step() { printf '\n== %s\n' "$*"; }

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

step "functions in Rust, C, JavaScript and Python"
tests/fixtures/wasm-toolchains/build.sh --to "$built/toolchains"
step "example functions"
examples/wasm/build.sh --to "$built/examples"
step "calling them"
python3 tests/functions.py "$metagate" "$built/toolchains" "$built/examples"

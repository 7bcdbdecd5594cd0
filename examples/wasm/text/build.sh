#!/bin/sh
# Builds text.wasm from src/text.c. Uses the `zig` in .venv, else the one on PATH, else installs the one of
# requirements.txt into .venv. Uses $JCO, else jco from npm.
#
# usage: build.sh [OUTPUT]      default: text.wasm
set -eu
output=$(realpath -m "${1:-$(dirname "$0")/text.wasm}")
cd "$(dirname "$0")"

zig=".venv/bin/python3 -m ziglang"
if ! $zig version >/dev/null 2>&1; then
    if command -v zig >/dev/null; then
        zig=zig
    else
        python3 -m venv .venv
        .venv/bin/python3 -m pip install --quiet --disable-pip-version-check -r requirements.txt
    fi
fi

core=$(mktemp)
trap 'rm -f "$core"' EXIT
$zig cc -target wasm32-wasi -mexec-model=reactor -std=c17 -Oz -s -Wall -Wextra -Werror \
    src/text.c bindings/text.c bindings/text_component_type.o -o "$core"
${JCO:-npx --yes @bytecodealliance/jco@1.35.0} new "$core" -o "$output"

#!/bin/sh
# Builds maintenance.wasm with `zig` from .venv or the PATH, and jco from $JCO or npm. If there is no zig, installs the
# one of requirements.txt into .venv first.
set -eu
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

# The gateway also loads the module, which carries its component type. Other tools need a component.
core=$(mktemp)
trap 'rm -f "$core"' EXIT
$zig cc -target wasm32-wasi -mexec-model=reactor -std=c17 -Oz -s -Wall -Wextra -Werror \
    hooks.c settings.c json.c bindings/plugin.c bindings/plugin_component_type.o -o "$core"
${JCO:-npx --yes @bytecodealliance/jco@1.35.0} new "$core" -o maintenance.wasm

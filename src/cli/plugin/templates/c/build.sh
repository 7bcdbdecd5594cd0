#!/bin/sh
# Builds {{name}}.wasm with `zig` from .venv or the PATH. If there is none, installs the one of requirements.txt into
# .venv first.
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

# The component type: the object file, if wit-bindgen has generated one, else its text, which the template contains.
types=bindings/plugin_component_type.o
[ -e "$types" ] || types=bindings/plugin_component_type.c

# A core module that carries its component type: the gateway makes it a component when it loads it. -g1 keeps the names
# of functions, which are in the stack of a hook that traps.
$zig cc -target wasm32-wasi -mexec-model=reactor -std=c17 -Oz -g1 -Wall -Wextra \
    hooks.c bindings/plugin.c "$types" -o {{name}}.wasm
ls -l {{name}}.wasm

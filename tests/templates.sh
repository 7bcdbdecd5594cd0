#!/usr/bin/env bash
# Checks what `metagate plugin new` makes: for each language a new plugin, built by the one command of its README, passes the
# cases that came with it.
#
#   tests/templates.sh METAGATE [rust|js|python|c …]
#
# What the languages need is installed by plugins/build-others.sh and plugins/wasm-sysroot.sh, once for all.
set -euo pipefail
shopt -s inherit_errexit

metagate=$(realpath "$1")
shift
languages=("$@")
[ ${#languages[@]} -gt 0 ] || languages=(rust js python c)
plugins=$(cd "$(dirname "$0")/../plugins" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Builds the plugin in the current folder by the command of its README, and sets `component`. The tools are put where that
# command looks for them before it installs any.
build() {
    local tools
    [ "$1" = rust ] || tools=$("$plugins/build-others.sh" --tools "$1")
    case $1 in
    rust)
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$("$plugins/wasm-sysroot.sh" wasm32-unknown-unknown | tail -n 1)
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS
        cargo build --release --quiet
        component=${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/my_demo.wasm
        ;;
    js)
        ln -s "$tools/node_modules" ../node_modules
        npm run --silent build
        component=my-demo.wasm
        ;;
    python)
        PATH=$tools/bin:$PATH python3 build.py
        component=my-demo.wasm
        ;;
    c)
        ln -s "$tools" .venv
        sh build.sh
        component=my-demo.wasm
        ;;
    esac
}

for language in "${languages[@]}"; do
    echo "== $language"
    mkdir "$work/$language"
    cd "$work/$language"
    "$metagate" plugin new my-demo --lang "$language"
    cd my-demo
    build "$language"
    "$metagate" plugin inspect "$component"
    "$metagate" plugin test "$component" cases.toml
done
echo "templates: ${languages[*]}: all build and pass"

#!/usr/bin/env bash
# Checks the templates of `metagate plugin new`: in each language a new plugin, built by the command in its README,
# passes its own cases.
#
#   tests/templates.sh METAGATE [rust|js|python|c …]
#
# plugins/build-others.sh and plugins/wasm-sysroot.sh install the tools of the languages once.
set -euo pipefail
shopt -s inherit_errexit

metagate=$(realpath "$1")
shift
languages=("$@")
[ ${#languages[@]} -gt 0 ] || languages=(rust js python c)
plugins=$(cd "$(dirname "$0")/../plugins" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Builds the plugin in the current folder by the command of its README, and sets `component`. Links the tools to where
# that command looks for them, so that it installs none.
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

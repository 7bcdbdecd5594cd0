#!/usr/bin/env bash
# Checks the templates of `metagate plugin new`: in each language a new plugin, built by the command in its README,
# passes its own cases. A line is added that fails where a case asks for it: `plugin test` then shows the message, the
# place and the functions.
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

# Adds code that fails to the plugin in the current folder, and sets `shown`: what is then to be seen.
add_failure() {
    case $1 in
    rust)
        sed -i 's|^ *// Later plugins.*|if let Some(text) = call.header("x-fail") { deep(\&text); }|' src/lib.rs
        echo '#[inline(never)] fn deep(text: &str) { assert!(text.is_empty(), "no {text} here"); }' >>src/lib.rs
        shown=("log: error panicked at src/lib.rs:" "no cabin here" "in: my_demo::deep")
        ;;
    js)
        sed -i 's|^ *// Later plugins.*|if (call.header("x-fail")) deep(call.header("x-fail"));|' plugin.js
        echo 'function deep(text) { throw new RangeError(`no ${text} here`); }' >>plugin.js
        shown=("no cabin here" "deep@plugin.js:" "beforeInvoke@plugin.js:")
        ;;
    python)
        sed -i 's|^\( *\)# Later plugins.*|\1deep(call.header("x-fail"))|' app.py
        printf '\n\ndef deep(text):\n    if text: raise ValueError(f"no {text} here")\n' >>app.py
        shown=("ValueError: no cabin here" 'app.py", line' "in deep")
        ;;
    c)
        sed -i 's|^ *// Later plugins.*|if (has_header(call, "x-fail")) deep();|' hooks.c
        local deep='__attribute__((noinline)) static void deep(void) { FAIL("no cabin here"); }'
        sed -i "s|^static bool has_header|$deep\n\n&|" hooks.c
        shown=("log: error hooks.c:" "no cabin here" "in: " "deep")
        ;;
    esac
    cat >failing.toml <<-'TOML'
	[[case]]
	name = "it fails"
	hook = "before-invoke"
	call = { headers = { x-fail = "cabin" } }
	expect = { verdict = "proceed" }
	TOML
}

for language in "${languages[@]}"; do
    echo "== $language"
    mkdir "$work/$language"
    cd "$work/$language"
    "$metagate" plugin new my-demo --lang "$language"
    cd my-demo
    add_failure "$language"
    build "$language"
    "$metagate" plugin inspect "$component"
    "$metagate" plugin test "$component" cases.toml
    [ -e failing.toml ] || continue
    if failed=$("$metagate" plugin test "$component" failing.toml); then
        echo "the failing case has passed" >&2 && exit 1
    fi
    for words in "${shown[@]}"; do
        [[ $failed == *"$words"* ]] || { printf 'no "%s" in\n%s\n' "$words" "$failed" >&2 && exit 1; }
    done
done
echo "templates: ${languages[*]}: all build and pass"

#!/usr/bin/env bash
# Builds the example plugins that are not in Rust from source: audit-log (JavaScript), business-rules (Python) and
# maintenance (C), each to plugins/<name>/<name>.wasm.
#
#   plugins/build-others.sh [NAME…]          default: all three
#   plugins/build-others.sh --tools LANGUAGE installs the tools of js, python or c and prints their folder
#
# The plugins pin the versions of the tools. The tools are kept in $METAGATE_PLUGIN_TOOLS; default:
# ~/.cache/metagate/plugin-tools if there is a ~/.cache, else plugins/target/tools.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${METAGATE_PLUGIN_TOOLS:-}" ]; then
    cache=$METAGATE_PLUGIN_TOOLS
elif [ -d "${HOME:-}/.cache" ]; then
    cache=$HOME/.cache/metagate/plugin-tools
else
    cache=$here/target/tools
fi

# Installs the tools of a language if they are missing, and prints their folder. Its name contains the hash of the file
# that pins them, so that changed pins get another folder.
tools() {
    local language=$1 pins folder
    case $language in
    js) pins=$here/audit-log/package.json ;;
    python) pins=$here/business-rules/requirements.txt ;;
    c) pins=$here/maintenance/requirements.txt ;;
    *)
        echo "no tools for $language" >&2
        return 1
        ;;
    esac
    folder=$cache/$language-$(sha256sum "$pins" | cut -c1-12)
    mkdir -p "$folder"
    (
        flock 9
        if [ ! -e "$folder/complete" ]; then
            install "$language" "$pins" "$folder" >&2
            touch "$folder/complete"
        fi
    ) 9>"$folder/lock"
    echo "$folder"
}

install() {
    if [ "$1" = js ]; then
        cp "$2" "$3/package.json"
        npm install --prefix "$3" --no-audit --no-fund --no-package-lock
    else
        python3 -m venv "$3"
        "$3/bin/python3" -m pip install --quiet --disable-pip-version-check -r "$2"
    fi
}

# Puts a link where the plugin's own build looks for its tools, unless the developer has installed them there.
link_tools() {
    if [ -L "$2" ] || [ ! -e "$2" ]; then ln -sfn "$1" "$2"; fi
}

build_audit-log() {
    local js
    js=$(tools js)
    link_tools "$js/node_modules" "$here/audit-log/node_modules"
    npm run --silent --prefix "$here/audit-log" build
}

build_business-rules() {
    local python
    python=$(tools python)
    link_tools "$python" "$here/business-rules/.venv"
    python3 "$here/business-rules/build.py"
}

build_maintenance() {
    local c js
    c=$(tools c)
    js=$(tools js)
    link_tools "$c" "$here/maintenance/.venv"
    JCO=$js/node_modules/.bin/jco sh "$here/maintenance/build.sh"
}

if [ "${1:-}" = --tools ]; then
    tools "${2:?a language: js, python or c}"
    exit
fi
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(audit-log business-rules maintenance)
for name in "${names[@]}"; do
    if ! declare -F "build_$name" >/dev/null; then
        echo "no plugin $name: use audit-log, business-rules or maintenance" >&2
        exit 2
    fi
    echo "== $name"
    "build_$name"
    ls -l "$here/$name/$name.wasm"
done

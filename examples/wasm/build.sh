#!/usr/bin/env bash
# Builds the components of this folder from source: prices (Rust) and text (C). numbers needs no building.
#
# usage: examples/wasm/build.sh [--commit] [--to FOLDER]
#
# Writes the components to FOLDER, by default examples/wasm/target; with --commit also to prices/prices.wasm and
# text/text.wasm, which the repository ships. Uses the tools of plugins/build.sh and plugins/build-others.sh. With the
# Rust target wasm32-unknown-unknown installed, `cargo build --release` in prices gives the same component.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
plugins=$here/../../plugins
commit=no
to=$here/target
while [ $# -gt 0 ]; do
    case $1 in
    --commit) commit=yes ;;
    --to) to=$(realpath -m "${2:?--to needs a folder}") && shift ;;
    *) echo "build.sh: unknown argument $1" >&2 && exit 2 ;;
    esac
    shift
done
mkdir -p "$to"

"$plugins/build-crate.sh" "$here/prices" "$to/prices.wasm"
js=$("$plugins/build-others.sh" --tools js)
# text/build.sh looks for its compiler in .venv. A real folder there is the developer's own and stays.
venv=$here/text/.venv
if [ -L "$venv" ] || [ ! -e "$venv" ]; then ln -sfn "$("$plugins/build-others.sh" --tools c)" "$venv"; fi
JCO=$js/node_modules/.bin/jco "$here/text/build.sh" "$to/text.wasm"

for name in prices text; do
    [ "$commit" = no ] || cp "$to/$name.wasm" "$here/$name/$name.wasm"
    printf '%8d bytes  %s\n' "$(stat -c %s "$to/$name.wasm")" "$to/$name.wasm"
done

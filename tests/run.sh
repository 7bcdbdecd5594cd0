#!/usr/bin/env bash
# Runs every check of the project: format, lints, documentation, tests. Installs what the tests need and is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# Programs that the tests drive: workers in four languages, clients, what installs dependencies.
missing=()
for program in node npm python3 perl curl git strace zip; do
  command -v "$program" >/dev/null || missing+=("${program/#node/nodejs}")
done
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
if [ "${#missing[@]}" -gt 0 ]; then
  step "installing ${missing[*]}"
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "the tests need ${missing[*]}: install them and run this again" >&2
    exit 1
  fi
  apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

step "programs from npm"
for try in 1 2 3; do
  if (cd tests/npm && npm install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error); then break; fi
  [ "$try" = 3 ] && { echo "npm install in tests/npm failed three times" >&2; exit 1; }
  sleep 3
done

step "format"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
step "tests"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --locked --no-fail-fast
else
  cargo test --locked --no-fail-fast
fi

# The plugins from their sources, in four languages, and folders that `plugin new` makes; functions in WebAssembly.
cargo build --locked --quiet
metagate=${CARGO_TARGET_DIR:-$PWD/target}/debug/metagate
tests/plugins.sh "$metagate"
tests/templates.sh "$metagate"
tests/functions.sh "$metagate"

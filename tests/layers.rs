//! The structure of `src` holds: imports point down the table of `src/lib.rs` and never sideways, no files import each
//! other in a circle, certain modules never meet, and certain libraries stay in their module.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "layers/imports.rs"]
mod imports;
#[path = "layers/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ignore::WalkBuilder;
use imports::source_files;
use table::layers;

/// Pairs of one layer where the first may import the second: the commands start what `app` composes.
const SIDEWAYS: [(&str, &str); 1] = [("cli", "app")];
/// Modules that never import each other, in either direction, although the layers would allow one of them.
const STRANGERS: [(&str, &str); 3] = [("plugin", "worker"), ("plugin", "ipc"), ("plugin", "wasm_worker")];
/// Libraries, and the only modules that may use them.
const CONFINED: [(&[&str], &[&str]); 3] = [
    (&["async_nats"], &["cluster"]),
    (&["axum", "hyper", "hyper_util"], &["http", "app"]),
    (&["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http", "wasmparser"], &["wasm", "plugin", "wasm_worker"]),
];

#[test]
fn imports_point_down_the_layers() {
    let (layers, files) = (layers(), source_files());
    let mut wrong = BTreeSet::new();
    let mut imports = 0;
    for file in &files {
        let own = *layers.get(&file.top).expect(&file.top);
        for target in file.targets(&files) {
            imports += 1;
            let below = layers[&target.top];
            let is_sideways = SIDEWAYS.contains(&(file.top.as_str(), target.top.as_str()));
            if target.top != file.top && below >= own && !is_sideways {
                wrong.insert(format!("{} imports {}", file.name, target.name));
            }
        }
    }
    assert!(imports > 500, "only {imports} imports were found");
    assert_eq!(wrong, BTreeSet::new());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = source_files();
    let graph: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|file| (file.name.as_str(), file.targets(&files).map(|target| target.name.as_str()).collect()))
        .collect();
    let reaches = |from: &str, to: &str| reachable(&graph, from).contains(to);
    let mut circles = BTreeSet::new();
    for (&name, targets) in &graph {
        for &target in targets {
            if target != name && reaches(target, name) {
                circles.insert(format!("{name} -> {target}"));
            }
        }
    }
    assert_eq!(circles, BTreeSet::new(), "each of these imports is part of a circle");
}

#[test]
fn strangers_never_meet() {
    let files = source_files();
    let mut wrong = BTreeSet::new();
    for file in &files {
        for target in file.targets(&files) {
            let meet =
                |(a, b): &(&str, &str)| (file.top == *a && target.top == *b) || (file.top == *b && target.top == *a);
            if STRANGERS.iter().any(meet) {
                wrong.insert(format!("{} imports {}", file.name, target.name));
            }
        }
    }
    assert_eq!(wrong, BTreeSet::new());
}

#[test]
fn libraries_stay_in_their_modules() {
    let mut wrong = BTreeSet::new();
    for file in source_files() {
        for (libraries, modules) in CONFINED {
            let used = libraries.iter().filter(|library| file.libraries.contains(**library));
            if !modules.contains(&file.top.as_str()) {
                wrong.extend(used.map(|library| format!("{} uses {library}", file.name)));
            }
        }
    }
    assert_eq!(wrong, BTreeSet::new());
}

/// Files that may ask for the time of day, which an administrator or a time server can change. All others, and so every
/// deadline, use the monotonic clock.
const TIME_OF_DAY: [&str; 15] = [
    "src/cli/check.rs",              // when certificates end
    "src/clock.rs",                  // the time of a past event, for people
    "src/gateway/release_files.rs",  // when a release was made
    "src/http/access_log.rs",        // the time of a line
    "src/http/static_files/file.rs", // whether a file may change within the second of its date
    "src/logs/book.rs",              // the time of a line
    "src/plugin/cases/world.rs",     // the clock of plugins in tests
    "src/plugin/outside.rs",         // the clock of plugins
    "src/plugin/record.rs",          // when a call was recorded
    "src/queue/time.rs",             // when asynchronous calls were accepted, and when they are due
    "src/registry/store/open.rs",    // the names of files that are set aside
    "src/telemetry/audit.rs",        // the time of a line
    "src/traces/sending.rs",         // how long a collector asks to wait
    "src/traces/span.rs",            // the times of spans
    "src/wasm/code.rs",              // when compiled code was last used
];

#[test]
fn l16_no_deadline_uses_a_clock_that_can_be_set() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in WalkBuilder::new(root.join("src")).build().map(Result::unwrap) {
        let is_rust = entry.path().extension().is_some_and(|ending| ending == "rs");
        if is_rust && fs::read_to_string(entry.path()).unwrap().contains("SystemTime::now") {
            found.push(entry.path().strip_prefix(root).unwrap().display().to_string());
        }
    }
    found.sort();
    assert_eq!(found, TIME_OF_DAY);
}

/// Every file that a file imports, directly or through others.
fn reachable<'g>(graph: &BTreeMap<&'g str, BTreeSet<&'g str>>, from: &str) -> BTreeSet<&'g str> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&str> = graph[from].iter().copied().collect();
    while let Some(next) = waiting.pop() {
        if found.insert(next) {
            waiting.extend(graph[next].iter().copied());
        }
    }
    found
}

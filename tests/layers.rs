//! The layers of `lib.rs` hold: `use` lines point down only, and `axum`, `hyper` stay in `http`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Layer by module, as the table in `lib.rs` has it.
const LAYERS: [(&str, u32); 24] = [
    ("main", 8),
    ("cli", 7),
    ("app", 7),
    ("http", 6),
    ("gateway", 5),
    ("registry", 4),
    ("source", 4),
    ("worker", 3),
    ("wasm_worker", 3),
    ("plugin", 2),
    ("runtime", 2),
    ("ipc", 1),
    ("config", 1),
    ("wasm", 1),
    ("outbound", 1),
    ("telemetry", 1),
    ("process", 1),
    ("logs", 1),
    ("addresses", 0),
    ("answer", 0),
    ("deployment", 0),
    ("invocation", 0),
    ("json", 0),
    ("supervise", 0),
];

fn layer(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each file of `src` with the name of its top module.
fn files() -> Vec<(String, PathBuf)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    rust_files(&src, &mut found);
    let module = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    found.into_iter().map(|path| (module(&path), path)).filter(|(module, _)| module != "lib").collect()
}

#[test]
fn imports_point_down_the_layers() {
    let mut wrong = Vec::new();
    let mut imports = 0;
    for (module, path) in files() {
        let own = layer(&module).unwrap_or_else(|| panic!("{module} has no layer"));
        let text = fs::read_to_string(&path).unwrap();
        for target in text.match_indices("crate::").map(|(at, word)| &text[at + word.len()..]) {
            let target: String = target.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(below) = layer(&target) else { continue };
            imports += 1;
            // `app` is composed by `cli`: the one pair of one layer.
            let allowed = target == module || below < own || (module == "cli" && target == "app");
            if !allowed {
                wrong.push(format!("{}: {module} uses {target}", path.display()));
            }
        }
    }
    assert!(imports > 100, "only {imports} imports were found");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn http_libraries_stay_in_http() {
    let mut wrong = Vec::new();
    for (module, path) in files() {
        let text = fs::read_to_string(&path).unwrap();
        let uses = ["axum::", "hyper::", "hyper_util::"].iter().any(|name| text.contains(name));
        if uses && module != "http" && module != "app" {
            wrong.push(path);
        }
    }
    assert_eq!(wrong, Vec::<PathBuf>::new());
}

#[test]
fn webassembly_stays_in_wasm_plugin_and_wasm_worker() {
    let mut wrong = Vec::new();
    for (module, path) in files() {
        let text = fs::read_to_string(&path).unwrap();
        let uses = ["wasmtime::", "wasmtime_wasi::", "wasmparser::"].iter().any(|name| text.contains(name));
        if uses && !["wasm", "plugin", "wasm_worker"].contains(&module.as_str()) {
            wrong.push(path);
        }
    }
    assert_eq!(wrong, Vec::<PathBuf>::new());
}

//! Functions in WebAssembly: calls, limits, isolation, outbound requests, and files that are refused.
//! `tests/functions.sh` tests components of real toolchains.

mod calls;
mod files;
mod isolation;
mod limits;
mod outbound;
mod streams;
pub(crate) mod typed;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::Gateway;

/// A core module with functions of numbers, an endless loop, a recursion, a memory hog and a counter.
pub(crate) const NUMBERS: &str = r#"(module
    (memory 1)
    (global $count (mut i32) (i32.const 0))
    (func (export "add") (param $a i32) (param $b i32) (result i32) (i32.add (local.get $a) (local.get $b)))
    (func (export "halve") (param $x f64) (result f64) (f64.div (local.get $x) (f64.const 2)))
    (func (export "wide") (param i64) (result i64) (local.get 0))
    (func (export "small") (param f32) (result f32) (local.get 0))
    (func (export "divide") (param i32 i32) (result i32 i32)
        (i32.div_s (local.get 0) (local.get 1)) (i32.rem_s (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "count") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count))
    (func (export "spin") (loop (br 0)))
    (func $deep (export "deep") (param i32) (result i32) (call $deep (i32.add (local.get 0) (i32.const 1))))
    (func (export "hoard") (result i32)
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)
    (func (export "vector") (param v128)))"#;

/// A component that exports a function at the root and two interfaces.
pub(crate) const TEXTS: &str = r#"(component
    (core module $module
        (memory (export "memory") 320)
        (func (export "text") (param i32) (result i32)
            (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (local.get 0))
            (memory.fill (i32.const 1024) (i32.const 97) (local.get 0))
            (i32.const 0))
        (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
        (func (export "thrice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))
    (core instance $core (instantiate $module))
    (func $text (param "length" u32) (result string)
        (canon lift (core func $core "text") (memory (core memory $core "memory"))))
    (func $twice (param "x" u32) (result u32) (canon lift (core func $core "twice")))
    (func $thrice (param "x" u32) (result u32) (canon lift (core func $core "thrice")))
    (export "text" (func $text))
    (instance $one (export "times" (func $twice)) (export "twice" (func $twice)))
    (instance $two (export "times" (func $thrice)))
    (export "test:texts/one@1.0.0" (instance $one))
    (export "test:texts/two@1.0.0" (instance $two)))"#;

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// The configuration table of a deployment.
pub(crate) fn deployment(name: &str, folder: &Path, keys: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {folder:?}\n{keys}\n")
}

/// A gateway with one deployment, `it`, of one file in text format.
#[track_caller]
pub(crate) fn serving(text: &str, keys: &str) -> (Gateway, TempDir) {
    let folder = folder(&[("it.wat", text.as_bytes())]);
    let gateway = Gateway::ready(&deployment("it", folder.path(), keys));
    (gateway, folder)
}

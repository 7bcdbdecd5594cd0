//! Files that cannot be loaded, and the messages about them.

use std::fs;

use super::{NUMBERS, TEXTS, deployment, folder, serving};
use crate::support::{Gateway, metagate, wait_for};

#[track_caller]
fn assert_load_fails(files: &[(&str, &[u8])], words: &[&str]) {
    let folder = folder(files);
    let gateway = Gateway::start(&deployment("it", folder.path(), "runtime = \"wasm\""));
    let failure = wait_for("the failure", || {
        let failure = gateway.readiness("it")["error"].clone();
        failure.is_object().then(|| failure.to_string())
    });
    assert!(words.iter().all(|word| failure.contains(word)), "{failure}");
}

#[test]
fn a_file_that_cannot_be_loaded_is_named_with_the_reason() {
    assert_load_fails(&[("it.wasm", b"hello")], &["it.wasm", "not WebAssembly: it begins with \\\"hello"]);
    assert_load_fails(&[("it.wasm", b"\0asm\x01\0\0\0\x01")], &["it.wasm"]);
    assert_load_fails(&[("it.wasm", b"\x7fELF and so on")], &["it.wasm", "cwasm"]);
    assert_load_fails(&[("it.wat", b"(module (func (export \"f\") (param i32))")], &["it.wat"]);
    assert_load_fails(&[("it.wat", b"(module)")], &["no function that can be called"]);
    let foreign = b"(component (import \"acme:db/store@1.0.0\" (instance (export \"get\" (func)))))";
    assert_load_fails(&[("it.wat", foreign)], &["it.wat", "acme:db/store@1.0.0"]);
    let foreign = b"(module (import \"env\" \"log\" (func (param i32))) (func (export \"f\")))";
    assert_load_fails(&[("it.wat", foreign)], &["it.wat", "env", "log"]);
}

#[test]
fn a_plugin_is_not_taken_for_functions() {
    let plugin = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/api-key/api-key.wasm")).unwrap();
    assert_load_fails(&[("it.wasm", &plugin)], &["it.wasm", "[[plugin]]"]);
}

#[test]
fn a_start_function_that_does_not_end_fails_its_calls_only() {
    let endless = "(module (func $start (loop (br 0))) (start $start) (func (export \"f\")))";
    let (gateway, _folder) = serving(endless, "timeout = \"200ms\"");
    assert_eq!(gateway.call("it", "f", "[]").code(), "call_timeout");
}

#[test]
fn scripts_take_precedence_over_modules() {
    let folder = folder(&[("it.wat", NUMBERS.as_bytes()), ("index.js", b"exports.one = () => 1;")]);
    let gateway = Gateway::ready(&deployment("it", folder.path(), ""));
    assert_eq!(gateway.call("it", "one", "[]").body, "1");
    let gateway = Gateway::ready(&deployment("it", folder.path(), "runtime = \"wasm\""));
    assert_eq!(gateway.call("it", "add", "[1, 2]").body, "3");
}

#[test]
fn a_metacall_json_does_not_lead_out_of_its_folder() {
    let outside = folder(&[("it.wat", NUMBERS.as_bytes())]);
    let inside = outside.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("metacall.json"), r#"{"language_id":"wasm","path":"..","scripts":["it.wat"]}"#).unwrap();
    let gateway = Gateway::start(&deployment("it", &inside, ""));
    wait_for("the failure", || gateway.readiness("it").to_string().contains("leads out").then_some(()));
}

#[test]
fn a_changed_file_is_reloaded_when_functions_are_watched() {
    let functions = folder(&[("it.wat", NUMBERS.as_bytes())]);
    let table = deployment("it", functions.path(), "");
    let gateway = Gateway::start_with(&table, |command| {
        command.arg("--watch");
    });
    gateway.wait_ready();
    fs::write(functions.path().join("it.wat"), TEXTS).unwrap();
    wait_for("the new functions", || (gateway.call("it", "twice", "[2]").body == "4").then_some(()));
    // A file that does not load leaves the old functions running.
    fs::write(functions.path().join("it.wat"), "(module").unwrap();
    wait_for("the failure", || gateway.log().contains("it.wat").then_some(()));
    assert_eq!(gateway.call("it", "twice", "[2]").body, "4");
}

#[test]
fn explain_and_check_know_the_runtime() {
    let functions = folder(&[("it.wat", NUMBERS.as_bytes())]);
    let config = functions.path().join("metagate.toml");
    fs::write(&config, deployment("it", functions.path(), "wasm = { bytes = \"array\" }")).unwrap();
    let checked = metagate().arg("check").arg(&config).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let explained = metagate().args(["explain", "it", "-c"]).arg(&config).output().unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("wasm (detected from its files)") && explained.contains("array"), "{explained}");
    fs::write(&config, deployment("it", functions.path(), "runtime = \"node\"\nwasm = { bytes = \"array\" }")).unwrap();
    let refused = metagate().arg("check").arg(&config).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    fs::write(functions.path().join("index.js"), "exports.one = () => 1;").unwrap();
    fs::write(&config, deployment("it", functions.path(), "wasm = { bytes = \"array\" }")).unwrap();
    let refused = metagate().arg("check").arg(&config).output().unwrap();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("and the runtime of this folder is node"), "{words}");
}

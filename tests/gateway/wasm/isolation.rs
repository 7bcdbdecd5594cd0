//! Isolation of functions: state of earlier calls, environment, clocks, files.

use std::fs;
use std::path::PathBuf;

use super::{NUMBERS, deployment, folder, serving};
use crate::support::{Gateway, metagate, wait_for};

/// A module that uses WASI preview 1: it prints its environment, and reads and writes files in its first folder.
const SYSTEM: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 4)
    (data (i32.const 16) "note.txt")
    (data (i32.const 32) "../secret.txt")
    (data (i32.const 48) "new.txt")
    ;; The variables are stored at 4096, separated by NULs.
    (func (export "print-environment") (param $stream i32) (result i32)
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $environ (i32.const 1024) (i32.const 4096)))
        (i32.store (i32.const 8) (i32.const 4096))
        (i32.store (i32.const 12) (i32.load (i32.const 4)))
        (drop (call $write (local.get $stream) (i32.const 8) (i32.const 1) (i32.const 64)))
        (i32.load (i32.const 0)))
    (func $first (param $path i32) (param $length i32) (param $create i32) (param $rights i64)
            (result i32) (local $error i32)
        (local.set $error (call $open (i32.const 3) (i32.const 0)
            (local.get $path) (local.get $length) (local.get $create)
            (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 128)))
        (if (local.get $error) (then (return (i32.sub (i32.const 0) (local.get $error)))))
        (i32.store (i32.const 8) (i32.const 2048))
        (i32.store (i32.const 12) (i32.const 1))
        (drop (call $read (i32.load (i32.const 128)) (i32.const 8) (i32.const 1) (i32.const 64)))
        (i32.load8_u (i32.const 2048)))
    (func (export "read") (result i32) (call $first (i32.const 16) (i32.const 8) (i32.const 0) (i64.const 2)))
    (func (export "escape") (result i32) (call $first (i32.const 32) (i32.const 13) (i32.const 0) (i64.const 2)))
    (func (export "create") (result i32) (call $first (i32.const 48) (i32.const 7) (i32.const 1) (i64.const 66)))
    (func (export "overwrite") (result i32) (call $first (i32.const 16) (i32.const 8) (i32.const 8) (i64.const 64)))
    (func (export "random") (result i64) (drop (call $random (i32.const 0) (i32.const 8))) (i64.load (i32.const 0)))
    (func (export "now") (result i64)
        (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 0))) (i64.load (i32.const 0)))
    (func (export "poll") (result i32) (call $poll (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)))
    (func (export "exit") (call $exit (i32.const 7))))"#;

#[test]
fn each_call_has_a_fresh_instance_unless_instances_are_warm() {
    let (gateway, _folder) = serving(NUMBERS, "");
    let counted = |gateway: &Gateway| gateway.call("it", "count", "[]").body;
    assert_eq!([counted(&gateway), counted(&gateway), counted(&gateway)], ["1", "1", "1"]);

    let (gateway, _folder) = serving(NUMBERS, "wasm = { instances = \"warm\" }");
    assert_eq!([counted(&gateway), counted(&gateway), counted(&gateway)], ["1", "2", "3"]);
    // An instance whose call failed is not reused.
    assert_eq!(gateway.call("it", "divide", "[1, 0]").code(), "function_error");
    assert_eq!([counted(&gateway), counted(&gateway)], ["1", "2"]);
}

#[test]
fn warm_instances_of_many_files_leave_room_for_all() {
    let names: Vec<String> = (0..30).map(|number| format!("m{number}.wat")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), NUMBERS.as_bytes())).collect();
    let folder = folder(&files);
    let keys = "concurrency = 1\nwasm = { instances = \"warm\" }";
    let gateway = Gateway::ready(&deployment("it", folder.path(), keys));
    for round in ["1", "2"] {
        for number in 0..30 {
            assert_eq!(gateway.call("it", &format!("m{number}/count"), "[]").body, round, "m{number}");
        }
    }
}

#[test]
fn functions_see_only_the_environment_of_their_deployment() {
    let (gateway, _folder) = serving(SYSTEM, "env = { GREETING = \"hello\", OTHER = \"x\" }");
    assert_eq!(gateway.call("it", "print-environment", "[1]").body, "2");
    assert_eq!(gateway.call("it", "print-environment", "[2]").body, "2");
    let log = wait_for("both lines", || {
        let log = gateway.worker_log("it");
        (log.matches("GREETING=hello").count() == 2).then_some(log)
    });
    assert!(log.contains("OTHER=x") && !log.contains("PATH=") && !log.contains("METAGATE"), "{log}");
}

#[test]
fn clocks_and_randomness_are_available_and_waits_are_not() {
    let (gateway, _folder) = serving(SYSTEM, "");
    let number = |function| gateway.call("it", function, "[]").body.parse::<i64>().unwrap();
    assert_ne!(number("random"), number("random"));
    assert!(number("now") > 1_700_000_000_000_000_000);
    assert_eq!(number("poll"), 58);
    let exited = gateway.call("it", "exit", "[]");
    assert_eq!(
        (exited.code(), exited.message().contains("exited with code 7")),
        ("function_error", true),
        "{exited:?}"
    );
}

#[test]
fn a_granted_folder_can_be_read_and_nothing_can_be_written() {
    let data = folder(&[]);
    let inside = data.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("note.txt"), "A").unwrap();
    fs::write(data.path().join("secret.txt"), "S").unwrap();
    let (gateway, _folder) = serving(SYSTEM, &format!("wasm.grants.folders = {{ \"/data\" = {inside:?} }}"));
    let number = |function| gateway.call("it", function, "[]").body.parse::<i32>().unwrap();
    assert_eq!(number("read"), i32::from(b'A'));
    for refused in ["escape", "create", "overwrite"] {
        assert!(number(refused) < 0, "{refused}");
    }
    assert!(!inside.join("new.txt").exists());
    assert_eq!(fs::read(inside.join("note.txt")).unwrap(), b"A");

    let (gateway, _folder) = serving(SYSTEM, "");
    // `badf`: the folder does not exist.
    assert_eq!(gateway.call("it", "read", "[]").body, "-8");
}

#[test]
fn a_granted_folder_that_does_not_exist_is_a_fault_of_the_configuration() {
    let functions = folder(&[("it.wat", NUMBERS.as_bytes())]);
    let missing: PathBuf = functions.path().join("missing");
    let table = deployment("it", functions.path(), &format!("wasm.grants.folders = {{ \"/data\" = {missing:?} }}"));
    let config = functions.path().join("metagate.toml");
    fs::write(&config, table).unwrap();
    let checked = metagate().arg("check").arg(&config).output().unwrap();
    let words = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success() && words.contains("/missing") && words.contains("/data"), "{words}");
}

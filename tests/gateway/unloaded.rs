//! Calls of deployments that have never loaded.

use std::fs;

use crate::support::{Answer, Gateway, fixture, wait_for};

/// Calls until the gateway has given up waiting for a worker.
#[track_caller]
fn refused(gateway: &Gateway) -> Answer {
    wait_for("the reason", || {
        let answer = gateway.call("it", "f", "[]");
        assert_eq!(answer.status, 503, "{answer:?}");
        (answer.code() != "starting").then_some(answer)
    })
}

#[track_caller]
fn assert_load_failed(answer: &Answer, reason: &str) {
    assert_eq!(answer.code(), "load_failed", "{answer:?}");
    assert!(answer.message().contains(reason), "{answer:?}");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1, "{answer:?}");
}

#[test]
fn a_worker_that_never_loads_is_reported_to_callers_with_its_reason() {
    let broken = fixture("broken-node");
    let gateway = Gateway::start(&format!("[[deployment]]\nname = \"it\"\npath = {broken:?}\n"));
    let answer = refused(&gateway);
    assert_load_failed(
        &answer,
        "deployment \"it\" has not loaded: worker of \"it\" exited with code 1 before it was ready",
    );
    // The worker's own words may hold secrets.
    assert!(!answer.body.contains("no luck today"), "{answer:?}");
}

#[test]
fn a_folder_without_functions_is_reported_to_callers_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    let gateway = Gateway::start(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    assert_load_failed(&refused(&gateway), "deployment \"it\" has not loaded: ");
}

#[test]
fn what_a_worker_sent_before_it_was_ready_and_paths_are_not_shown_to_callers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("worker.py"), "import os\nos.write(3, b'password=hunter2\\n')\n").unwrap();
    let missing = folder.path().join("missing");
    let gateway = Gateway::start(&format!(
        "[[deployment]]\nname = \"it\"\nruntime = \"command\"\ncommand = [\"python3\", \"worker.py\"]\npath = {:?}\n\
         [[deployment]]\nname = \"gone\"\npath = {missing:?}\n",
        folder.path()
    ));
    let answer = refused(&gateway);
    assert_load_failed(&answer, "its log and /readyz say why");
    assert!(!answer.body.contains("hunter2"), "{answer:?}");
    let answer = gateway.call("gone", "f", "[]");
    assert_load_failed(&answer, "its log and /readyz say why");
    assert!(!answer.body.contains("missing"), "{answer:?}");
}

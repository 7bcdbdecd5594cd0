//! Configured folders whose files change while they serve: a worker that starts later never brings other files into the
//! pool than those that the others have loaded.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::faulty::{assert_error, assert_ok, count, send_signal, wait_count};
use crate::support::{Gateway, is_alive, wait_for};

/// A folder with a Python file, whose function `version` returns `version`.
struct Folder(TempDir);

impl Folder {
    fn new(version: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(version);
        folder
    }

    /// Replaces the file in one step.
    fn write(&self, version: &str) {
        let text = format!("import time\n\n\ndef version(pause=0):\n    time.sleep(pause)\n    return {version}\n");
        fs::write(self.0.path().join(".new"), text).unwrap();
        fs::rename(self.0.path().join(".new"), self.0.path().join("main.py")).unwrap();
    }

    fn serve(&self, keys: &str) -> Gateway {
        Gateway::ready(&format!("[[deployment]]\nname = \"w\"\npath = {:?}\n{keys}\n", self.0.path()))
    }
}

fn version(gateway: &Gateway) -> String {
    let answer = gateway.call("w", "version", "[]");
    assert_eq!(answer.status, 200, "{answer:?}\n{}", gateway.log());
    answer.body
}

#[test]
fn a_worker_that_starts_after_a_change_brings_a_new_release_and_no_mix() {
    let folder = Folder::new("1");
    let gateway = folder.serve("workers = 2");
    wait_count(&gateway, "w", "ready_workers", 2);
    let old = gateway.worker_pids();
    let over = AtomicBool::new(false);
    let seen: Vec<String> = thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let answer = gateway.call("w", "version", "[]");
                if answer.status == 502 {
                    // It was in flight on the worker that is killed.
                    assert_error(&answer, 502, "worker_crashed");
                    continue;
                }
                let version = answer.body;
                if seen.last() != Some(&version) {
                    seen.push(version);
                }
            }
            seen
        });
        folder.write("2");
        assert_eq!(version(&gateway), "1", "the change alone deploys nothing");
        send_signal(old[0], Signal::KILL);
        wait_for("the new release", || (gateway.call("w", "version", "[]").body == "2").then_some(()));
        wait_for("the end of the old workers", || old.iter().all(|pid| !is_alive(*pid)).then_some(()));
        over.store(true, Ordering::Relaxed);
        caller.join().unwrap()
    });
    assert_eq!(seen, ["1", "2"]);
    wait_count(&gateway, "w", "ready_workers", 2);
    gateway.wait_log("files have changed: loading them as another release");
    // The new release is the pool's own from now on.
    send_signal(gateway.worker_pids()[0], Signal::KILL);
    wait_count(&gateway, "w", "restarts", 1);
    wait_count(&gateway, "w", "ready_workers", 2);
    gateway.wait_log("loading them as another release");
    assert_eq!(gateway.log().matches("loading them as another release").count(), 1);
}

#[test]
fn changed_files_that_do_not_load_leave_the_old_workers_and_are_reported() {
    let folder = Folder::new("1");
    let gateway = folder.serve("workers = 2");
    wait_count(&gateway, "w", "ready_workers", 2);
    folder.write("(");
    send_signal(gateway.worker_pids()[0], Signal::KILL);
    let error = wait_for("the report", || gateway.readiness("w").get("error").cloned());
    assert_eq!(error["code"], "load_failed");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("changed files do not load, the release before serves: "), "{message}");
    assert_eq!((gateway.get("/readyz").status, count(&gateway, "w", "ready_workers")), (200, 1));
    gateway.wait_log("changed files do not load: the release in service stays");
    for _ in 0..20 {
        assert_eq!(version(&gateway), "1");
    }
    folder.write("3");
    wait_for("the mended release", || (version(&gateway) == "3").then_some(()));
    wait_count(&gateway, "w", "ready_workers", 2);
    assert_eq!(gateway.readiness("w").get("error"), None);
}

#[test]
fn without_another_worker_calls_wait_for_the_changed_files() {
    let folder = Folder::new("1");
    let gateway = folder.serve("");
    folder.write("2");
    send_signal(gateway.worker_pids()[0], Signal::KILL);
    // The call may still meet the worker that is being killed.
    let answer = wait_for("an answer", || Some(gateway.call("w", "version", "[]")).filter(|one| one.status != 502));
    assert_ok(&answer, "2");
    gateway.wait_log("files have changed: loading them as another release");
    folder.write("(");
    send_signal(gateway.worker_pids()[0], Signal::KILL);
    wait_for("the crash loop", || (gateway.call("w", "version", "[]").status == 503).then_some(()));
    assert_eq!(gateway.readiness("w")["status"], "failed");
    assert_error(&gateway.get("/local/w/v1/call/version"), 503, "crash_loop");
    folder.write("3");
    wait_for("the mended release", || (gateway.call("w", "version", "[]").body == "3").then_some(()));
}

#[test]
fn a_change_is_made_although_the_task_that_makes_it_panics() {
    let folder = Folder::new("1");
    let table = format!("[[deployment]]\nname = \"w\"\npath = {:?}\n", folder.0.path());
    let gateway = Gateway::start_with(&table, |command| {
        command.env("METAGATE_TEST_PANIC", "folder-changes");
    });
    gateway.wait_ready();
    folder.write("2");
    send_signal(gateway.worker_pids()[0], Signal::KILL);
    wait_for("the new release", || (gateway.call("w", "version", "[]").body == "2").then_some(()));
    gateway.wait_log("long-lived task panicked");
}

#[test]
fn a_pool_that_grows_after_a_change_is_replaced() {
    let folder = Folder::new("1");
    let gateway = folder.serve("workers = { min = 1, max = 2 }\nconcurrency = 1");
    folder.write("2");
    thread::scope(|scope| {
        let slow = scope.spawn(|| gateway.call("w", "version", "[1]"));
        wait_count(&gateway, "w", "in_flight", 1);
        // It waits for a worker; the one that is added must not belong to the old release.
        assert_eq!(version(&gateway), "2");
        assert_ok(&slow.join().unwrap(), "1");
    });
    assert_eq!(version(&gateway), "2");
}

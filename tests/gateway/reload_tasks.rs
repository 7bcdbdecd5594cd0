//! The tasks that reload the configuration are restarted when they panic.

use std::fs;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Gateway, wait_for};

const TABLES: &str = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n\
    [[deployment]]\nname = \"app\"\npath = \"app\"\n";

/// A gateway in which a task panics once.
fn with_panic(task: &str, arguments: &[&str]) -> Gateway {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("app")).unwrap();
    fs::write(folder.path().join("metagate.toml"), TABLES).unwrap();
    write_version(&folder, 1);
    let gateway = Gateway::start_in(folder, |command| _ = command.args(arguments).env("METAGATE_TEST_PANIC", task));
    gateway.wait_ready();
    gateway
}

fn write_version(folder: &TempDir, number: u32) {
    fs::write(folder.path().join("app/app.py"), format!("def version():\n    return {number}\n")).unwrap();
}

fn wait_for_version(gateway: &Gateway, number: u32) {
    wait_for("the new version", || (gateway.call("app", "version", "").body == number.to_string()).then_some(()));
}

#[test]
fn l15_a_reload_task_that_panics_answers_its_request_and_serves_the_next() {
    let gateway = with_panic("reload", &[]);
    write_version(&gateway.folder, 2);
    let failed = gateway.post("/api/reload", &[], "");
    assert_eq!((failed.status, failed.code()), (500, "internal"), "{failed:?}");
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
    wait_for_version(&gateway, 2);
    write_version(&gateway.folder, 3);
    gateway.signal(Signal::HUP);
    wait_for_version(&gateway, 3);
    gateway.wait_log("long-lived task panicked");
}

#[test]
fn a_function_watch_that_panics_still_deploys_files_that_change() {
    let gateway = with_panic("function-watch", &["--watch"]);
    wait_for("the panic", || gateway.log().contains("long-lived task panicked").then_some(()));
    write_version(&gateway.folder, 2);
    wait_for_version(&gateway, 2);
}

//! Deployments of the configuration whose files change.

use std::fs;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Gateway, wait_for};

const TABLES: &str = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n\
    [[deployment]]\nname = \"app\"\npath = \"app\"\n";

fn with_app(number: u32) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("app")).unwrap();
    write(&folder, number);
    fs::write(folder.path().join("metagate.toml"), TABLES).unwrap();
    folder
}

fn write(folder: &TempDir, number: u32) {
    fs::write(folder.path().join("app/app.py"), format!("def version():\n    return {number}\n")).unwrap();
}

fn wait_for_version(gateway: &Gateway, number: u32) {
    wait_for("the new version", || {
        let answer = gateway.call("app", "version", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.body == number.to_string()).then_some(())
    });
}

#[test]
fn with_watch_files_that_change_are_deployed_again_and_broken_ones_leave_the_old() {
    let gateway = Gateway::start_in(with_app(1), |command| _ = command.arg("--watch"));
    gateway.wait_ready();
    for number in 2..=3 {
        write(&gateway.folder, number);
        wait_for_version(&gateway, number);
    }
    fs::write(gateway.folder.path().join("app/app.py"), "raise ValueError('boom')\n").unwrap();
    wait_for("word of the failure", || gateway.worker_log("app").contains("boom").then_some(()));
    assert_eq!(gateway.call("app", "version", "").body, "3");
    write(&gateway.folder, 4);
    wait_for_version(&gateway, 4);
    gateway.wait_log("files have changed");
}

#[test]
fn without_watch_a_hangup_or_a_reload_deploys_what_has_changed() {
    let gateway = Gateway::start_in(with_app(1), |_| {});
    gateway.wait_ready();
    write(&gateway.folder, 2);
    gateway.signal(Signal::HUP);
    wait_for_version(&gateway, 2);
    let pids = gateway.worker_pids();
    write(&gateway.folder, 3);
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
    assert_eq!(gateway.call("app", "version", "").body, "3");
    wait_for("another worker", || (gateway.worker_pids().len() == 1 && gateway.worker_pids() != pids).then_some(()));
    // Unchanged deployments keep their workers.
    let pids = gateway.worker_pids();
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
    assert_eq!(gateway.worker_pids(), pids);
}

#[test]
fn data_that_a_function_writes_into_its_own_folder_does_not_start_it_anew() {
    let folder = with_app(1);
    fs::create_dir(folder.path().join("notes")).unwrap();
    let script = "const fs = require('fs');\nlet calls = 0;\nexports.add = () => {\n  calls += 1;\n\
         \x20 fs.writeFileSync('notes.json', JSON.stringify({ calls }));\n  return calls;\n};\n";
    fs::write(folder.path().join("notes/index.js"), script).unwrap();
    let more = "[[deployment]]\nname = \"notes\"\npath = \"notes\"\n";
    fs::write(folder.path().join("metagate.toml"), format!("{TABLES}{more}")).unwrap();
    let gateway = Gateway::start_in(folder, |command| _ = command.arg("--watch"));
    gateway.wait_ready();
    for number in 1..=3 {
        assert_eq!(gateway.call("notes", "add", "[]").body, number.to_string());
        // The next look at the files has seen this one once the other deployment has been replaced.
        write(&gateway.folder, number + 1);
        wait_for_version(&gateway, number + 1);
    }
    assert!(gateway.folder.path().join("notes/notes.json").is_file());
}

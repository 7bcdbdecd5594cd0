//! Limits of workers: their defaults, and the name of the limit in the answer and in the log once it is reached. A
//! limit that needs a control group is not there where the machine permits none.

use std::fs;
use std::path::PathBuf;

use crate::support::{Answer, Gateway, fixture};

fn gateway(keys: &str) -> Gateway {
    let path = fixture("escapes");
    let gateway = Gateway::start(&format!("[[deployment]]\nname = \"w\"\npath = {path:?}\n{keys}\n"));
    gateway.wait_ready();
    gateway
}

/// The groups of a process for a controller of v1, or the one of v2.
pub(crate) fn group_of(pid: &str, controller: &str) -> PathBuf {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let v1 = groups.lines().find_map(|line| line.split_once(&format!(":{controller}:")).map(|(_, path)| path));
    let (mount, path) = match (v1, groups.lines().find_map(|line| line.strip_prefix("0::"))) {
        (Some(path), _) => (format!("/sys/fs/cgroup/{controller}"), path),
        (None, Some(path)) => ("/sys/fs/cgroup".to_owned(), path),
        (None, None) => panic!("no group for {controller}: {groups}"),
    };
    PathBuf::from(format!("{mount}{path}"))
}

/// Whether this machine has a wall.
pub(crate) fn has(gateway: &Gateway, wall: &str) -> bool {
    let missing = gateway.get("/readyz").json()["missing_walls"].clone();
    missing.as_array().is_none_or(|missing| missing.iter().all(|name| name != wall))
}

#[track_caller]
fn assert_names(answer: &Answer, status: u16, limit: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains(limit), "{answer:?}");
}

#[test]
fn w15_a_worker_that_runs_out_of_memory_names_the_limit() {
    let gateway = gateway("max_memory = \"64MiB\"");
    let answer = gateway.call("w", "hoard", "[]");
    if !has(&gateway, "memory") {
        // The limit is that of each process, and Python raises an error.
        assert_names(&answer, 500, "");
        return;
    }
    let named = "exited by signal 9 because it ran out of memory (max_memory is 67108864 bytes)";
    assert_names(&answer, 502, named);
    let log = gateway.worker_log("w");
    assert!(log.contains(named), "{log}");
}

#[test]
fn a_worker_has_a_quarter_of_the_memory() {
    let gateway = gateway("");
    let pid = gateway.call("w", "pid", "[]").body;
    if has(&gateway, "memory") {
        let group = group_of(&pid, "memory");
        let limit =
            ["memory.max", "memory.limit_in_bytes"].iter().find_map(|file| fs::read_to_string(group.join(file)).ok());
        let limit: u64 = limit.unwrap().trim().parse().unwrap();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let total: u64 = meminfo.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(limit > 0 && limit <= total * 1024 / 4, "{limit} of {total} KiB");
    }
}

#[test]
fn w15_errors_about_descriptors_files_and_processes_name_the_limit() {
    let gateway = gateway("max_files = 64\nmax_file_size = \"1MiB\"\nmax_processes = 32");
    assert_names(&gateway.call("w", "open_without_end", "[]"), 500, "(limit of this deployment: max_files)");
    assert_names(&gateway.call("w", "write_large", "[2000000]"), 500, "(limit of this deployment: max_file_size)");
    if has(&gateway, "processes") {
        assert_names(&gateway.call("w", "start_without_end", "[]"), 500, "(limit of this deployment: max_processes)");
        let answer = gateway.call("w", "die", "[]");
        assert_names(&answer, 502, "exited by signal 9 after it had reached max_processes (32)");
    }
}

#[test]
fn w15_node_names_the_limit_of_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let script = "const fs = require('fs');\nexports.open = () => { for (;;) fs.openSync('/dev/null'); };\n";
    fs::write(folder.path().join("index.js"), script).unwrap();
    let gateway =
        Gateway::ready(&format!("[[deployment]]\nname = \"n\"\npath = {:?}\nmax_files = 64\n", folder.path()));
    assert_names(&gateway.call("n", "open", "[]"), 500, "(limit of this deployment: max_files)");
}

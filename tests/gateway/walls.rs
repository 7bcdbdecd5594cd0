//! What `metagate doctor`, `check`, `/readyz` and the metrics say about the walls around workers, and what functions
//! may still do behind them.

use std::fs;

use serde_json::json;

use crate::deploys::package;
use crate::endings::without_control_groups;
use crate::faulty::assert_ok;
use crate::support::{Gateway, fixture, metagate};

/// A folder with these deployments, each the functions of `tests/fixtures/escapes`.
fn folder_with(deployments: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tables = String::from("[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n\n");
    for (name, path, more) in deployments {
        fs::create_dir_all(folder.path().join(path)).unwrap();
        fs::copy(fixture("escapes/main.py"), folder.path().join(path).join("main.py")).unwrap();
        tables += &format!("[[deployment]]\nname = {name:?}\npath = {path:?}\n{more}\n");
    }
    fs::write(folder.path().join("metagate.toml"), tables).unwrap();
    folder
}

#[test]
fn doctor_shows_the_walls_and_what_each_deployment_gets() {
    let folder = folder_with(&[("a", "a", ""), ("b", "b", "isolation = \"none\""), ("c", ".", "")]);
    let output = metagate().arg("doctor").arg(folder.path().join("metagate.toml")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for wall in
        ["capabilities", "files", "signals", "system_calls", "process_trees", "memory", "processes", "processors"]
    {
        assert!(text.lines().any(|line| line.split_whitespace().nth(1) == Some(wall)), "{wall}: {text}");
    }
    let missing = text.lines().any(|line| line.starts_with("missing"));
    assert_eq!(output.status.code(), Some(i32::from(missing)), "{text}");
    assert!(text.contains("\na: standard") && text.contains("\nb: none"), "{text}");
    assert!(text.contains("\nwarning: deployment \"c\": its functions cannot make files directly in"), "{text}");
}

#[test]
fn check_warns_of_a_configuration_in_the_folder_of_a_deployment() {
    let folder = folder_with(&[("a", ".", "arguments = \"names\"\n")]);
    let check = || metagate().arg("check").arg(folder.path().join("metagate.toml")).output().unwrap();
    let output = check();
    let warned = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{warned}");
    assert!(warned.starts_with("warning: deployment \"a\": its functions cannot make files directly in"), "{warned}");
    let text = fs::read_to_string(folder.path().join("metagate.toml")).unwrap();
    fs::write(folder.path().join("metagate.toml"), text + "isolation = \"none\"\n").unwrap();
    assert_eq!(String::from_utf8(check().stderr).unwrap(), "");
}

#[test]
fn a_machine_without_control_groups_is_reported() {
    let gateway = Gateway::start_with("", without_control_groups);
    let missing = gateway.get("/readyz").json()["missing_walls"].clone();
    let missing: Vec<_> = missing.as_array().unwrap().iter().filter(|wall| *wall != "process_namespace").collect();
    assert_eq!(json!(missing), json!(["process_trees", "memory", "processes", "processors"]));
    let metrics = gateway.get("/metrics").body;
    assert!(metrics.contains("metagate_wall{wall=\"processes\"} 0\n"), "{metrics}");
    assert!(metrics.contains("metagate_wall{wall=\"capabilities\"} 1\n"), "{metrics}");
    gateway.wait_log("isolation is incomplete on this machine");
}

#[test]
fn functions_change_their_own_folder_their_temporary_files_and_what_is_listed() {
    let shared = tempfile::tempdir().unwrap();
    let folder = folder_with(&[("w", "w", &format!("write = [{:?}]", shared.path())), ("n", "n", "")]);
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    let succeeds = |function: &str, path: &str| {
        assert_ok(&gateway.call("w", function, &json!([path]).to_string()), "true");
    };
    succeeds("create", "new");
    succeeds("write", "main.py");
    succeeds("create", &shared.path().join("new").display().to_string());
    succeeds("write", "/dev/null");
    succeeds("create", &format!("/dev/shm/metagate-{}", std::process::id()));
    succeeds("read", "/etc/passwd");
    let temp = gateway.call("w", "run", "[\"mktemp -d && cd $HOME && touch there && mv there $TMPDIR/here\"]");
    let data = gateway.folder.path().canonicalize().unwrap().join("data/temp/w");
    assert!(temp.json().as_str().unwrap().starts_with(data.to_str().unwrap()), "{temp:?}");
    // Programs with processes and semaphores of their own work.
    let pool = "python3 -c 'import multiprocessing as m; print(m.Pool(2).map(abs, [1, -2]))'";
    assert_ok(&gateway.call("w", "run", &json!([pool]).to_string()), "\"[1, 2]\\n\"");
    assert_ok(&gateway.call("w", "run", "[\"node -p 'os.tmpdir() == process.env.TMPDIR'\"]"), "\"true\\n\"");
}

#[test]
fn the_folder_of_another_deployment_is_readable_if_it_is_listed_or_nested() {
    let folder = folder_with(&[
        ("w", "w", "read = [\"listed\"]"),
        ("l", "listed", ""),
        ("n", "w/nested", ""),
        ("o", "other", ""),
    ]);
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    let read = |path: &str| {
        let path = gateway.folder.path().join(path).join("main.py");
        gateway.call("w", "read", &json!([path]).to_string()).body
    };
    assert_eq!([read("listed"), read("w/nested"), read("other")], ["true", "true", "false"]);
}

#[test]
fn a_deleted_deployment_leaves_no_caches_or_temporary_files() {
    let gateway = Gateway::start("");
    let code = "import os\n\ndef keep():\n    open(os.environ['TMPDIR'] + '/kept', 'w').close()\n";
    gateway.ship("w", &package(&[("app.py", code)]));
    assert_ok(&gateway.call("w", "keep", "[]"), "null");
    let data = gateway.folder.path().join("data");
    let kept = data.join("temp/w/kept");
    let cache = data.join(format!("workers/{}/pycache/w", env!("CARGO_PKG_VERSION")));
    assert!(kept.exists() && cache.exists());
    assert_eq!(gateway.delete("w").status, 200);
    assert!(!data.join("temp/w").exists() && !cache.exists());
}

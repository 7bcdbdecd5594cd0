//! Data folders on disks that are full or cannot be written: real ones, mounted for one gateway in a namespace of its
//! own.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::{package, versioned};
use crate::support::{Gateway, wait_for};

/// Has the gateway started where these commands were run first, by its root, with its folder as `$0`.
fn after(commands: &str) -> impl FnOnce(&mut Command) {
    move |command: &mut Command| {
        let folder = command.get_current_dir().unwrap().to_owned();
        let mut inside = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            // The gateway of such a namespace sees no programs outside it, and takes the test for a function.
            inside.arg("--map-root-user");
        }
        inside.args(["--mount", "sh", "-c", &format!("{commands} && exec \"$@\"")]);
        inside.arg(&folder).arg(command.get_program()).args(command.get_args()).current_dir(&folder);
        let stderr = fs::OpenOptions::new().append(true).open(folder.join("stderr.log")).unwrap();
        inside.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(stderr);
        *command = inside;
    }
}

fn noise(bytes: usize) -> String {
    // Data that does not compress.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn l10_a_full_disk_is_a_507_and_the_old_release_serves() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let table = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    fs::write(folder.path().join("metagate.toml"), table).unwrap();
    let gateway = Gateway::start_in(folder, after("mount -t tmpfs -o size=3m,nr_inodes=200 tmpfs data"));
    gateway.ship("app", &versioned(1));
    let large = package(&[("app.py", "def version():\n    return 2\n"), ("data.txt", &noise(2_500_000))]);
    let many: Vec<(String, &str)> = (0..400).map(|number| (format!("{number}.txt"), "")).collect();
    let many = package(&many.iter().map(|(name, text)| (name.as_str(), *text)).collect::<Vec<_>>());
    for archive in [&large, &many] {
        let refused = gateway.upload("app", archive, "?replace=true");
        assert_eq!((refused.status, refused.code()), (507, "insufficient_storage"), "{refused:?}\n{}", gateway.log());
        assert_eq!(gateway.call("app", "version", "").body, "1");
    }
    wait_for("room", || (gateway.upload("app", &versioned(2), "?replace=true").status == 201).then_some(()));
    gateway.ship("other", &versioned(1));
    let filler = format!("/proc/{}/root{}/data/filler", gateway.pid(), gateway.folder.path().display());
    fs::write(&filler, noise(4_000_000)).unwrap_err();
    let refused = gateway.create("app", &json!([]));
    assert_eq!((refused.status, refused.code()), (507, "insufficient_storage"), "{refused:?}\n{}", gateway.log());
    assert_eq!(gateway.call("app", "version", "").body, "1");
    // Operations that free space need none.
    assert_eq!(gateway.delete("other").status, 200, "{}", gateway.log());
    assert_eq!(gateway.call("other", "version", "").status, 404);
    fs::remove_file(&filler).unwrap();
    // No file of it is left: there is space for a small one.
    gateway.ship("app", &versioned(3));
    assert_eq!(gateway.call("app", "version", "").body, "3");
}

#[test]
fn l12_a_folder_that_cannot_be_written_serves_what_is_in_it() {
    let mut gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    gateway.signal(Signal::TERM);
    gateway.wait_end();
    let folder = std::mem::replace(&mut gateway.folder, TempDir::new().unwrap());
    let gateway = Gateway::start_in(folder, after("mount --bind data data && mount -o remount,bind,ro data"));
    wait_for("an answer", || (gateway.call("app", "version", "").body == "1").then_some(()));
    for refused in [
        gateway.upload("app", &versioned(2), "?replace=true"),
        gateway.upload("new", &versioned(2), ""),
        gateway.create("app", &json!([])),
        gateway.post("/api/rollback/app", &[], r#"{"release":1}"#),
        gateway.delete("app"),
    ] {
        assert_eq!((refused.status, refused.code()), (503, "read_only"), "{refused:?}");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(gateway.call("app", "version", "").body, "1");
    assert_eq!(gateway.get("/readyz").status, 200);
    gateway.wait_log("data folder is read-only");
}

//! Backups of the data folder while it is used, and the way back from a later version.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::versioned;
use crate::support::{Gateway, metagate};

fn backup(folder: &Path, to: &str) -> Output {
    metagate().args(["backup", to]).current_dir(folder).output().unwrap()
}

/// A gateway whose data folder is this one.
fn restored(data: &Path) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    fs::write(folder.path().join("metagate.toml"), server).unwrap();
    fs::rename(data, folder.path().join("data")).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    gateway
}

#[test]
fn l19_a_backup_made_during_deploys_serves_the_releases_of_one_moment() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    gateway.ship("steady", &versioned(7));
    let folder = gateway.folder.path();
    let done = AtomicBool::new(false);
    let made = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2.. {
                assert_eq!(gateway.upload("app", &versioned(number), "?replace=true").status, 201);
                assert_eq!(gateway.create("app", &json!([])).status, 200);
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let outputs: Vec<_> = (0..8).map(|number| (number, backup(folder, &format!("backup-{number}")))).collect();
        done.store(true, Ordering::Relaxed);
        outputs
    });
    for (number, output) in &made {
        assert!(output.status.success(), "{number}: {output:?}");
    }
    for number in [0, 3, 7] {
        let copy = restored(&folder.join(format!("backup-{number}")));
        let release = copy.inspected("app").unwrap()["release"].clone();
        assert_eq!(copy.call("app", "version", "").body, release.to_string());
        assert_eq!(copy.call("steady", "version", "").body, "7");
        // Earlier releases are there too, and it goes on from here.
        copy.ship("app", &versioned(99));
        assert_eq!(copy.call("app", "version", "").body, "99");
    }
}

#[test]
fn a_backup_goes_into_an_empty_folder_and_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let folder = gateway.folder.path();
    let output = backup(folder, "copy");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "copied 1 deployment with 1 release to copy\n");
    assert_eq!(fs::metadata(folder.join("copy")).unwrap().permissions().mode() & 0o777, 0o700);
    let again = backup(folder, "copy");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("copy exists and is not empty"), "{again:?}");
}

#[test]
fn a_backup_is_not_made_inside_the_data_folder_and_a_missing_one_is_named() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let folder = gateway.folder.path();
    for inside in ["data/inner", "data/deployments/inner", "data/../data/inner"] {
        let output = backup(folder, inside);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && words.contains("is inside the data folder"), "{inside} {words}");
        assert!(!folder.join(inside).exists(), "{inside}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("metagate.toml"), "[server]\ndata_dir = \"gone\"\n").unwrap();
    let output = backup(elsewhere.path(), "copy");
    let words = String::from_utf8_lossy(&output.stderr);
    let missing = format!("there is no data folder {}", elsewhere.path().join("gone").display());
    assert!(output.status.code() == Some(1) && words.contains(&format!("{missing}: check")), "{words}");
    assert!(!elsewhere.path().join("copy").exists());
}

#[test]
fn l20_a_folder_of_a_later_version_is_refused_with_the_way_back_and_one_without_a_version_is_read() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(backup(gateway.folder.path(), data.to_str().unwrap()).status.success());
    let mark = data.join("format");
    assert_eq!(fs::read_to_string(&mark).unwrap(), format!("metagate-data 1 {}\n", env!("CARGO_PKG_VERSION")));
    fs::write(&mark, "metagate-data 2 0.9.0\n").unwrap();
    let config = folder.path().join("metagate.toml");
    fs::write(&config, "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n").unwrap();
    let before = fs::read_dir(&data).unwrap().count();
    let refused = metagate().arg("serve").arg(&config).output().unwrap();
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{words}");
    assert!(words.contains("run metagate 0.9.0 or a later one, or use a backup from before the upgrade"), "{words}");
    // Apart from the lock, nothing was made.
    assert_eq!(fs::read_dir(&data).unwrap().count(), before + 1);
    fs::remove_file(&mark).unwrap();
    let older = restored(&data);
    assert_eq!(older.call("app", "version", "").body, "1");
    assert!(older.folder.path().join("data/format").exists());
}

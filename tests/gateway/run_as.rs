//! `run_as`: the user of workers and installers. A gateway that is not root has none to give.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deploys::package;
use crate::escapes::place::{Place, USERS, USERS_PYTHON};
use crate::faulty::assert_ok;
use crate::support::{Gateway, metagate};

const IDS: &str = "import os\n\ndef ids():\n    return [os.getuid(), os.getgid(), os.getgroups()]\n";

#[test]
fn each_deployment_has_a_user_of_its_own_also_after_a_restart() {
    let Some(place) = Place::of_users("standard") else { return };
    let gateway = &place.gateway;
    let ids = |name: &str| gateway.call(name, "ids", "[]").json();
    gateway.ship("stored", &package(&[("app.py", IDS)]));
    let all = [ids("w"), ids("n"), ids("stored")];
    let uids: Vec<u64> = all.iter().map(|ids| ids[0].as_u64().unwrap()).collect();
    for (ids, uid) in all.iter().zip(&uids) {
        assert!((50_001..=50_999).contains(uid), "{ids}");
        assert_eq!(*ids, json!([uid, uid, []]));
    }
    assert!(uids[0] != uids[1] && uids[1] != uids[2] && uids[0] != uids[2], "{uids:?}");
    let Place { mut gateway, files } = place;
    gateway.signal(Signal::TERM);
    gateway.wait_end();
    let folder = std::mem::replace(&mut gateway.folder, TempDir::new().unwrap());
    drop(gateway);
    let gateway = Gateway::start_in(folder, |command| {
        command.env("PATH", "/usr/bin:/bin");
    });
    gateway.wait_ready();
    for (name, before) in ["w", "n", "stored"].into_iter().zip(all) {
        assert_eq!(gateway.call(name, "ids", "[]").json(), before, "{name}");
    }
    drop(files);
}

#[test]
fn a_stored_release_belongs_to_its_user_and_stays_writable_to_its_functions() {
    let Some(place) = Place::of_users("standard") else { return };
    let writes =
        "import os\n\ndef write():\n    open('new', 'x').close()\n    return [os.getuid(), os.stat('app.py').st_uid]\n";
    place.gateway.ship("stored", &package(&[("app.py", writes), ("inner/file", "x")]));
    let ids: Value = place.gateway.call("stored", "write", "[]").json();
    assert_eq!(ids[0], ids[1], "{ids}");
    let files = place.gateway.folder.path().join("data/deployments/stored/files/1");
    for name in [".", "inner", "inner/file", "new"] {
        assert_eq!(u64::from(fs::metadata(files.join(name)).unwrap().uid()), ids[0], "{name}");
    }
    for (name, mode) in [("data", 0o701), ("data/deployments", 0o701), ("data/deployments/stored/record", 0o600)] {
        let found = fs::metadata(place.gateway.folder.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, mode), "{name}");
    }
}

#[test]
fn check_names_what_is_closed_to_the_user() {
    if !geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("outer/app")).unwrap();
    fs::write(at("outer/app/main.py"), IDS).unwrap();
    let set = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    set("", 0o755);
    set("outer", 0o700);
    let text = format!(
        "[[deployment]]\nname = \"app\"\npath = \"outer/app\"\ninterpreter = {USERS_PYTHON:?}\nrun_as = \"nobody\"\n\
         arguments = \"names\"\n"
    );
    fs::write(at("metagate.toml"), text).unwrap();
    let check = || {
        let output = metagate().arg("check").arg(at("metagate.toml")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = check();
    assert_eq!(code, Some(1), "{message}");
    let named = format!("5:10: deployment \"app\": {:?}, which {:?} lies in, is closed", at("outer"), at("outer/app"));
    assert!(message.contains(&named), "{message}");
    set("outer", 0o711);
    chown(at("outer/app"), Some(65534), None).unwrap();
    assert_eq!(check(), (Some(0), String::new()));
    fs::copy(USERS_PYTHON, at("python")).unwrap();
    set("python", 0o700);
    let text = fs::read_to_string(at("metagate.toml")).unwrap().replace(USERS_PYTHON, "./python");
    fs::write(at("metagate.toml"), text).unwrap();
    let (code, message) = check();
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains(&format!("{:?} is closed to the user", at("python"))), "{message}");
}

#[test]
fn check_names_a_closed_way_to_the_data_folder() {
    if !geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let file = folder.path().join("metagate.toml");
    fs::write(&file, format!("[deploy]\nrun_as = {USERS:?}\n")).unwrap();
    let output = metagate().arg("check").arg(&file).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let named = format!(":2:10: {:?} is closed to the user", folder.path().canonicalize().unwrap());
    assert!(output.status.code() == Some(1) && message.contains(&named), "{message}");
}

#[test]
fn a_named_user_runs_the_workers() {
    if !geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("app")).unwrap();
    fs::write(folder.path().join("app/main.py"), IDS).unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n\
         [[deployment]]\nname = \"app\"\npath = \"app\"\ninterpreter = {USERS_PYTHON:?}\nrun_as = \"nobody\"\n"
    );
    fs::write(folder.path().join("metagate.toml"), text).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let nobody: Vec<&str> = users.lines().find(|line| line.starts_with("nobody:")).unwrap().split(':').collect();
    assert_ok(&gateway.call("app", "ids", "[]"), &format!("[{},{},[]]", nobody[2], nobody[3]));
}

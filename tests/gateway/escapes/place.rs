//! Where the attempts are made: a gateway with an attacker, a neighbour and their files, of root or of another user.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deploys::versioned;
use crate::faulty::python;
use crate::support::{Gateway, fixture, marked, metagate};

/// The user that the gateway runs as where it must not be root: nobody.
pub(crate) const USER: u32 = 65534;
/// A program that this user can run.
pub(crate) const USERS_PYTHON: &str = "/usr/bin/python3";
/// The users that workers run as where the gateway is root: numbers that containers have too.
pub(crate) const USERS: &str = "50000-50999";

/// A gateway with the attacker `w`, a neighbour `n`, and a release in its data folder.
pub(crate) struct Place {
    pub(crate) gateway: Gateway,
    /// The folders of `w` and `n`, and the key that the configuration names.
    pub(crate) files: TempDir,
}

/// One attempt: the function with its arguments.
pub(crate) type Attempt = (&'static str, Value);

impl Place {
    /// `keys`: the keys of isolation, for both deployments and for `[deploy]`.
    pub(super) fn new(keys: &str, python: &str, change: impl FnOnce(&mut Command, &Path)) -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        for name in ["attacker", "neighbour"] {
            fs::create_dir(at(name)).unwrap();
            fs::copy(fixture("escapes/main.py"), at(name).join("main.py")).unwrap();
        }
        fs::write(at("key"), "a secret\n").unwrap();
        fs::write(at("readable"), "no secret\n").unwrap();
        let deployment = |name: &str, folder: &str, more: &str| {
            let path = at(folder);
            format!("[[deployment]]\nname = {name:?}\npath = {path:?}\ninterpreter = {python:?}\n{keys}\n{more}\n")
        };
        let tables = [
            format!("[deploy]\n{keys}\n"),
            deployment("w", "attacker", ""),
            deployment("n", "neighbour", &format!("env = {{ KEY = \"${{file:{}}}\" }}", at("key").display())),
        ];
        let gateway = Gateway::start_with(&tables.join("\n"), |command| {
            command.env("GATEWAY_SECRET", "hunter2");
            change(command, files.path());
        });
        gateway.wait_ready();
        Self { gateway, files }
    }

    pub(super) fn of_this_user(isolation: &str) -> Self {
        Self::new(&format!("isolation = {isolation:?}"), python(), |_, _| {})
    }

    /// With a gateway that is root and workers of users of their own; `None` where this test cannot make one.
    pub(crate) fn of_users(isolation: &str) -> Option<Self> {
        Self::of_users_with(isolation, |_| {})
    }

    /// The same with changes to the command that starts the gateway.
    pub(crate) fn of_users_with(isolation: &str, change: impl FnOnce(&mut Command)) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new(USERS_PYTHON).exists() {
            return None;
        }
        let keys = format!("isolation = {isolation:?}\nrun_as = {USERS:?}");
        Some(Self::new(&keys, USERS_PYTHON, |command, files| {
            for folder in [files, command.get_current_dir().unwrap()] {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
            }
            change(command);
            command.env("PATH", "/usr/bin:/bin");
        }))
    }

    /// With a gateway that is not root; `None` where this test cannot make one.
    pub(crate) fn of_another_user(isolation: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new(USERS_PYTHON).exists() {
            return None;
        }
        let program = tempfile::tempdir().unwrap();
        let copy = program.path().join("metagate");
        fs::copy(metagate().get_program(), &copy).unwrap();
        let place = Self::new(&format!("isolation = {isolation:?}"), USERS_PYTHON, |command, files| {
            let folder = command.get_current_dir().unwrap().to_owned();
            fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
            give_to_user(&folder);
            give_to_user(files);
            let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let stderr = fs::OpenOptions::new().append(true).open(folder.join("stderr.log")).unwrap();
            *command = Command::new("setpriv");
            command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()]);
            command.arg(&copy).args(args).current_dir(folder);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        });
        Some(place)
    }

    /// Whether an attempt succeeds.
    #[track_caller]
    fn succeeds(&self, (function, arguments): &Attempt) -> bool {
        let answer = self.gateway.call("w", function, &arguments.to_string());
        assert_eq!(answer.status, 200, "{function}{arguments}: {answer:?}");
        answer.json().as_bool().unwrap()
    }

    pub(crate) fn pid_of(&self, deployment: &str) -> u32 {
        let pid = self.gateway.call(deployment, "pid", "[]").body.parse().unwrap();
        if pid == 1 { self.first_process_of(deployment) } else { pid }
    }

    /// The worker of a deployment that is the first process of a PID namespace.
    fn first_process_of(&self, deployment: &str) -> u32 {
        let temp = format!("/temp/{deployment}\0");
        let is_first = |pid: &u32| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("environ").contains(&temp)
                && read("status").lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
        };
        marked(self.gateway.pid()).into_iter().find(is_first).unwrap()
    }

    /// Every attempt of this file that needs no privileges.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let folder = self.gateway.folder.path();
        let data = folder.join("data");
        let (gateway, neighbour) = (self.gateway.pid(), self.pid_of("n"));
        let configuration = folder.join("metagate.toml");
        let script = found(&data.join("workers"), "python.py");
        let neighbours = self.files.path().join("neighbour/main.py");
        let key = self.files.path().join("key");
        let proc = |pid: u32, file: &str| format!("/proc/{pid}/{file}");
        self.gateway.ship("stored", &versioned(1));
        let release = found(&data, "app.py");
        vec![
            ("read", json!([configuration])),
            ("read", json!([key])),
            ("read", json!([data.join("lock")])),
            ("read", json!([release])),
            ("read", json!([neighbours])),
            ("loosen_and_read", json!([release])),
            ("loosen_and_read", json!([neighbours])),
            ("read_through_link", json!([configuration])),
            ("read_through_link", json!([neighbours])),
            ("read_through_hard_link", json!([configuration])),
            ("read_through_hard_link", json!([neighbours])),
            ("rename_over", json!([configuration])),
            ("rename_over", json!([script])),
            ("write", json!([neighbours])),
            ("write", json!([script])),
            ("create", json!([data.join("planted")])),
            ("create", json!([self.files.path().join("neighbour/planted.py")])),
            ("create", json!([self.files.path().join("planted")])),
            ("read", json!([proc(gateway, "environ")])),
            ("read", json!([proc(gateway, "fd/2")])),
            ("read", json!([format!("/proc/{gateway}/root{}", configuration.display())])),
            ("read", json!([proc(neighbour, "environ")])),
            ("open_for_writing", json!([proc(neighbour, "mem")])),
            ("try_memory", json!([neighbour])),
            ("trace", json!([neighbour])),
            ("take_descriptor", json!([neighbour])),
            ("send", json!([gateway])),
            ("send_through_descriptor", json!([gateway])),
            ("send", json!([neighbour])),
            ("limit", json!([gateway])),
            ("limit", json!([neighbour])),
        ]
    }

    /// Attempts that only root can make, and those against a gateway of root.
    pub(crate) fn attempts_of_root(&self) -> Vec<Attempt> {
        let gateway = self.gateway.pid();
        let mut attempts = vec![
            ("trace", json!([gateway])),
            ("try_memory", json!([gateway])),
            ("take_descriptor", json!([gateway])),
            ("open_for_writing", json!([format!("/proc/{gateway}/mem")])),
            ("make_namespace", json!([])),
            ("mount", json!([self.files.path().join("attacker")])),
            ("write_line", json!(["/proc/self/oom_score_adj", "1"])),
        ];
        attempts.extend(disk().map(|disk| ("read", json!([disk]))));
        attempts
    }
}

/// Gives a folder with all that is in it to [`USER`].
fn give_to_user(path: &Path) {
    lchown(path, Some(USER), Some(USER)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten() {
        give_to_user(&entry.unwrap().path());
    }
}

/// A file of this name below a folder.
#[track_caller]
fn found(folder: &Path, name: &str) -> PathBuf {
    fn look(folder: &Path, name: &str) -> Option<PathBuf> {
        let entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
        let here = entries.iter().find(|path| path.ends_with(name)).cloned();
        here.or_else(|| entries.iter().find_map(|path| look(path, name)))
    }
    look(folder, name).unwrap_or_else(|| panic!("no {name} below {}", folder.display()))
}

/// A disk of this machine.
fn disk() -> Option<PathBuf> {
    let devices = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().path());
    devices.filter(|path| fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device())).find(|path| {
        let mut byte = [0];
        fs::File::open(path).is_ok_and(|mut disk| std::io::Read::read(&mut disk, &mut byte).is_ok_and(|read| read == 1))
    })
}

#[track_caller]
pub(crate) fn assert_all(place: &Place, attempts: &[Attempt], expected: bool) {
    let wrong: Vec<_> = attempts.iter().filter(|attempt| place.succeeds(attempt) != expected).collect();
    let log = place.gateway.worker_log("w");
    assert!(wrong.is_empty(), "expected success: {expected}, but not so:\n{wrong:#?}\n{log}");
}

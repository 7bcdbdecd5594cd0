//! Every point at which a deploy touches the disk: the gateway is killed there, or the disk fails there. `strace`
//! injects the fault into the gateway's thread for blocking work, at the first, second, third … system call of a
//! kind, until the operation completes without one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::json;
use tempfile::{NamedTempFile, TempDir};

use super::{multipart, versioned};
use crate::support::{Answer, Gateway, wait_for};

/// System calls that touch the disk. An operation makes some of them.
const CALLS: [&str; 15] = [
    "fsync",
    "rename",
    "renameat2",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "rmdir",
    "openat2",
    "syncfs",
    "pwrite64",
    "write",
    "openat",
];
/// Threads also wake each other with this call, so no error is injected into it.
const WAKES: &str = "write";
/// No operation makes this many calls of one kind.
const MOST: u32 = 200;

/// The operation during which a fault is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Upload,
    Deploy,
    Redeploy,
    Delete,
}

/// The fault that is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Error(&'static str),
}

/// A gateway with one deployment, `app`, and its expected state.
struct Subject {
    gateway: Gateway,
    /// The version that the gateway acknowledged last; none while nothing is deployed.
    version: Option<u32>,
    /// The newest version that was sent.
    newest: u32,
    failures: u32,
}

impl Subject {
    fn new() -> Self {
        let gateway = Gateway::start_with("", one_thread);
        let mut subject = Self { gateway, version: None, newest: 0, failures: 0 };
        subject.ship();
        subject
    }

    fn ship(&mut self) {
        self.newest += 1;
        self.gateway.ship("app", &versioned(self.newest));
        self.version = Some(self.newest);
    }

    /// Prepares the state that an operation starts from. This also starts the thread for blocking work.
    fn prepare(&mut self, operation: Operation) {
        match operation {
            Operation::Deploy => {
                if self.version.is_some() {
                    assert_eq!(self.gateway.delete("app").status, 200);
                    self.version = None;
                }
                self.newest += 1;
                assert_eq!(self.gateway.upload("app", &versioned(self.newest), "").status, 201);
            }
            Operation::Redeploy => {
                if self.version.is_none() {
                    self.ship();
                }
                self.newest += 1;
                assert_eq!(self.gateway.upload("app", &versioned(self.newest), "?replace=true").status, 201);
            }
            Operation::Upload | Operation::Delete => self.ship(),
        }
    }

    /// Performs the operation; none if there was no answer.
    fn perform(&mut self, operation: Operation) -> Option<Answer> {
        let json = [("content-type", "application/json")];
        match operation {
            Operation::Upload => {
                let (kind, body) = multipart("app", "[]", "[]", &versioned(self.newest + 1));
                self.gateway.try_post("/api/package/create?replace=true", &[("content-type", &kind)], body)
            }
            Operation::Deploy | Operation::Redeploy => {
                self.gateway.try_post("/api/deploy/create", &json, json!({ "suffix": "app" }).to_string())
            }
            Operation::Delete => {
                let body = json!({ "suffix": "app", "prefix": "local", "version": "v1" });
                self.gateway.try_post("/api/deploy/delete", &json, body.to_string())
            }
        }
    }

    /// The version that serves now, if any.
    #[track_caller]
    fn serving(&self) -> Option<u32> {
        wait_for("an answer", || {
            let answer = self.gateway.call("app", "version", "");
            match (answer.status, answer.code()) {
                (200, _) => Some(Some(answer.body.parse().unwrap())),
                (404, _) => Some(None),
                (_, "starting") => None,
                // A first deploy that failed is listed and cannot be called.
                (503, "load_failed") => Some(None),
                _ => panic!("{answer:?}\n{}", self.gateway.log()),
            }
        })
    }

    /// Checks that the state is the one before or the one after the operation, and the latter if it was acknowledged.
    #[track_caller]
    fn check(&mut self, operation: Operation, acknowledged: bool, place: &str) {
        let (before, after) = match operation {
            Operation::Upload => (self.version, self.version),
            Operation::Deploy | Operation::Redeploy => (self.version, Some(self.newest)),
            Operation::Delete => (self.version, None),
        };
        let serving = self.serving();
        let is_right = if acknowledged { serving == after } else { serving == before || serving == after };
        let log = || self.gateway.log();
        assert!(
            is_right,
            "{place}: {serving:?} serves, before {before:?}, after {after:?}, acknowledged {acknowledged}\n{}",
            log()
        );
        self.version = serving;
    }

    /// Starts another gateway on the same folder.
    fn restart(&mut self) {
        self.gateway.wait_end();
        let folder = std::mem::replace(&mut self.gateway.folder, TempDir::new().unwrap());
        self.gateway = Gateway::start_in(folder, one_thread);
        let staging = self.gateway.folder.path().join("data/staging");
        assert_eq!(fs::read_dir(staging).unwrap().count(), 0, "files are left in the staging folder");
    }

    /// The thread for blocking work. There is one only, so that the order of its calls is always the same.
    fn thread(&self) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.gateway.pid())).unwrap().flatten();
        let is_blocking = |id: &u32| {
            let name = fs::read_to_string(format!("/proc/{}/task/{id}/comm", self.gateway.pid())).unwrap_or_default();
            name.starts_with("tokio-")
        };
        let ids: Vec<u32> =
            tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).filter(is_blocking).collect();
        let [id] = ids.as_slice() else { panic!("{ids:?} are threads for blocking work") };
        *id
    }
}

fn one_thread(command: &mut Command) {
    command.arg("--blocking-threads=1");
}

/// A running strace; it detaches when it is dropped.
struct Tracer {
    process: Child,
    log: NamedTempFile,
}

impl Tracer {
    /// Injects a fault into the call of this kind that is number `when`.
    fn attach(thread: u32, call: &str, fault: Fault, when: u32) -> Self {
        let what = match fault {
            Fault::Kill => "signal=SIGKILL".to_owned(),
            Fault::Error(error) => format!("error={error}"),
        };
        Self::with(thread, call, &["-e", &format!("inject={call}:{what}:when={when}")])
    }

    /// Starts strace on a thread with further options.
    fn with(thread: u32, calls: &str, options: &[&str]) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut command = Command::new("strace");
        command.arg("-o").arg(log.path()).args(["-e", &format!("trace={calls}")]);
        command.args(options).args(["-p", &thread.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("strace is needed: install it");
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self { process, log }
    }

    /// Detaches, and returns whether strace has injected the fault.
    fn has_injected(self) -> bool {
        self.log_at_end().contains("INJECTED")
    }

    /// Detaches, and returns the calls that strace has seen.
    fn log_at_end(mut self) -> String {
        self.detach();
        fs::read_to_string(self.log.path()).unwrap()
    }

    fn detach(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _gone = rustix::process::kill_process(pid, Signal::INT);
        }
        self.process.wait().unwrap();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Injects a fault into an operation at each call of each kind, and returns how many points of each kind there were.
fn sweep(operation: Operation, fault: Fault) -> BTreeMap<&'static str, u32> {
    let mut points = BTreeMap::new();
    let mut subject = Subject::new();
    for call in CALLS.into_iter().filter(|call| fault == Fault::Kill || *call != WAKES) {
        for when in 1..MOST {
            subject.prepare(operation);
            if !inject(&mut subject, operation, fault, call, when) {
                break;
            }
            points.insert(call, when);
        }
    }
    let all: u32 = points.values().sum();
    eprintln!("{operation:?}, {fault:?}: {all} points {points:?}, {} failures reported", subject.failures);
    points
}

/// Performs the operation once under the tracer and checks its effect. Returns whether the fault was injected.
fn inject(subject: &mut Subject, operation: Operation, fault: Fault, call: &str, when: u32) -> bool {
    let place = &format!("{operation:?}, {fault:?} at {call} {when}");
    let tracer = Tracer::attach(subject.thread(), call, fault, when);
    let answer = subject.perform(operation);
    let has_injected = tracer.has_injected();
    let acknowledged = answer.as_ref().is_some_and(|answer| answer.status < 300);
    match fault {
        Fault::Kill => {
            // The kill may come after the answer, when the gateway removes files that it no longer needs; a process
            // that is being killed does not answer.
            let was_killed = answer.is_none() || subject.gateway.try_post("/healthz", &[], "").is_none();
            if was_killed {
                subject.restart();
            } else {
                assert!(acknowledged, "{place}: {answer:?}\n{}", subject.gateway.log());
            }
            subject.check(operation, acknowledged, place);
            was_killed
        }
        Fault::Error(error) => {
            let answer = answer.unwrap_or_else(|| panic!("{place}: no answer\n{}", subject.gateway.log()));
            if !acknowledged {
                subject.failures += 1;
                // A release whose folder cannot be read does not load.
                let expected = [(500, "storage_error"), (507, "insufficient_storage"), (422, "load_failed")];
                let is_expected = expected.contains(&(answer.status, answer.code()));
                assert!(is_expected, "{place}: {answer:?}\n{}", subject.gateway.log());
            }
            subject.check(operation, acknowledged, place);
            // A full disk is temporary; after an I/O error the gateway refuses changes until it is restarted.
            let readiness = subject.gateway.get("/readyz").json();
            if readiness["storage"].is_array() {
                assert_eq!(error, "EIO", "{place}: {readiness}");
                let refused = subject.gateway.upload("other", &versioned(1), "");
                assert_eq!((refused.status, refused.code()), (503, "read_only"), "{place}");
                subject.gateway.signal(Signal::TERM);
                subject.restart();
                subject.check(operation, acknowledged, place);
            }
            has_injected
        }
    }
}

#[test]
fn l8_a_record_is_synced_before_and_after_it_takes_its_place() {
    let mut subject = Subject::new();
    subject.prepare(Operation::Redeploy);
    // With the paths of descriptors.
    let tracer = Tracer::with(subject.thread(), "fsync,syncfs,rename,renameat,renameat2", &["-y"]);
    let answer = subject.perform(Operation::Redeploy).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let log = tracer.log_at_end();
    let calls: Vec<&str> = log.lines().filter(|line| line.ends_with("= 0")).collect();
    let position = |calls: &[&str], call: &str, path: &str| {
        calls.iter().rposition(|line| line.starts_with(call) && line.contains(path)).unwrap_or_else(|| panic!("{log}"))
    };
    let renamed = position(&calls, "rename", "/deployments/app/record.new\", ");
    let written = position(&calls[..renamed], "fsync", "/deployments/app/record.new>");
    // The release's files are synced before the record names them, and nothing is renamed between the two.
    position(&calls[..written], "fsync", "/app.py>");
    position(&calls[renamed..], "fsync", "/deployments/app>");
}

#[test]
fn l7_a_kill_at_any_point_of_an_upload_leaves_what_serves() {
    assert!(sweep(Operation::Upload, Fault::Kill).len() > 4);
}

#[test]
fn l7_a_kill_at_any_point_of_a_first_deploy_leaves_nothing_or_the_release() {
    assert!(sweep(Operation::Deploy, Fault::Kill).len() > 4);
}

#[test]
fn l7_a_kill_at_any_point_of_a_redeploy_leaves_the_old_release_or_the_new() {
    assert!(sweep(Operation::Redeploy, Fault::Kill).len() > 4);
}

#[test]
fn l7_a_kill_at_any_point_of_a_delete_leaves_the_deployment_or_nothing() {
    assert!(sweep(Operation::Delete, Fault::Kill).len() > 4);
}

#[test]
fn l11_a_disk_error_at_any_point_of_a_redeploy_is_reported_and_the_old_release_serves() {
    sweep(Operation::Redeploy, Fault::Error("EIO"));
}

#[test]
fn l11_a_disk_error_at_any_point_of_a_delete_is_reported() {
    sweep(Operation::Delete, Fault::Error("EIO"));
}

#[test]
fn l10_a_full_disk_at_any_point_of_an_upload_is_reported_and_later_uploads_succeed() {
    sweep(Operation::Upload, Fault::Error("ENOSPC"));
}

#[test]
fn l10_a_full_disk_at_any_point_of_a_redeploy_is_reported_and_later_deploys_succeed() {
    sweep(Operation::Redeploy, Fault::Error("ENOSPC"));
}

#[test]
fn l10_a_full_disk_at_any_point_of_a_delete_is_reported_and_later_deletes_succeed() {
    sweep(Operation::Delete, Fault::Error("ENOSPC"));
}

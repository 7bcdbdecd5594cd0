//! Deployments of `tests/fixtures/faults`, whose workers misbehave on purpose, and helpers that inspect processes.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::support::{Answer, Gateway, fixture, is_alive, wait_for};

/// A deployment of a folder of `tests/fixtures/faults`, named `w` by default.
pub(crate) struct Faulty {
    name: &'static str,
    folder: &'static str,
    runtime: Option<&'static str>,
    keys: String,
    env: Vec<(&'static str, String)>,
}

impl Faulty {
    /// A deployment whose folder has its own worker, `worker.py`, which speaks the protocol without metagate's script.
    pub(crate) fn worker(folder: &'static str) -> Self {
        let shared = fixture("faults").display().to_string();
        let env = vec![("PYTHONPATH", shared), ("PYTHONDONTWRITEBYTECODE", "1".to_owned())];
        Self { name: "w", folder, runtime: None, keys: String::new(), env }
    }

    /// A deployment of functions that one of metagate's own workers runs.
    pub(crate) fn functions(runtime: &'static str, folder: &'static str) -> Self {
        Self { name: "w", folder, runtime: Some(runtime), keys: String::new(), env: Vec::new() }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Adds lines of TOML to the deployment's table.
    pub(crate) fn keys(self, keys: &str) -> Self {
        Self { keys: format!("{keys}\n"), ..self }
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<Path>) -> Self {
        self.env.push((name, value.as_ref().display().to_string()));
        self
    }

    pub(crate) fn toml(&self) -> String {
        let Self { name, folder, keys, .. } = self;
        let path = fixture("faults").join(folder);
        let how = match self.runtime {
            Some(runtime) => format!("runtime = {runtime:?}"),
            None => format!("runtime = \"command\"\ncommand = [{:?}, \"-S\", \"worker.py\"]", python()),
        };
        // Most fixtures write to a file, or files of a folder, that a variable names.
        let named = self.env.iter().map(|(_, value)| Path::new(value)).filter(|path| path.starts_with(env::temp_dir()));
        let write: Vec<_> = named.map(|path| if path.is_dir() { path } else { path.parent().unwrap() }).collect();
        let variables: Vec<String> = self.env.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        format!(
            "[[deployment]]\nname = {name:?}\npath = {path:?}\n{how}\nwrite = {write:?}\nenv = {{ {} }}\n{keys}\n",
            variables.join(", ")
        )
    }
}

/// The path of Python itself. The script of a version manager in front of it would slow down each start.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// Runs `work`, and returns its value and the time it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

#[track_caller]
pub(crate) fn assert_ok(answer: &Answer, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (200, body), "{answer:?}");
}

#[track_caller]
pub(crate) fn assert_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
}

/// The process id of the worker that answers for `w` now.
#[track_caller]
pub(crate) fn pid_of_w(gateway: &Gateway) -> u32 {
    let answer = gateway.call("w", "pid", "[]");
    assert_eq!(answer.status, 200, "{answer:?}\n{}", gateway.log());
    answer.body.parse().unwrap()
}

/// A number of a deployment's entry in `/readyz`.
pub(crate) fn count(gateway: &Gateway, deployment: &str, key: &str) -> u64 {
    gateway.readiness(deployment)[key].as_u64().unwrap()
}

#[track_caller]
pub(crate) fn wait_count(gateway: &Gateway, deployment: &str, key: &str, wanted: u64) {
    let what = format!("{key} = {wanted} of {deployment}");
    wait_for(&what, || (count(gateway, deployment, key) == wanted).then_some(()));
}

pub(crate) fn send_signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until workers have written at least so many whole lines to a file, and returns the lines.
#[track_caller]
pub(crate) fn recorded(file: &Path, at_least: usize) -> Vec<String> {
    wait_for("the lines that workers record", || {
        let lines = lines_of(file);
        (lines.len() >= at_least).then_some(lines)
    })
}

pub(crate) fn lines_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// Whether the gateway made a control group for a worker. Without one it finds the worker's tree by the environment.
pub(crate) fn has_control_group(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains("/metagate-")
}

/// The function of `w14-grandchildren` that leaves behind the process that is hardest to find on this machine.
pub(crate) fn hardest_to_find(worker: u32) -> &'static str {
    if has_control_group(worker) { "leave_behind" } else { "leave_marked" }
}

/// Waits until none of the processes exists, and returns the time it took.
#[track_caller]
pub(crate) fn wait_gone(pids: &[u32]) -> Duration {
    let start = Instant::now();
    wait_for(&format!("the end of {pids:?}"), || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
    start.elapsed()
}

/// The `/proc/PID/stat` lines of children of the gateway that have ended and are not reaped.
pub(crate) fn zombies_of(gateway: &Gateway) -> Vec<String> {
    let parent = gateway.pid().to_string();
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        fs::read_to_string(entry.path().join("stat")).ok()
    });
    stats
        .filter(|stat| {
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            let mut fields = rest.split(' ');
            fields.next() == Some("Z") && fields.next() == Some(parent.as_str())
        })
        .collect()
}

/// The number of open descriptors of a process. Files do not count: a log file is opened at its first line.
pub(crate) fn descriptors_of(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|target| !target.is_file()).count()
}

/// A figure of `/proc/PID/status` in KiB: `VmRSS` is the memory now, `VmHWM` the most so far.
pub(crate) fn memory_of(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Resets `VmHWM` to the memory of this moment, which it returns, in KiB.
pub(crate) fn reset_peak(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    memory_of(pid, "VmRSS")
}

/// The processor time of a process without its children, in ticks of 10 ms.
pub(crate) fn ticks_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Sets the limit of open descriptors of a process, and returns the limit before.
pub(crate) fn limit_descriptors(pid: u32, current: u64) -> u64 {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let before = rustix::process::prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
    before.current.unwrap_or(u64::MAX)
}

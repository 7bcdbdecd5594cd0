//! One process: started through the launcher with nothing inherited but what it needs, its end seen through a pidfd, which
//! tokio's child holds. Workers have a channel; what is said on it is left to `ipc`, when to start and stop them to
//! `supervisor`. What else is run, to its end, is left to `tool`.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::runtime::Plan;
use crate::worker::launch::{self, Orders};
use crate::worker::orphans::OwnChildren;
use crate::worker::tree::{Instance, MARK, Tree};

/// The descriptor of the channel in the worker.
const CHANNEL_FD: i32 = 3;
const OWN_PROGRAM: &str = "/proc/self/exe";
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts processes for one gateway. Only one thread may use it, and that thread must live as long as the gateway: a
/// process is killed when the thread that started it ends.
#[derive(Debug)]
pub struct Spawner {
    /// The program that knows the word `launch`.
    launcher: PathBuf,
    instance: Instance,
    next_worker: AtomicU64,
    children: Arc<OwnChildren>,
}

/// A worker that was just started, with the gateway's ends of its descriptors.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub process: Process,
    /// The channel, fd 3 in the worker.
    pub channel: UnixStream,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

/// What to start, and with what.
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) args: &'a [OsString],
    /// Its whole environment but for the mark.
    pub(super) env: &'a [(OsString, OsString)],
    pub(super) folder: &'a Path,
    pub(super) max_memory: Option<u64>,
    /// Size of the largest file that it may write.
    pub(super) max_file: Option<u64>,
    /// Where its standard output goes.
    pub(super) stdout: Stdio,
    /// Its end of the channel.
    pub(super) channel: Option<StdUnixStream>,
}

/// What was started.
pub(super) struct Started {
    pub(super) process: Process,
    /// Its standard output, if that was to be piped.
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: ChildStderr,
}

/// A running process and its tree.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The tree that it heads.
    pub tree: Tree,
    children: Arc<OwnChildren>,
    ended: Option<Ended>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Nobody could tell.
    Unknown,
}

impl Ended {
    /// Whether it was for a file that would have grown beyond its limit.
    #[must_use]
    pub fn is_by_file_size(self) -> bool {
        self == Self::Signal(Signal::XFSZ.as_raw())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "exited by signal {signal}"),
            Self::Unknown => f.write_str("exited"),
        }
    }
}

impl Spawner {
    /// For the gateway process `instance`.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self { launcher: OWN_PROGRAM.into(), instance, next_worker: AtomicU64::new(1), children: Arc::default() }
    }

    /// With another program for the launcher: for a process that is not metagate itself.
    #[must_use]
    pub fn launched_by(self, launcher: PathBuf) -> Self {
        Self { launcher, ..self }
    }

    /// Reaps what workers leave behind while they live, every few seconds for as long as it is awaited. Only the first
    /// process of a namespace has anything to do here.
    pub async fn reap_orphans(&self) {
        while std::process::id() == 1 {
            tokio::time::sleep(REAP_INTERVAL).await;
            self.children.reap_orphans();
        }
    }

    /// Starts a worker. Fails with what could not be had; nothing is left behind then.
    pub fn spawn(&self, plan: &Plan, max_memory: Option<u64>) -> anyhow::Result<Spawned> {
        let (channel, theirs) = channel().context("making the channel")?;
        let Started { process, stdout, stderr } = self.start(Start {
            program: &plan.program,
            args: &plan.args,
            env: &plan.env,
            folder: &plan.folder,
            max_memory,
            max_file: None,
            stdout: Stdio::piped(),
            channel: Some(theirs),
        })?;
        let stdout = stdout.context("taking standard output")?;
        Ok(Spawned { process, channel, stdout, stderr })
    }

    /// Starts any process. Fails with what could not be had; nothing is left behind then.
    pub(super) fn start(&self, start: Start<'_>) -> anyhow::Result<Started> {
        let worker = self.next_worker.fetch_add(1, Ordering::Relaxed);
        let tree = self.instance.tree(worker, start.max_memory).context("making a control group")?;
        match launch(&self.launcher, start, &tree, &self.children) {
            Ok((child, stdout, stderr)) => {
                let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
                let tree = Tree { pid, ..tree };
                let children = Arc::clone(&self.children);
                Ok(Started { process: Process { child, tree, children, ended: None }, stdout, stderr })
            }
            Err(error) => {
                tree.group.remove();
                Err(error)
            }
        }
    }
}

fn channel() -> io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

fn launch(
    launcher: &Path,
    start: Start<'_>,
    tree: &Tree,
    children: &OwnChildren,
) -> anyhow::Result<(Child, Option<ChildStdout>, ChildStderr)> {
    let orders = Orders {
        parent: i32::try_from(std::process::id())?,
        join: tree.group.paths().map(Into::into).collect(),
        max_data: start.max_memory.filter(|_| !tree.group.bounds_memory),
        max_file: start.max_file,
        channel: start.channel.is_some(),
    };
    let mut command = Command::new(launcher);
    command
        .args(orders.to_args())
        .arg(start.program)
        .args(start.args)
        .env_clear()
        .envs(start.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, tree.mark())
        .current_dir(start.folder)
        .stdin(Stdio::null())
        .stdout(start.stdout)
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(channel) = start.channel {
        let placed = FdMapping { parent_fd: channel.into(), child_fd: CHANNEL_FD };
        command.fd_mappings(vec![placed]).context("placing the channel")?;
    }
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let mut child = children
        .start(|| command.spawn(), Child::id)
        .with_context(|| format!("starting {:?} in {:?}", start.program, start.folder))?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take().context("taking standard error")?;
    Ok((child, stdout, stderr))
}

impl Process {
    /// Waits until the process has ended and reaps it. Cancelling it loses nothing.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = self.child.wait().await.map_or(Ended::Unknown, how);
        self.children.forget(self.tree.pid);
        self.ended = Some(ended);
        ended
    }

    /// Kills the process and its process group at once. It may have moved to another group.
    pub fn kill(&self) {
        self.tree.kill();
        if let Some(pid) = self.tree.pid.filter(|_| self.ended.is_none()) {
            let _gone = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Ends every process of the tree and removes its control groups. Blocks for some milliseconds.
    pub fn finish_tree(&self) {
        self.tree.finish();
        self.children.reap_orphans();
    }

    /// Whether the launcher could not run the program: its complaint is then the last thing on standard error.
    #[must_use]
    pub fn was_not_run(ended: Ended, stderr: &str) -> bool {
        ended == Ended::Code(i32::from(launch::EXIT_NOT_RUN)) && stderr.starts_with(launch::COMPLAINT)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}

fn how(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Unknown,
    }
}

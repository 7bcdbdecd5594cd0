//! Starts child processes: each through the launcher, in a process group and control group of its own, with a clean
//! environment, its descriptors 0 to 2 and, for a worker, its end of the channel.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use parking_lot::RwLock;
use rustix::process::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::process::busyness::Looks;
use crate::process::child::Process;
use crate::process::control_group::TreeLimits;
use crate::process::environment::MARK;
use crate::process::launch::Orders;
use crate::process::orphans::OwnChildren;
use crate::process::tree::{Instance, Tree};
use crate::process::walls::{Hidden, Walls};
use crate::supervise;

/// The descriptor of the channel in a worker. Source: the worker protocol.
const CHANNEL_FD: i32 = 3;
const OWN_PROGRAM: &str = "/proc/self/exe";
const REAP_INTERVAL: Duration = Duration::from_secs(5);
/// The name of [`Spawner::reap_orphans`] as a long-lived task.
pub const REAPER: &str = "orphan-reaper";
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The name of [`Spawner::share_processors`] as a long-lived task.
pub const SHARES: &str = "processor-shares";

/// Starts processes for one gateway. A thread that uses it must live as long as what it starts: the kernel kills a
/// child when the *thread* that started it ends (`PR_SET_PDEATHSIG`, see `prctl(2)`). Workers and tools are started by
/// the thread that serves, processes of plugins by a thread of their own.
#[derive(Debug)]
pub struct Spawner {
    /// The program that has the command `launch`.
    launcher: PathBuf,
    instance: Instance,
    next_child: AtomicU64,
    children: Arc<OwnChildren>,
    hidden: RwLock<Arc<Hidden>>,
}

/// What to start, and with what.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program, absolute.
    pub program: &'a Path,
    /// Its arguments.
    pub args: &'a [OsString],
    /// Its whole environment, apart from the mark of its process tree.
    pub env: &'a [(OsString, OsString)],
    /// Its working directory.
    pub folder: &'a Path,
    /// Memory of the process tree in bytes; of each process where there is no control group. Without a limit, a quarter
    /// of the machine's where there is a control group.
    pub max_memory: Option<u64>,
    /// Its share of the processors relative to other process trees, where there is a control group. 1 to 10000.
    pub cpu_weight: Option<u32>,
    /// Size in bytes of the largest file that it may write.
    pub max_file: Option<u64>,
    /// Where its standard output goes. Standard error is always a pipe.
    pub stdout: Stdio,
    /// The worker's end of the channel.
    pub channel: Option<UnixStream>,
    /// What it may reach; everything that the gateway's user may if there are no walls.
    pub walls: Option<&'a Walls>,
}

/// A process that was just started, with the gateway's ends of its pipes.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Process,
    /// Its standard output, if [`Start::stdout`] was a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error.
    pub stderr: ChildStderr,
}

impl Spawner {
    /// A spawner for the gateway process `instance`.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self {
            launcher: OWN_PROGRAM.into(),
            instance,
            next_child: AtomicU64::new(1),
            children: Arc::default(),
            hidden: RwLock::default(),
        }
    }

    /// Hides these files and folders from processes with walls that are started from now on.
    pub fn hide(&self, hidden: Hidden) {
        *self.hidden.write() = Arc::new(hidden);
    }

    /// The same with another program as the launcher, for a process that is not metagate itself, such as a test.
    #[must_use]
    pub fn launched_by(self, launcher: PathBuf) -> Self {
        Self { launcher, ..self }
    }

    /// Reaps orphans of process trees, and ends those that have left their tree, every few seconds, for as long as it
    /// is awaited.
    pub async fn reap_orphans(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REAP_INTERVAL).await;
            supervise::panic_point(REAPER);
            let children = Arc::clone(&self.children);
            // It reads files of /proc.
            let _panicked = tokio::task::spawn_blocking(move || children.end_strays()).await;
        }
    }

    /// Has process trees share the processors while they are busy, for as long as it is awaited.
    pub async fn share_processors(self: Arc<Self>) {
        let mut looks = Looks::default();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            supervise::panic_point(SHARES);
            let spawner = Arc::clone(&self);
            // It reads files of control groups, and moves processes.
            let looked = tokio::task::spawn_blocking(move || {
                spawner.instance.share_processors(&mut looks);
                looks
            });
            looks = looked.await.unwrap_or_default();
        }
    }

    /// Starts the program that takes over from this gateway, with `channel` as standard input and this environment
    /// variable set to 1: it is no part of a process tree, and outlives this process.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub fn start_successor(
        &self,
        program: &Path,
        arguments: &[OsString],
        variable: &str,
        channel: OwnedFd,
    ) -> std::io::Result<std::process::Child> {
        let mut command = Command::new(program);
        command.args(arguments).env(variable, "1").stdin(Stdio::from(channel));
        self.children.start_alone(|| command.spawn())
    }

    /// Forgets a successor that has ended.
    pub fn forget_successor(&self, pid: u32) {
        self.children.forget(i32::try_from(pid).ok().and_then(Pid::from_raw));
    }

    /// Removes the control groups of this gateway, once every process has ended.
    pub fn remove_groups(&self) {
        self.instance.remove_groups();
    }

    /// Ends the processes that gateways which have ended left behind. Returns how many it found. Blocks.
    pub fn sweep_orphans(&self) -> usize {
        self.instance.sweep_orphans()
    }

    /// Starts a process.
    ///
    /// # Errors
    ///
    /// A control group, a pipe or the process cannot be made. Nothing is left behind then. A program that the launcher
    /// cannot run is not an error here: see [`Process::was_not_run`].
    pub fn start(&self, start: Start<'_>) -> anyhow::Result<Started> {
        let number = self.next_child.fetch_add(1, Ordering::Relaxed);
        let processes = start.walls.and_then(|walls| walls.max_processes);
        let limits = TreeLimits { memory: start.max_memory, processes, cpu_weight: start.cpu_weight };
        let tree = self.instance.tree(number, limits).context("making a control group")?;
        match self.launch(start, &tree) {
            Ok((child, stdout, stderr)) => {
                let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
                let process = Process::new(child, Tree { pid, ..tree }, Arc::clone(&self.children));
                Ok(Started { process, stdout, stderr })
            }
            Err(error) => {
                tree.group.remove();
                Err(error)
            }
        }
    }

    fn launch(&self, start: Start<'_>, tree: &Tree) -> anyhow::Result<(Child, Option<ChildStdout>, ChildStderr)> {
        let orders = Orders {
            parent: i32::try_from(std::process::id())?,
            join: tree.group.paths().map(Into::into).collect(),
            max_data: start.max_memory.filter(|_| !tree.group.bounds_memory),
            max_file: start.max_file,
            channel: start.channel.is_some(),
            walls: start.walls.map(|walls| (walls.clone(), Arc::clone(&self.hidden.read()))),
        };
        let mut command = Command::new(&self.launcher);
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
            let mapping = FdMapping { parent_fd: channel.into(), child_fd: CHANNEL_FD };
            command.fd_mappings(vec![mapping]).context("passing on the channel")?;
        }
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let mut child = self
            .children
            .start(tree.mark(), || command.spawn(), Child::id)
            .with_context(|| format!("starting {:?} in {:?}", start.program, start.folder))?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take().context("taking standard error")?;
        Ok((child, stdout, stderr))
    }
}

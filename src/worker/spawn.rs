//! The start of a worker's process with its channel, and the process as its supervisor sees it. Both are traits: a
//! simulation supplies processes of its own. When to start one is left to `supervisor`, what is said on the channel to
//! `ipc`.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::process::Stdio;

use anyhow::Context;
use tokio::io::AsyncRead;
use tokio::net::UnixStream;

use crate::process::child::{Ended, Process};
use crate::process::spawner::{Spawner, Start, Started};
use crate::runtime::Plan;
use crate::worker::settings::Settings;

/// One of the outputs of a worker.
pub type OutputPipe = Box<dyn AsyncRead + Send + Unpin>;

/// Starts worker processes.
pub trait StartWorker: Send + Sync {
    /// Starts a worker process as `plan` and `settings` say.
    ///
    /// # Errors
    ///
    /// The channel, a control group or the process cannot be made. Nothing is left behind then.
    fn start_worker(&self, plan: &Plan, settings: &Settings) -> anyhow::Result<Spawned>;
}

/// A worker process that was just started, with the gateway's ends of its descriptors.
pub struct Spawned {
    /// The process.
    pub process: Box<dyn WorkerProcess>,
    /// The channel, descriptor 3 in the worker.
    pub channel: UnixStream,
    /// Its standard output.
    pub stdout: OutputPipe,
    /// Its standard error.
    pub stderr: OutputPipe,
}

/// The process of a worker. Dropping it kills the process.
pub trait WorkerProcess: Send + Sync {
    /// Waits until the process has ended. It can be called again, also after it was cancelled.
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Ended> + Send + '_>>;

    /// The id of its first process, if it is one of this machine.
    fn id(&self) -> Option<i32>;

    /// Asks the process to end.
    fn terminate(&self);

    /// Kills the process at once.
    fn kill(&self);

    /// How it ended, and the limit that it had reached, if any.
    fn how(&self, ended: Ended) -> String;

    /// Kills every process of its tree and returns when none is left.
    fn finish_tree(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl StartWorker for Spawner {
    fn start_worker(&self, plan: &Plan, settings: &Settings) -> anyhow::Result<Spawned> {
        let (channel, theirs) = channel().context("making the channel")?;
        let Started { process, stdout, stderr } = self.start(Start {
            program: &plan.program,
            args: &plan.args,
            env: &plan.env,
            folder: &plan.folder,
            max_memory: settings.max_memory,
            cpu_weight: Some(settings.cpu_weight),
            max_file: None,
            stdout: Stdio::piped(),
            channel: Some(theirs),
            walls: plan.walls.as_ref(),
        })?;
        let stdout = stdout.context("taking standard output")?;
        Ok(Spawned { process: Box::new(process), channel, stdout: Box::new(stdout), stderr: Box::new(stderr) })
    }
}

impl WorkerProcess for Process {
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Ended> + Send + '_>> {
        Box::pin(Self::ended(self))
    }

    fn id(&self) -> Option<i32> {
        self.tree.pid.map(|pid| pid.as_raw_nonzero().get())
    }

    fn terminate(&self) {
        self.tree.terminate();
    }

    fn kill(&self) {
        Self::kill(self);
    }

    fn how(&self, ended: Ended) -> String {
        Self::how(self, ended)
    }

    fn finish_tree(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            // It reads files of /proc, and waits for processes that are ending.
            let finished = tokio::task::spawn_blocking(move || Self::finish_tree(&self)).await;
            if let Err(error) = finished {
                tracing::error!(%error, "process tree of a worker could not be ended");
            }
        })
    }
}

/// Both ends of a new channel: the gateway's and the worker's.
///
/// # Errors
///
/// There is no free descriptor.
pub fn channel() -> io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

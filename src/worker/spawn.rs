//! Starts the process of a worker with its channel. When to start one is left to `supervisor`, what is said on the
//! channel to `ipc`.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;

use anyhow::Context;
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdout};

use crate::process::child::Process;
use crate::process::spawner::{Spawner, Start, Started};
use crate::runtime::Plan;
use crate::worker::settings::Settings;

/// A worker process that was just started, with the gateway's ends of its descriptors.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub process: Process,
    /// The channel, descriptor 3 in the worker.
    pub channel: UnixStream,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

/// Starts a worker process as `plan` and `settings` say.
///
/// # Errors
///
/// The channel, a control group or the process cannot be made. Nothing is left behind then.
pub fn spawn(spawner: &Spawner, plan: &Plan, settings: &Settings) -> anyhow::Result<Spawned> {
    let (channel, theirs) = channel().context("making the channel")?;
    let Started { process, stdout, stderr } = spawner.start(Start {
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
    Ok(Spawned { process, channel, stdout, stderr })
}

fn channel() -> io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

//! Utilities: programs that run to their end, such as git, npm or pip. They are started through the same launcher as
//! workers, with limits of time, memory and file size, and their whole process tree ends with them.

use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::process::child::{Ended, Process};
use crate::process::output::{LAST_OUTPUT, Output};
use crate::process::program;
use crate::process::spawner::{Spawner, Start, Started};
use crate::process::utility::printed::{Lines, Tail};
use crate::process::walls::Walls;

mod printed;

/// Bytes of one read, and the pause after a full one: a utility can print at most some 8 MB a second.
const READ_BYTES: usize = 16 * 1024;
const FLOOD_PAUSE: Duration = Duration::from_millis(2);
/// How long the end of a killed process is awaited: one that hangs in a system call ends only when the call does.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// A program to run to its end. It inherits nothing from the gateway; its standard input is empty.
#[derive(Debug)]
pub struct Utility {
    /// The program, absolute: see [`find`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// Its limits.
    pub limits: UtilityLimits,
    /// What it may reach; everything that the gateway's user may if there are no walls.
    pub walls: Option<Walls>,
}

/// The limits of a utility.
#[derive(Debug, Clone, Copy)]
pub struct UtilityLimits {
    /// How long it may run.
    pub time: Duration,
    /// Memory of its process tree in bytes; of each process where there are no control groups.
    pub memory: Option<u64>,
    /// Size of the largest file that it may write, in bytes, standard output included where that is a file.
    pub file: Option<u64>,
}

/// How a utility ended, with success or without.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How its first process ended.
    pub ended: Ended,
    /// Whether the kernel killed one of its processes because memory ran out.
    pub out_of_memory: bool,
    /// The last 4 KiB of its standard error, or of its standard output if the former is blank.
    pub last_output: String,
}

/// Receives the bytes that a utility prints.
type Receive<'a> = dyn FnMut(Output, &[u8]) -> Result<(), UtilityError> + Send + 'a;

impl Finished {
    /// Whether it exited with code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.ended == Ended::Code(0)
    }

    /// How it ended, for people: `exited with code 1`.
    #[must_use]
    pub fn how(&self) -> String {
        let reason = if self.out_of_memory { " because it ran out of memory" } else { "" };
        format!("{}{reason}", self.ended)
    }
}

/// Why a utility did not run to its end.
// The messages follow the utility's name: `"git" printed more than …`.
#[derive(Debug, thiserror::Error)]
pub enum UtilityError {
    /// There is no such program.
    #[error("there is no {0:?} on the gateway's PATH")]
    NotThere(String),
    /// It could not be started.
    #[error("{0}")]
    Spawn(String),
    /// Its time ran out.
    #[error("did not finish within {limit:?}")]
    TimedOut {
        /// Its limit of time.
        limit: Duration,
        /// What it printed last, as in [`Finished`].
        last_output: String,
    },
    /// It printed more than the caller accepts.
    #[error("printed more than {limit} bytes")]
    TooMuch {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Finds a utility on the gateway's PATH.
pub fn find(name: &str) -> Result<PathBuf, UtilityError> {
    program::find(name.as_ref(), "PATH").map_err(|_| UtilityError::NotThere(name.to_owned()))
}

/// Runs a utility to its end and gives `print` each line of both outputs as it comes, cut at 8 KiB. No process of its
/// tree is left when this returns; if it is dropped earlier, the tree is ended in the background.
pub async fn run(
    spawner: &Spawner,
    utility: &Utility,
    print: &mut (dyn FnMut(Output, &str) + Send),
) -> Result<Finished, UtilityError> {
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let mut receive = |output, bytes: &[u8]| {
        let lines = if output == Output::Stdout { &mut out } else { &mut err };
        lines.add(bytes, &mut |line| print(output, line));
        Ok(())
    };
    let finished = follow(spawner, utility, Stdio::piped(), &mut receive).await;
    out.end(&mut |line| print(Output::Stdout, line));
    err.end(&mut |line| print(Output::Stderr, line));
    finished
}

/// Runs a utility to its end and returns its standard output, at most `limit` bytes; otherwise as [`run`].
pub async fn collect(spawner: &Spawner, utility: &Utility, limit: usize) -> Result<(Finished, Vec<u8>), UtilityError> {
    let mut printed = Vec::new();
    let mut receive = |output, bytes: &[u8]| {
        if output == Output::Stdout {
            printed.extend_from_slice(bytes);
        }
        if printed.len() > limit { Err(UtilityError::TooMuch { limit }) } else { Ok(()) }
    };
    let finished = follow(spawner, utility, Stdio::piped(), &mut receive).await?;
    Ok((finished, printed))
}

/// Runs a utility to its end with its standard output in a file, whose size `limits.file` bounds; otherwise as [`run`].
pub async fn write_to(spawner: &Spawner, utility: &Utility, file: File) -> Result<Finished, UtilityError> {
    follow(spawner, utility, file.into(), &mut |_, _| Ok(())).await
}

/// Reads both outputs until the utility has ended, then ends the rest of its tree.
async fn follow(
    spawner: &Spawner,
    utility: &Utility,
    stdout: Stdio,
    receive: &mut Receive<'_>,
) -> Result<Finished, UtilityError> {
    let Started { process, stdout, stderr } =
        spawner.start(utility.start(stdout)).map_err(|error| UtilityError::Spawn(format!("{error:#}")))?;
    let mut running = Running { process: Some(process), ends_inline: false };
    let mut tail = Tail::default();
    let ended = match watch(&mut running, stdout, stderr, utility.limits.time, &mut tail, receive).await {
        Ok(ended) => ended,
        Err(error) => {
            running.end().await;
            return Err(error);
        }
    };
    let out_of_memory = running.process.as_ref().is_some_and(|process| process.tree.group.ran_out_of_memory());
    running.end().await;
    let last_output = tail.text();
    if Process::was_not_run(ended, &last_output) {
        return Err(UtilityError::Spawn(last_output));
    }
    Ok(Finished { ended, out_of_memory, last_output })
}

async fn watch(
    running: &mut Running,
    mut stdout: Option<ChildStdout>,
    stderr: ChildStderr,
    time: Duration,
    tail: &mut Tail,
    receive: &mut Receive<'_>,
) -> Result<Ended, UtilityError> {
    let mut stderr = Some(stderr);
    let (mut out, mut err) = (Vec::with_capacity(READ_BYTES), Vec::with_capacity(READ_BYTES));
    let mut ended = None;
    let mut deadline = pin!(sleep(time));
    loop {
        if let Some(ended) = ended.filter(|_| stdout.is_none() && stderr.is_none()) {
            return Ok(ended);
        }
        let (output, bytes) = tokio::select! {
            () = read(&mut stdout, &mut out) => (Output::Stdout, &mut out),
            () = read(&mut stderr, &mut err) => (Output::Stderr, &mut err),
            how = running.ended(), if ended.is_none() => {
                ended = Some(how);
                // The pipes may still hold output, and a grandchild may keep them open.
                deadline.as_mut().reset(Instant::now() + LAST_OUTPUT);
                continue;
            }
            () = &mut deadline => match ended {
                Some(ended) => return Ok(ended),
                None => return Err(UtilityError::TimedOut { limit: time, last_output: tail.text() }),
            },
        };
        tail.add(output, bytes);
        receive(output, bytes)?;
        let flooded = bytes.len() >= READ_BYTES;
        bytes.clear();
        if flooded {
            sleep_until(Instant::now() + FLOOD_PAUSE).await;
        }
    }
}

/// Reads what a pipe holds, and drops the pipe at its end. Cancelling it loses no bytes.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut Vec<u8>) {
    match pipe {
        Some(open) => {
            if !matches!(open.read_buf(buffer).await, Ok(1..)) {
                *pipe = None;
            }
        }
        None => pending().await,
    }
}

impl Utility {
    fn start(&self, stdout: Stdio) -> Start<'_> {
        Start {
            program: &self.program,
            args: &self.args,
            env: &self.env,
            folder: &self.folder,
            max_memory: self.limits.memory,
            cpu_weight: None,
            max_file: self.limits.file,
            stdout,
            channel: None,
            walls: self.walls.as_ref(),
        }
    }
}

/// A running utility. Dropping it ends its process tree.
struct Running {
    /// Present until the tree is ended.
    process: Option<Process>,
    /// Dropping it ends the tree on this thread: the task that should have done it was dropped itself.
    ends_inline: bool,
}

impl Running {
    async fn ended(&mut self) -> Ended {
        match &mut self.process {
            Some(process) => process.ended().await,
            None => Ended::Unknown,
        }
    }

    /// Ends and reaps the whole tree.
    async fn end(mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
            let _stuck = timeout(KILL_WAIT, process.ended()).await;
        }
        if let Some(process) = self.process.take() {
            let finished = tokio::task::spawn_blocking(move || process.finish_tree()).await;
            if let Err(error) = finished {
                tracing::error!(%error, "process tree of a utility could not be ended");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        process.kill();
        match Handle::try_current() {
            Ok(handle) if !self.ends_inline => {
                let rest = Self { process: Some(process), ends_inline: true };
                handle.spawn(rest.end());
            }
            // The runtime is shutting down: a task would not run any more.
            _ => process.finish_tree(),
        }
    }
}

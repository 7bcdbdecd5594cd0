//! A program that runs to its end, such as git, npm or pip: started through the same launcher as workers, within time,
//! memory and a size of its files. Its whole process tree ends with it. What it is run for is left to `source`.

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

use crate::runtime::program;
use crate::worker::logs::Output;
use crate::worker::process::{Ended, Process, Spawner, Start, Started};
use crate::worker::running::LAST_WORDS;
use crate::worker::tool::words::{LastWords, Lines};

mod words;

/// How much is read at once, and how long is waited after as much: a tool can print some 8 MB a second.
const READ_BYTES: usize = 16 * 1024;
const FLOOD_PAUSE: Duration = Duration::from_millis(2);
/// How long a killed process is waited for; one that hangs in the kernel is left to it.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// A program to run to its end. It gets nothing of the gateway but what stands here; its standard input is empty.
#[derive(Debug)]
pub struct Tool {
    /// The program, absolute: see [`find`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// What it may use.
    pub limits: ToolLimits,
}

/// What a tool may use.
#[derive(Debug, Clone, Copy)]
pub struct ToolLimits {
    /// How long it may run.
    pub time: Duration,
    /// Memory of its process tree in bytes; of each process where there are no control groups.
    pub memory: Option<u64>,
    /// Size of the largest file that it may write, in bytes, standard output included where that is a file.
    pub file: Option<u64>,
}

/// How a tool ended, be it well or not.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How its first process ended.
    pub ended: Ended,
    /// Whether the kernel ended a process of it because memory ran out.
    pub out_of_memory: bool,
    /// The last 4 KiB of what it printed to standard error, or to standard output where that is blank.
    pub last_words: String,
}

/// Takes what a program prints.
type Take<'a> = dyn FnMut(Output, &[u8]) -> Result<(), ToolError> + Send + 'a;

impl Finished {
    /// Whether it exited with code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.ended == Ended::Code(0)
    }

    /// How it ended, in words: `exited with code 1`.
    #[must_use]
    pub fn how(&self) -> String {
        let reason = if self.out_of_memory { " because it ran out of memory" } else { "" };
        format!("{}{reason}", self.ended)
    }
}

/// Why a tool did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no such program.
    #[error("there is no {0:?} on the gateway's PATH")]
    NotThere(String),
    /// It could not be started.
    #[error("{0}")]
    Spawn(String),
    /// Its time ran out.
    #[error("was not done within {limit:?}")]
    TimedOut {
        /// The time that it had.
        limit: Duration,
        /// What it printed last, as in [`Finished`].
        last_words: String,
    },
    /// It printed more than was wanted.
    #[error("printed more than {limit} bytes")]
    TooMuch {
        /// Most bytes that were wanted.
        limit: usize,
    },
}

/// Finds a tool on the gateway's PATH.
pub fn find(name: &str) -> Result<PathBuf, ToolError> {
    program::find(name.as_ref(), "PATH").map_err(|_| ToolError::NotThere(name.to_owned()))
}

/// Runs a tool to its end. Lines of both outputs go to `told` as they come, cut at 8 KiB. Nothing of it is left when this
/// returns; dropped before, it ends the tool's process tree in the background.
pub async fn run(
    spawner: &Spawner,
    tool: &Tool,
    told: &mut (dyn FnMut(Output, &str) + Send),
) -> Result<Finished, ToolError> {
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let mut take = |output, bytes: &[u8]| {
        let lines = if output == Output::Stdout { &mut out } else { &mut err };
        lines.add(bytes, &mut |line| told(output, line));
        Ok(())
    };
    let finished = follow(spawner, tool, Stdio::piped(), &mut take).await;
    out.end(&mut |line| told(Output::Stdout, line));
    err.end(&mut |line| told(Output::Stderr, line));
    finished
}

/// Runs a tool to its end and gives what it printed to standard output, at most `limit` bytes; otherwise as [`run`].
pub async fn collect(spawner: &Spawner, tool: &Tool, limit: usize) -> Result<(Finished, Vec<u8>), ToolError> {
    let mut printed = Vec::new();
    let mut take = |output, bytes: &[u8]| {
        if output == Output::Stdout {
            printed.extend_from_slice(bytes);
        }
        if printed.len() > limit { Err(ToolError::TooMuch { limit }) } else { Ok(()) }
    };
    let finished = follow(spawner, tool, Stdio::piped(), &mut take).await?;
    Ok((finished, printed))
}

/// Runs a tool to its end, its standard output being this file, which `limits.file` bounds; otherwise as [`run`].
pub async fn write_to(spawner: &Spawner, tool: &Tool, file: File) -> Result<Finished, ToolError> {
    follow(spawner, tool, file.into(), &mut |_, _| Ok(())).await
}

/// Reads both outputs to the end of the tool, and ends what is left of it.
async fn follow(spawner: &Spawner, tool: &Tool, stdout: Stdio, take: &mut Take<'_>) -> Result<Finished, ToolError> {
    let Started { process, stdout, stderr } =
        spawner.start(tool.start(stdout)).map_err(|error| ToolError::Spawn(format!("{error:#}")))?;
    let mut running = Running { process: Some(process), last_try: false };
    let mut words = LastWords::default();
    let ended = match watch(&mut running, stdout, stderr, tool.limits.time, &mut words, take).await {
        Ok(ended) => ended,
        Err(error) => {
            running.end().await;
            return Err(error);
        }
    };
    let out_of_memory = running.process.as_ref().is_some_and(|process| process.tree.group.ran_out_of_memory());
    running.end().await;
    let last_words = words.text();
    if Process::was_not_run(ended, &last_words) {
        return Err(ToolError::Spawn(last_words));
    }
    Ok(Finished { ended, out_of_memory, last_words })
}

async fn watch(
    running: &mut Running,
    mut stdout: Option<ChildStdout>,
    stderr: ChildStderr,
    time: Duration,
    words: &mut LastWords,
    take: &mut Take<'_>,
) -> Result<Ended, ToolError> {
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
                // What it printed last is still to be read; a grandchild may keep the pipes open.
                deadline.as_mut().reset(Instant::now() + LAST_WORDS);
                continue;
            }
            () = &mut deadline => match ended {
                Some(ended) => return Ok(ended),
                None => return Err(ToolError::TimedOut { limit: time, last_words: words.text() }),
            },
        };
        words.add(output, bytes);
        take(output, bytes)?;
        let flooded = bytes.len() >= READ_BYTES;
        bytes.clear();
        if flooded {
            sleep_until(Instant::now() + FLOOD_PAUSE).await;
        }
    }
}

/// Reads what is there, and forgets a pipe that is at its end. Cancelling it loses nothing.
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

impl Tool {
    fn start(&self, stdout: Stdio) -> Start<'_> {
        Start {
            program: &self.program,
            args: &self.args,
            env: &self.env,
            folder: &self.folder,
            max_memory: self.limits.memory,
            max_file: self.limits.file,
            stdout,
            channel: None,
        }
    }
}

/// A tool that runs; dropped, it is ended.
struct Running {
    /// Until its tree is being ended.
    process: Option<Process>,
    /// Nobody is left who could end it in the background.
    last_try: bool,
}

impl Running {
    async fn ended(&mut self) -> Ended {
        match &mut self.process {
            Some(process) => process.ended().await,
            None => Ended::Unknown,
        }
    }

    /// Ends its whole tree, and reaps it.
    async fn end(mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
            let _stuck = timeout(KILL_WAIT, process.ended()).await;
        }
        if let Some(process) = self.process.take() {
            let finished = tokio::task::spawn_blocking(move || process.finish_tree()).await;
            if let Err(error) = finished {
                tracing::error!(%error, "a tool's process tree could not be ended");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        process.kill();
        match Handle::try_current() {
            Ok(handle) if !self.last_try => {
                let rest = Self { process: Some(process), last_try: true };
                handle.spawn(rest.end());
            }
            // The gateway ends.
            _ => process.finish_tree(),
        }
    }
}

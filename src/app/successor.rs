//! Starts the program that takes over from this gateway, hands it what it needs, and waits until it accepts
//! connections.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::app::predecessor::SUCCESSOR;
use crate::app::succession::{Channel, Message};
use crate::process::program;
use crate::process::spawner::Spawner;

/// Names of deployments in one message.
const NAMES: usize = 1000;
/// How long a successor that fails may take to end before it is killed.
const END: Duration = Duration::from_secs(10);

/// This program as it was started: what a successor is started with.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    /// Whether process 1 has started this process: the init of a container, or a service manager.
    pub(super) is_child_of_init: bool,
}

impl Program {
    /// That of this process. To be asked at its start: once the file is replaced, its path ends in " (deleted)", and
    /// once its parent has ended, process 1 has adopted it.
    pub(super) fn current() -> io::Result<Self> {
        let file = env::current_exe()?;
        let mut words = env::args_os();
        let path = words.next().and_then(|name| as_started(Path::new(&name), &file)).unwrap_or(file);
        let is_child_of_init = rustix::process::getppid() == Some(Pid::INIT);
        Ok(Self { path, arguments: words.collect(), is_child_of_init })
    }
}

/// The path by which a program was started, if it leads to this file. It may have links, which lead elsewhere when the
/// program is upgraded.
fn as_started(name: &Path, file: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(program::find(name, "argv[0]").ok()?).ok()?;
    (fs::canonicalize(&path).ok()? == *file).then_some(path)
}

/// What a successor gets.
pub(super) struct Inheritance {
    /// Listening sockets with the addresses in the configuration, and whether the gateway removes the file of each.
    pub(super) sockets: Vec<(String, bool, OwnedFd)>,
    /// The lock of the data folder.
    pub(super) lock: OwnedFd,
    /// The deployments that are served.
    pub(super) serves: Vec<String>,
}

/// A successor that accepts connections.
#[derive(Debug)]
pub(super) struct Succeeded {
    pub(super) pid: u32,
    /// The addresses whose sockets it has taken.
    pub(super) taken: Vec<String>,
    /// Closed when this process ends: until then the successor leaves the data folder as it is.
    pub(super) _channel: Channel,
}

/// The successor that is being started, for those who may have to end it.
#[derive(Debug, Default)]
pub(super) struct Starting(Mutex<Start>);

#[derive(Debug, Default)]
struct Start {
    pid: Option<u32>,
    is_stopped: bool,
}

impl Starting {
    /// Ends the successor that is being started, and those that would be started later: this gateway stops.
    pub(super) fn stop(&self) {
        let mut start = self.0.lock();
        start.is_stopped = true;
        if let Some(pid) = start.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _already_ended = kill_process(pid, Signal::TERM);
        }
    }

    fn begin(&self, path: &Path, start: impl FnOnce() -> io::Result<Child>) -> Result<Child, String> {
        let mut state = self.0.lock();
        if state.is_stopped {
            return Err("the gateway is stopping".to_owned());
        }
        let child = start().map_err(|error| format!("the new program {path:?} cannot be started: {error}"))?;
        state.pid = Some(child.id());
        Ok(child)
    }

    /// Nobody ends it any more.
    fn end(&self) {
        self.0.lock().pid = None;
    }
}

/// Starts the program and waits until it accepts connections, at most for `time`. Blocks. If it fails, nothing is left
/// of it.
///
/// # Errors
///
/// Why it does not accept connections.
pub(super) fn start(
    program: &Program,
    inheritance: &Inheritance,
    spawner: &Spawner,
    starting: &Starting,
    time: Duration,
) -> Result<Succeeded, String> {
    let (channel, theirs) = Channel::pair().map_err(|error| format!("making a channel: {error}"))?;
    let Program { path, arguments, .. } = program;
    let mut child = starting.begin(path, || spawner.start_successor(path, arguments, SUCCESSOR, theirs))?;
    let pid = child.id();
    tracing::info!(pid, program = %program.path.display(), "upgrade: the new program starts");
    let accepted = handed_over(&channel, inheritance, time);
    starting.end();
    match accepted {
        Ok(taken) => Ok(Succeeded { pid, taken, _channel: channel }),
        Err(reason) => {
            drop(channel);
            let ended = end(&mut child);
            spawner.forget_successor(pid);
            Err(match (reason, ended) {
                (Reason::Ended, ended) => format!("the new program ended before it took calls: {ended}"),
                (Reason::Other(reason), _) => reason,
            })
        }
    }
}

/// Why a successor failed.
enum Reason {
    /// It has ended without a word.
    Ended,
    Other(String),
}

impl Reason {
    fn unexpected(message: &Message) -> Self {
        Self::Other(format!("unexpected message of the new program: {message:?}"))
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Ended,
            _ => Self::Other(format!("talking to the new program: {error}")),
        }
    }
}

fn handed_over(channel: &Channel, inheritance: &Inheritance, time: Duration) -> Result<Vec<String>, Reason> {
    let until = Instant::now() + time;
    match next_message(channel, until, time)? {
        Message::Hello => hand_over(channel, inheritance)?,
        message => return Err(Reason::unexpected(&message)),
    }
    match next_message(channel, until, time)? {
        Message::Accepts(taken) => Ok(taken),
        Message::Fails(reason) => Err(Reason::Other(reason)),
        message => Err(Reason::unexpected(&message)),
    }
}

fn hand_over(channel: &Channel, inheritance: &Inheritance) -> io::Result<()> {
    let send = |message: &Message, descriptor| channel.send(message, descriptor);
    for (address, owns_file, socket) in &inheritance.sockets {
        send(&Message::Socket(address.clone(), *owns_file), Some(socket.as_fd()))?;
    }
    send(&Message::Lock, Some(inheritance.lock.as_fd()))?;
    for names in inheritance.serves.chunks(NAMES) {
        send(&Message::Serves(names.to_vec()), None)?;
    }
    send(&Message::Start, None)
}

/// The next message, which has to come `until` then: `time` after the start.
fn next_message(channel: &Channel, until: Instant, time: Duration) -> Result<Message, Reason> {
    match channel.receive(until.saturating_duration_since(Instant::now())) {
        Ok(Some((message, _))) => Ok(message),
        Ok(None) => Err(Reason::Ended),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let seconds = time.as_secs_f64();
            Err(Reason::Other(format!("the new program took no calls within {seconds} s (upgrade_timeout)")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until a successor that failed has ended, or ends it.
fn end(child: &mut Child) -> String {
    let pid = Pid::from_child(child);
    let _already_ended = kill_process(pid, Signal::TERM);
    let until = Instant::now() + END;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _already_ended = child.kill();
                return child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            }
            Err(error) => return error.to_string(),
        }
    }
}

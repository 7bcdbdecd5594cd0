//! A plugin whose hooks run in a process of their own (`isolation = "process"`). This is the gateway's side: it starts
//! the process, sends it the inputs of hooks, and applies the changes that come back. The program of the process is
//! `plugin_process`.
//!
//! ```text
//!  gateway                                   process of one plugin
//!  breakers, slots ──► input ─── hook ────►  instances, warm or fresh
//!  input  ◄── changes, checked ◄── done ───
//!  values, counters, requests, ◄── ask ────  imports
//!  functions, files, the log   ─── answer ►
//! ```
//!
//! The process has no files but its component, no network and no children. What the plugin was granted is done by the
//! gateway, so that its grants hold even for a plugin that has taken over its process.

mod broker;
pub(crate) mod change;
mod few;
pub(crate) mod frame;
mod keeper;
mod link;
pub(crate) mod message;
mod outbox;
pub mod program;
pub(crate) mod sent;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::{PluginConfig, PluginName};
use crate::plugin::apart::broker::{Asker, Broker};
use crate::plugin::apart::change::Changer;
use crate::plugin::apart::frame::LARGE;
use crate::plugin::apart::keeper::{Keeper, State, TASK};
use crate::plugin::apart::link::{InFlight, Link};
use crate::plugin::apart::message::{Done, Loaded, ToProcess};
use crate::plugin::apart::program::Program;
use crate::plugin::apart::sent::microseconds;
use crate::plugin::crossing::Crossing;
use crate::plugin::fault::Fault;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::granted::Granted;
use crate::plugin::threads::Threads;
use crate::plugin::verdict::readable;
use crate::process::spawner::Spawner;
use crate::supervise;

/// How long after the end of its time a hook call may be answered: then the process does not keep time any more, and is
/// ended. A machine with more work than cores stops a process for some tens of milliseconds.
const GRACE: Duration = Duration::from_secs(1);

/// The processes of all plugins that have one.
pub struct Processes {
    /// The thread that starts them, reads and writes their channels.
    threads: Threads,
    spawner: Arc<Spawner>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Processes {
    /// No processes. They will be started with `spawner`.
    pub fn new(spawner: Arc<Spawner>) -> std::io::Result<Self> {
        let threads = Threads::for_processes()?;
        Ok(Self { threads, spawner, tasks: TaskTracker::new(), stop: CancellationToken::new() })
    }

    /// The same as [`Self::stop`]. Blocks.
    pub fn end(&self) {
        self.threads.handle().block_on(self.stop());
    }

    /// Ends all processes. When it returns, none is left.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The process of one plugin. Dropping it ends the process.
pub(super) struct Apart {
    state: watch::Receiver<State>,
    last_end: Arc<Mutex<String>>,
    retired: CancellationToken,
    granted: Arc<Granted>,
    timeout: Duration,
    /// Bytes of all its instances.
    memory: u64,
    /// Instances that the process has created.
    instances: AtomicU64,
    restarts: Arc<AtomicU64>,
}

impl Apart {
    /// Starts a process that loads `component`, whose compiled code is in `cache` and whose instances have
    /// `memory` bytes, and waits until it has. Blocks.
    ///
    /// # Errors
    /// How the process ended before it had loaded the plugin.
    pub(super) fn start(
        processes: &Processes,
        settings: &PluginConfig,
        granted: Arc<Granted>,
        (component, cache): (Bytes, PathBuf),
        memory: u64,
    ) -> Result<(Self, Loaded), String> {
        let (state, states) = watch::channel(State::Starting);
        let retired = processes.stop.child_token();
        let (last_end, restarts) = (Arc::default(), Arc::<AtomicU64>::default());
        let (first, loaded) = oneshot::channel();
        let keeper = Arc::new(Keeper {
            spawner: Arc::clone(&processes.spawner),
            program: Program::new(settings.clone(), component, cache, memory, granted.max_body as u64),
            broker: Arc::new(Broker::new(Arc::clone(&granted))),
            retired: retired.clone(),
            state,
            last_end: Arc::clone(&last_end),
            restarts: Arc::clone(&restarts),
            first: Mutex::new(Some(first)),
        });
        let timeout = settings.timeout.get();
        {
            let _on_its_thread = processes.threads.handle().enter();
            supervise::forever(&processes.tasks, &retired, TASK, move || {
                let keeper = Arc::clone(&keeper);
                async move { keeper.keep().await }
            });
        }
        let instances = AtomicU64::new(0);
        let apart = Self { state: states, last_end, retired, granted, timeout, memory, instances, restarts };
        let loaded = loaded.blocking_recv().unwrap_or_else(|_| Err("was not started".to_owned()))?;
        Ok((apart, loaded))
    }

    /// The bytes that its instances may use together.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// How often the process was started again.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Instances that were created.
    pub(super) fn instances(&self) -> u64 {
        self.instances.load(Ordering::Relaxed)
    }

    /// Runs a hook. Returns the input with its changes.
    pub(super) async fn run<H: Crossing>(&self, input: H, time: HookTime) -> (H, Result<H::Verdict, Fault>) {
        let link = match self.link(time.deadline).await {
            Ok(link) => link,
            Err(fault) => return (input, Err(fault)),
        };
        let (sender, done) = oneshot::channel();
        let asker = Asker {
            callers: input.callers(),
            files: input.files(),
            stream: input.stream(),
            timeline: input.timeline().cloned(),
            deadline: time.deadline,
        };
        let Some(hook) = link.begin(InFlight::new(sender, asker)) else { return (input, Err(Fault::NoProcess)) };
        let (granted, sent_over) = (Arc::clone(&self.granted), Arc::clone(&link));
        let is_large = input.size() > LARGE;
        let (mut input, sent) =
            away_if(is_large, input, move |input| send(&sent_over, hook, input, &granted.plugin, time)).await;
        let done = match sent {
            Ok(()) => self.wait(&link, hook, done, time).await,
            Err(_) => Err(Fault::NoProcess),
        };
        if let Err(fault) = input.settle() {
            return (input, Err(Fault::BadOutput(fault)));
        }
        match done {
            Ok(done) => {
                self.instances.fetch_add(done.instances, Ordering::Relaxed);
                let granted = Arc::clone(&self.granted);
                away_if(done.size > LARGE, input, move |input| take(done, input, &granted)).await
            }
            Err(fault) => (input, Err(fault)),
        }
    }

    async fn wait(&self, link: &Link, hook: u64, done: oneshot::Receiver<Done>, time: HookTime) -> Result<Done, Fault> {
        match tokio::time::timeout_at((time.latest() + GRACE).into(), done).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Fault::ProcessEnded(self.last_end.lock().clone())),
            Err(_) => {
                link.give_up(hook);
                Err(Fault::TimedOut(self.timeout))
            }
        }
    }

    /// The running process, for which it waits until the deadline.
    async fn link(&self, deadline: Instant) -> Result<Arc<Link>, Fault> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        match tokio::time::timeout_at(deadline.into(), up).await.map(|up| up.map(|state| state.clone())) {
            Ok(Ok(State::Up(link))) => Ok(link),
            Ok(Ok(State::Starting) | Err(_)) | Err(_) => Err(Fault::NoProcess),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.retired.cancel();
    }
}

/// Does `work` on the input of a hook: on another thread if it takes long, so that it delays no other call.
async fn away_if<H: Crossing, T: Send + 'static>(
    takes_long: bool,
    mut input: H,
    work: impl FnOnce(&mut H) -> T + Send + 'static,
) -> (H, T) {
    let all = move || {
        let result = work(&mut input);
        (input, result)
    };
    if !takes_long {
        return all();
    }
    tokio::task::spawn_blocking(all).await.expect("the conversion of an input does not panic")
}

/// Sends a hook call.
fn send<H: Crossing>(link: &Link, hook: u64, input: &H, plugin: &PluginName, time: HookTime) -> std::io::Result<()> {
    let (sent, [arguments, body]) = input.sent(plugin);
    let now = clock::now();
    let left = |end: Instant| microseconds(end.saturating_duration_since(now));
    let time = [left(time.deadline), left(time.latest())];
    link.send(&ToProcess::Hook { hook, time, input: Box::new(sent) }, &[arguments, body])
}

/// Makes the changes of a hook, and checks its verdict.
fn take<H: Crossing>(done: Done, input: &mut H, granted: &Granted) -> Result<H::Verdict, Fault> {
    let verdict = done.verdict.map_err(reported)?;
    let by = Changer { plugin: &granted.plugin, max_body: granted.max_body };
    let taken = input.take_changes(done.changes, by);
    taken.and_then(|()| H::verdict(verdict, granted.max_body)).map_err(Fault::BadOutput)
}

/// A fault that a process has reported, which may report anything: only what its program reports, in texts of the usual
/// length.
fn reported(fault: Fault) -> Fault {
    match fault {
        Fault::Trap(trap) => Fault::Trap(Box::new(trap.bounded())),
        Fault::BadOutput(text) => Fault::BadOutput(readable(&text)),
        Fault::Refused(text) => Fault::Refused(readable(&text)),
        Fault::ProcessEnded(text) => Fault::ProcessEnded(readable(&text)),
        Fault::TimedOut(_) | Fault::NoMemory => fault,
        other => Fault::trap(other.to_string()),
    }
}

//! Keeps the process of one plugin running: starts it, has it load the plugin, and starts it again when it has ended.
//!
//! ```text
//!  starting ── loaded ──► up ── ended, or a hook was given up ──► backing off ──► starting
//! ```

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::ChildStderr;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::plugin::apart::broker::Broker;
use crate::plugin::apart::link::Link;
use crate::plugin::apart::message::{Loaded, ToProcess};
use crate::plugin::apart::program::Program;
use crate::process::child::Process;
use crate::process::output::LAST_OUTPUT;
use crate::process::spawner::{Spawner, Started};
use crate::supervise;

/// The name of [`Keeper::keep`] as a long-lived task.
pub(super) const TASK: &str = "plugin-process";
/// How long a process may take to load its plugin: three steps of the plugin's own, 5 s each, and the start.
const LOAD_LIMIT: Duration = Duration::from_secs(30);
/// The delay before a process is started again doubles from the first to the last of these, until one has run for the
/// third.
const FIRST_DELAY: Duration = Duration::from_millis(20);
const LAST_DELAY: Duration = Duration::from_secs(10);
const STABLE: Duration = Duration::from_secs(10);
/// Lines of its standard error that are logged, and the longest one in bytes.
const LINES: u32 = 50;
const LINE_SIZE: usize = 1 << 10;

/// Whether the process can run hooks.
#[derive(Clone)]
pub(super) enum State {
    /// It is being started.
    Starting,
    /// It runs.
    Up(Arc<Link>),
}

/// What is kept running.
pub(super) struct Keeper {
    pub(super) spawner: Arc<Spawner>,
    pub(super) program: Program,
    pub(super) broker: Arc<Broker>,
    /// Ends the process for good.
    pub(super) retired: CancellationToken,
    pub(super) state: watch::Sender<State>,
    /// How the process ended last.
    pub(super) last_end: Arc<Mutex<String>>,
    /// How often it was started again.
    pub(super) restarts: Arc<AtomicU64>,
    /// Learns whether the plugin could be loaded at all, from the first process.
    pub(super) first: Mutex<Option<First>>,
}

/// What the first process says about the plugin, or how it ended.
pub(super) type First = oneshot::Sender<Result<Loaded, String>>;

impl Keeper {
    /// Keeps a process running until it is retired. If the first one does not load the plugin, no other is started.
    pub(super) async fn keep(&self) {
        let mut delay = FIRST_DELAY;
        while !self.retired.is_cancelled() {
            let began = Instant::now();
            supervise::panic_point(TASK);
            let end = self.run().await;
            let how = end.unwrap_or_else(|error| format!("could not be started: {error:#}"));
            let first = self.first.lock().take();
            if let Some(first) = first {
                let _unheard = first.send(Err(how));
                return;
            }
            if self.retired.is_cancelled() {
                return;
            }
            if began.elapsed() > STABLE {
                delay = FIRST_DELAY;
            }
            tracing::warn!(plugin = %self.program.name(), how, ?delay, "process of a plugin ended; starting another");
            tokio::select! {
                () = self.retired.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(LAST_DELAY);
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs one process to its end. Returns how it ended.
    async fn run(&self) -> anyhow::Result<String> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("making the channel")?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let start = self.program.start(theirs, Stdio::null());
        let Started { mut process, stderr, .. } = self.spawner.start(start)?;
        let (link, reader) = Link::new(Arc::clone(&self.broker), self.program.max_instances(), ours);
        let (load, component) = self.program.load(self.broker.granted());
        link.send(&ToProcess::Load(Box::new(load)), &[&component])?;
        let words = Arc::new(Mutex::new(String::new()));
        let printing = tokio::spawn(print(self.program.name().to_owned(), stderr, Arc::clone(&words)));
        let how = self.serve(&mut process, &link, reader).await;
        self.state.send_replace(State::Starting);
        process.kill();
        process.ended().await;
        let _kept_open = tokio::time::timeout(LAST_OUTPUT, printing).await;
        let words = std::mem::take(&mut *words.lock());
        let how = if words.is_empty() { how } else { format!("{how}: {words}") };
        self.last_end.lock().clone_from(&how);
        link.end();
        // It reads files of /proc, and waits for processes that are ending.
        let _panicked = tokio::task::spawn_blocking(move || process.finish_tree()).await;
        Ok(how)
    }

    /// Serves the channel of a process until it ends or has to end. Returns why.
    async fn serve(&self, process: &mut Process, link: &Arc<Link>, reader: OwnedReadHalf) -> String {
        let (sender, mut loaded) = oneshot::channel();
        let serving = link.serve(reader, sender);
        tokio::pin!(serving);
        let late = tokio::time::sleep(LOAD_LIMIT);
        tokio::pin!(late);
        let mut is_loaded = false;
        loop {
            tokio::select! {
                biased;
                () = self.retired.cancelled() => return "is not needed any more".to_owned(),
                told = &mut loaded, if !is_loaded => {
                    let Ok(told) = told else { continue };
                    is_loaded = true;
                    if let Some(how) = self.take_loaded(told, link) {
                        return how;
                    }
                }
                why = &mut serving => return self.closed(process, why).await,
                ended = process.ended() => {
                    // What it has sent before its end.
                    let _rest = tokio::time::timeout(LAST_OUTPUT, &mut serving).await;
                    return process.how(ended);
                }
                why = link.given_up() => return format!("was ended: it {why}"),
                () = &mut late, if !is_loaded => return format!("did not load within {LOAD_LIMIT:?}"),
            }
        }
    }

    /// Lets a process that has loaded its plugin run hooks. Returns why not.
    fn take_loaded(&self, loaded: Loaded, link: &Arc<Link>) -> Option<String> {
        let refusal = loaded.refusal.as_ref().map(|refusal| refusal.reason.clone());
        if refusal.is_none() {
            self.state.send_replace(State::Up(Arc::clone(link)));
        }
        let first = self.first.lock().take();
        if let Some(first) = first {
            let _unheard = first.send(Ok(loaded));
        }
        // A refusal at a later start may have to do with what is outside of the plugin, such as another server.
        refusal.map(|reason| format!("did not load the plugin: {reason}"))
    }

    /// How a process ends that has closed its channel or broken its rules.
    async fn closed(&self, process: &mut Process, why: String) -> String {
        match tokio::time::timeout(LAST_OUTPUT, process.ended()).await {
            Ok(ended) => process.how(ended),
            Err(_) => why,
        }
    }
}

/// Logs the first lines of a process's standard error, reads the rest, and keeps the last of the logged lines.
async fn print(plugin: String, stderr: ChildStderr, words: Arc<Mutex<String>>) {
    let mut stderr = BufReader::new(stderr);
    let mut logged = 0;
    loop {
        let mut line = Vec::new();
        match (&mut stderr).take(LINE_SIZE as u64).read_until(b'\n', &mut line).await {
            Ok(1..) if logged < LINES => {}
            Ok(1..) => continue,
            Ok(0) | Err(_) => return,
        }
        logged += 1;
        let line = String::from_utf8_lossy(&line).trim_end().escape_debug().to_string();
        tracing::warn!(%plugin, "process: {line}");
        *words.lock() = line;
    }
}

//! One hook call: an instance for it, its limits, and what comes of it when it traps, takes too long or answers nonsense.
//!
//! ```text
//!  gateway's thread            plugins' threads
//!  ┌────────────────────┐
//!  │ poll once          │── done: most hooks take microseconds
//!  │                    │
//!  │ not done after 2 ms│──► the same future goes on here, to its end or its deadline
//!  └────────────────────┘
//! ```
//!
//! The future of a call is never dropped before its end: the caller that goes away leaves it running.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wasmtime::component::InstancePre;

use crate::answer::Failure;
use crate::config::{HookName, Instances, PluginConfig};
use crate::plugin::bindings::metagate::plugin::types::{Problem, Response};
use crate::plugin::breaker::Breaker;
use crate::plugin::component::Surface;
use crate::plugin::host::{Granted, HostState, Turn};
use crate::plugin::instance::{self, Indices, Instance, Said};
use crate::plugin::outcome::{self, Outcome};
use crate::plugin::record::Recorder;
use crate::plugin::threads::Threads;
use crate::wasm::Wasm;
use crate::wasm::waits::DeadlineExceeded;

/// Hook calls that may wait for one of a plugin's instances.
const WAITING: usize = 64;
/// Hooks that take longer than this, in nanoseconds, begin on the plugins' threads at once.
const HEAVY: u64 = 60_000;
/// An instance whose memory has grown beyond this part of its limit is thrown away.
const MEMORY_MARK: (u64, u64) = (3, 4);
/// How long an instance may wait for a call while others are used.
const IDLE_LIFE: Duration = Duration::from_secs(60);
/// Length of a fault's words.
const WORDS: usize = 2_000;

/// Why a hook call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// It trapped: unreachable code, memory out of bounds, an exhausted stack.
    #[error("trapped: {0}")]
    Trap(String),
    /// Its time was over.
    #[error("took longer than {0:?}")]
    TimedOut(Duration),
    /// What it said cannot be used.
    #[error("answered nonsense: {0}")]
    BadOutput(String),
    /// A new instance refused its configuration.
    #[error("refused its configuration: {0}")]
    Refused(String),
    /// It has failed so often that it is not asked; for how long yet.
    #[error("failed too often and is not asked for {0:?}")]
    Open(Duration),
    /// Too many of its hook calls run and wait.
    #[error("has too many calls to look at")]
    Overloaded,
    /// The host failed while it ran.
    #[error("made the gateway's WebAssembly engine fail, and is off until it is loaded again")]
    Panicked,
}

impl Fault {
    /// Whether the plugin is to blame, so that the breaker counts it.
    fn counts(&self) -> bool {
        !matches!(self, Self::Open(_) | Self::Overloaded)
    }
}

/// What a plugin has done since it was loaded.
#[derive(Debug, Default)]
pub struct Figures {
    /// Hook calls.
    pub calls: AtomicU64,
    /// Of these, those that trapped, took too long or answered nonsense.
    pub failures: AtomicU64,
    /// Verdicts other than going on.
    pub refusals: AtomicU64,
    /// Verdicts that were not carried out, in observe mode.
    pub observed: AtomicU64,
    /// Nanoseconds in hooks.
    pub nanoseconds: AtomicU64,
    /// Instances made.
    pub instances: AtomicU64,
}

/// A loaded plugin.
pub struct Plugin {
    /// How it is configured.
    pub settings: PluginConfig,
    /// What it offers and needs.
    pub surface: Surface,
    /// What it has done.
    pub figures: Figures,
    /// Writes its hook calls down, if that is asked for.
    pub(super) recorder: Option<Recorder>,
    pub(super) granted: Arc<Granted>,
    pub(super) component: InstancePre<HostState>,
    pub(super) indices: Indices,
    pub(super) wasm: Arc<Wasm>,
    pub(super) threads: Arc<Threads>,
    pub(super) idle: Mutex<Vec<Instance>>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) waiting: AtomicUsize,
    pub(super) breaker: Mutex<Breaker>,
    /// The breaker has to be asked first.
    pub(super) is_open: AtomicBool,
    pub(super) is_disabled: AtomicBool,
    /// Mean of the last hook calls' nanoseconds.
    pub(super) usual_time: AtomicU64,
}

/// A hook call to its end.
struct Done {
    turn: Turn,
    verdict: Result<Verdict, Fault>,
}

/// What a hook has said, checked.
#[derive(Debug)]
pub enum Verdict {
    /// Go on; of after-invoke, which changes the outcome instead, this is all there is.
    Proceed,
    /// The answer to give.
    Respond(Box<Outcome>),
    /// The refusal to tell the caller.
    Reject(Failure),
    /// The release is not to be served; why.
    Refuse(String),
}

impl Verdict {
    fn check(said: Said, max_body: usize) -> Result<Self, String> {
        match said {
            Said::Nothing | Said::Load(Ok(())) | Said::Call(instance::Verdict::Proceed) => Ok(Self::Proceed),
            Said::Load(Err(reason)) => Ok(Self::Refuse(words(&reason))),
            Said::Call(instance::Verdict::Respond(Response { status, headers, body })) => {
                let pairs = headers.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
                outcome::checked_response(status, body, pairs, max_body).map(|outcome| Self::Respond(Box::new(outcome)))
            }
            Said::Call(instance::Verdict::Reject(Problem { status, code, message, headers })) => {
                let pairs = headers.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
                outcome::checked_problem(status, code, message, pairs).map(Self::Reject)
            }
        }
    }
}

/// A place among the hook calls that wait for an instance, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A plugin's words, for people.
fn words(text: &str) -> String {
    let cut = text.floor_char_boundary(WORDS);
    text[..cut].chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

impl Plugin {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.settings.name.as_str()
    }

    /// Whether this configuration and file would make the same plugin, and it still works.
    #[must_use]
    pub fn is_same(&self, settings: &PluginConfig, file: &[u8]) -> bool {
        !self.is_disabled() && self.settings.has_same_settings(settings) && self.surface.is_of(file)
    }

    /// Whether it takes part at a hook.
    #[must_use]
    pub fn has(&self, hook: HookName) -> bool {
        self.indices.has(hook) && self.settings.wants(hook)
    }

    /// Whether its breaker keeps calls away.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Whether it is off until it is loaded again.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.is_disabled.load(Ordering::Relaxed)
    }

    /// Its own counters.
    #[must_use]
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        self.granted.counters.all()
    }

    /// Bytes of the largest of these, if there is one.
    #[must_use]
    pub fn instance_memory(&self) -> Option<usize> {
        self.idle.lock().iter().map(Instance::memory).max()
    }

    /// Forgets its failures, so that it is asked again at once.
    pub(super) fn forgive(&self) {
        *self.breaker.lock() = Breaker::default();
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// Runs a hook within the plugin's limits and until `latest` at most. What it worked on comes back whatever happens.
    pub(super) async fn call(
        self: &Arc<Self>,
        hook: HookName,
        turn: Turn,
        latest: Instant,
    ) -> (Turn, Result<Verdict, Fault>) {
        let timeout = self.settings.timeout.get();
        let now = Instant::now();
        let permit = match self.admit(now, latest.min(now + timeout)).await {
            Ok(permit) => permit,
            Err(fault) => return (turn, Err(fault)),
        };
        // What it waited for others is not the plugin's own time.
        let deadline = latest.min(Instant::now() + timeout);
        self.figures.calls.fetch_add(1, Ordering::Relaxed);
        // Load hooks read files.
        let is_load = matches!(hook, HookName::BeforeLoad | HookName::AfterLoad);
        let is_heavy = is_load || self.usual_time.load(Ordering::Relaxed) > HEAVY;
        let mut work: Pin<Box<dyn Future<Output = Done> + Send>> =
            Box::pin(Arc::clone(self).work(hook, turn, deadline, permit));
        let first = if is_heavy {
            Poll::Pending
        } else {
            std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await
        };
        let done = match first {
            Poll::Ready(done) => done,
            Poll::Pending => {
                let (sender, receiver) = oneshot::channel();
                self.threads.spawn(async move {
                    // The caller may be gone: the work is done all the same.
                    let _gone = sender.send(work.await);
                });
                receiver.await.expect("a hook call is worked to its end")
            }
        };
        (done.turn, done.verdict)
    }

    async fn admit(&self, now: Instant, deadline: Instant) -> Result<OwnedSemaphorePermit, Fault> {
        if self.is_disabled() {
            return Err(Fault::Panicked);
        }
        if self.is_open() {
            self.breaker.lock().admit(now).map_err(Fault::Open)?;
        }
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Fault::Overloaded);
        }
        // The caller may go away while it waits: its place in the queue goes with it.
        let _waiting = Waiting(&self.waiting);
        let waited = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.slots).acquire_owned()).await;
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Fault::Overloaded),
        }
    }

    async fn work(
        self: Arc<Self>,
        hook: HookName,
        turn: Turn,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Done {
        let _ticking = self.wasm.ticker().begin();
        let began = Instant::now();
        let idle = match self.settings.instances {
            Instances::Warm => self.idle.lock().pop(),
            Instances::Fresh => None,
        };
        let made = match idle {
            Some(instance) => Ok(instance),
            None => match AssertUnwindSafe(self.instance(deadline)).catch_unwind().await {
                Ok(made) => made,
                Err(_) => Err(self.disable()),
            },
        };
        let (turn, verdict) = match made {
            Ok(instance) => self.run(instance, hook, turn, deadline).await,
            Err(fault) => (turn, Err(fault)),
        };
        let time = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.figures.nanoseconds.fetch_add(time, Ordering::Relaxed);
        let usual = self.usual_time.load(Ordering::Relaxed);
        self.usual_time.store(usual - usual / 8 + time / 8, Ordering::Relaxed);
        self.note(hook, &verdict);
        drop(permit);
        Done { turn, verdict }
    }

    async fn run(
        &self,
        mut instance: Instance,
        hook: HookName,
        turn: Turn,
        deadline: Instant,
    ) -> (Turn, Result<Verdict, Fault>) {
        instance.begin(turn, deadline);
        let called = AssertUnwindSafe(instance.call(hook)).catch_unwind().await;
        let turn = instance.end();
        let verdict = match called {
            Ok(Ok(said)) => Verdict::check(said, self.granted.max_body).map_err(Fault::BadOutput),
            Ok(Err(error)) => Err(self.fault(&error, &instance)),
            Err(_) => Err(self.disable()),
        };
        if verdict.is_ok() {
            self.keep(instance);
        }
        (turn, verdict)
    }

    /// Makes an instance and starts it.
    pub(super) async fn instance(&self, deadline: Instant) -> Result<Instance, Fault> {
        self.figures.instances.fetch_add(1, Ordering::Relaxed);
        let settings = &self.settings;
        let state = HostState::new(
            Arc::clone(&self.granted),
            settings.max_memory.bytes(),
            !self.surface.wasi.is_empty(),
            deadline,
        );
        // Not all at once: a tenth more or less.
        let spread = settings.max_uses / 10;
        let max_uses = settings.max_uses - spread + fastrand::u32(0..=2 * spread);
        let made = Instance::new(&self.component, &self.indices, state, max_uses).await;
        let mut instance = made.map_err(|error| self.plain_fault(&error))?;
        instance.begin(Turn::default(), deadline);
        let started = instance.start().await;
        instance.end();
        match started {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(reason)) => Err(Fault::Refused(reason)),
            Err(error) => Err(self.fault(&error, &instance)),
        }
    }

    /// Keeps a good instance for the next call, unless it has served its time.
    pub(super) fn keep(&self, mut instance: Instance) {
        instance.uses_left = instance.uses_left.saturating_sub(1);
        let (part, whole) = MEMORY_MARK;
        let is_large = instance.memory() as u64 * whole > self.settings.max_memory.bytes() * part;
        if self.settings.instances == Instances::Fresh || instance.uses_left == 0 || is_large {
            return;
        }
        let now = Instant::now();
        instance.last_used = now;
        let mut idle = self.idle.lock();
        idle.push(instance);
        // The one that waits longest is below all others: what a flood of calls has left behind goes one by one.
        let forgotten = idle.first().is_some_and(|first| now.duration_since(first.last_used) > IDLE_LIFE);
        let dropped = forgotten.then(|| idle.remove(0));
        drop(idle);
        drop(dropped);
    }

    /// The engine or the gateway's side of an import has panicked: nothing is known about it any more.
    fn disable(&self) -> Fault {
        self.is_disabled.store(true, Ordering::Relaxed);
        Fault::Panicked
    }

    pub(super) fn fault(&self, error: &wasmtime::Error, instance: &Instance) -> Fault {
        match self.plain_fault(error) {
            Fault::Trap(words) if instance.wanted_too_much() => {
                Fault::Trap(format!("wanted more memory than {} ({words})", self.settings.max_memory))
            }
            other => other,
        }
    }

    pub(super) fn plain_fault(&self, error: &wasmtime::Error) -> Fault {
        if error.is::<DeadlineExceeded>() {
            return Fault::TimedOut(self.settings.timeout.get());
        }
        Fault::Trap(words(&format!("{error:#}")))
    }

    fn note(&self, hook: HookName, verdict: &Result<Verdict, Fault>) {
        match verdict {
            Ok(_) if self.is_open() => {
                let mut breaker = self.breaker.lock();
                if breaker.succeed() {
                    self.is_open.store(false, Ordering::Relaxed);
                    drop(breaker);
                    tracing::info!(plugin = self.name(), "works again");
                }
            }
            Ok(_) => {}
            Err(fault) => self.blame(hook, fault),
        }
    }

    /// Counts a failure, logs it, and opens the breaker after too many.
    fn blame(&self, hook: HookName, fault: &Fault) {
        self.figures.failures.fetch_add(1, Ordering::Relaxed);
        if !fault.counts() {
            return;
        }
        tracing::warn!(plugin = self.name(), hook = hook.as_str(), %fault, "plugin failed");
        let mut breaker = self.breaker.lock();
        let opened = breaker.fail(Instant::now());
        if let Some(delay) = opened {
            self.is_open.store(true, Ordering::Relaxed);
            drop(breaker);
            tracing::error!(plugin = self.name(), ?delay, "failed too often, is not asked for a while");
        }
    }
}

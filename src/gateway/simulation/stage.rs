//! What all parts of a run share: the generator, the workers and the history. It starts the workers of the gateway
//! under test.

use std::fs;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::bail;
use fastrand::Rng;
use parking_lot::Mutex;

use crate::clock;
use crate::gateway::simulation::actor::Actor;
use crate::gateway::simulation::history::History;
use crate::gateway::simulation::temper::Temper;
use crate::process::child::Ended;
use crate::runtime::Plan;
use crate::worker::settings::Settings;
use crate::worker::spawn::{Spawned, StartWorker, WorkerProcess, channel};

/// The file of a deployment. Its length is the version: two writes within a tick of the clock of the file system differ
/// in the length only.
pub(super) const FILE: &str = "version.js";
/// The variable that holds the number of the deploy.
pub(super) const RELEASE: &str = "RELEASE";

/// The shared parts of a run.
pub(super) struct Stage {
    pub(super) rng: Mutex<Rng>,
    pub(super) temper: Mutex<Temper>,
    pub(super) actors: Mutex<Vec<Arc<Mutex<Actor>>>>,
    pub(super) history: Mutex<History>,
    /// When a supervisor has panicked last.
    pub(super) panicked: Mutex<Option<Instant>>,
}

impl Stage {
    pub(super) fn new(mut rng: Rng, prints: bool) -> Arc<Self> {
        let temper = Temper::of(&mut rng);
        Arc::new(Self {
            rng: Mutex::new(rng),
            temper: Mutex::new(temper),
            actors: Mutex::default(),
            history: Mutex::new(History::new(prints)),
            panicked: Mutex::default(),
        })
    }

    /// Whether something with this probability happens.
    pub(super) fn happens(&self, probability: f64) -> bool {
        probability > 0.0 && self.rng.lock().f64() < probability
    }

    /// Has every worker take a turn, and ends those whose time has come.
    pub(super) fn act(&self) {
        let (temper, mut deeds) = (self.temper.lock(), Vec::new());
        let mut actors = self.actors.lock();
        actors.retain(|actor| !actor.lock().is_finished);
        for actor in actors.iter() {
            let mut actor = actor.lock();
            actor.end_if_due();
            actor.act(&temper, &mut self.rng.lock(), &mut deeds);
        }
        drop(actors);
        let mut history = self.history.lock();
        deeds.iter().for_each(|deed| history.witness(deed));
    }

    /// Kills a worker, as an operator or the kernel may.
    pub(super) fn kill_one(&self) {
        let alive: Vec<_> = self.actors.lock().iter().filter(|one| one.lock().ended().is_none()).cloned().collect();
        let Some(actor) = (!alive.is_empty()).then(|| &alive[self.rng.lock().usize(..alive.len())]) else { return };
        self.history.lock().note("kill", &actor.lock().deployment, 0);
        actor.lock().kill(&mut self.rng.lock());
    }
}

impl StartWorker for Stage {
    fn start_worker(&self, plan: &Plan, _: &Settings) -> anyhow::Result<Spawned> {
        let (fails, panics) = {
            let temper = self.temper.lock();
            (temper.fails_to_start, temper.panics)
        };
        let deployment = plan.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if self.happens(panics) {
            self.history.lock().note("panic", &deployment, 0);
            *self.panicked.lock() = Some(clock::now());
            // Without the message that a panic prints.
            resume_unwind(Box::new("simulated"));
        }
        if self.happens(fails) {
            self.history.lock().note("start failed", &deployment, 0);
            bail!("simulated");
        }
        let version = fs::metadata(plan.folder.join(FILE))?.len();
        let number = plan.env.iter().find(|(name, _)| name == RELEASE);
        let number = number.and_then(|(_, value)| value.to_str()?.parse().ok()).unwrap_or(0);
        // A pool keeps its plan in one place.
        let pool = std::ptr::from_ref(plan).addr();
        let deaths = Arc::clone(&self.history.lock().deaths);
        let (ours, theirs) = channel()?;
        theirs.set_nonblocking(true)?;
        self.history.lock().note("start", &deployment, version);
        let actor = Arc::new(Mutex::new(Actor::new(deployment, (number, version), pool, theirs, deaths)));
        self.actors.lock().push(Arc::clone(&actor));
        let process = Box::new(Process { actor, seed: self.rng.lock().u64(..) });
        Ok(Spawned {
            process,
            channel: ours,
            stdout: Box::new(tokio::io::empty()),
            stderr: Box::new(tokio::io::empty()),
        })
    }
}

/// The process of a scripted worker.
struct Process {
    actor: Arc<Mutex<Actor>>,
    /// Of its own generator: how fast it obeys.
    seed: u64,
}

impl WorkerProcess for Process {
    fn id(&self) -> Option<i32> {
        None
    }

    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Ended> + Send + '_>> {
        Box::pin(poll_fn(|context| {
            let mut actor = self.actor.lock();
            match actor.ended() {
                Some(ended) => Poll::Ready(ended),
                None => {
                    actor.watcher = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    fn terminate(&self) {
        self.actor.lock().terminate(&mut Rng::with_seed(self.seed));
    }

    fn kill(&self) {
        self.actor.lock().kill(&mut Rng::with_seed(self.seed));
    }

    fn how(&self, ended: Ended) -> String {
        ended.to_string()
    }

    fn finish_tree(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            self.kill();
            let slow = Rng::with_seed(self.seed).u64(..30);
            tokio::time::sleep(Duration::from_millis(slow)).await;
            self.actor.lock().is_finished = true;
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

//! Asynchronous calls: accepted once they are on the disk, then tried until they have ended. Before-hooks run when a
//! call is accepted, after-hooks at the end of each try.

pub mod accept;
mod attempt;
pub mod callbacks;
mod counts;
pub mod dispatch;
pub mod inspected;
mod keyed;
pub mod rules;
pub mod schedules;
mod stored_call;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::deployment::DeploymentName;
use crate::gateway::async_calls::inspected::{InspectedLimits, InspectedRequest, InspectedSchedule};
use crate::gateway::async_calls::rules::Rules;
use crate::queue::progress::Millis;
use crate::queue::{self, CallId, Changed, Counts, Fault, Queue};

/// The key under which plugins, and functions as `async`, find which try of which call this is: an object with `id` and
/// `try`; while the call is accepted, `try` is 0.
pub const CONTEXT_KEY: &str = "function.async";

/// The pause after a fault of the queue.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// The calls of each deployment that has some.
pub type CallCounts = Arc<HashMap<Box<str>, Counts>>;

/// The asynchronous calls of a gateway.
#[derive(Debug)]
pub struct AsyncCalls {
    /// The calls.
    pub queue: Queue,
    rules: ArcSwap<Rules>,
    running: Mutex<Running>,
    /// A try has ended.
    ended: Notify,
    /// The schedules have changed.
    rescheduled: Notify,
    /// The last times of schedules, by name.
    ticked: Mutex<HashMap<Box<str>, Millis>>,
    /// Results of tries that the disk has not taken yet.
    unwritten: AtomicUsize,
    /// The last counts, and until when they are shown.
    counted: Mutex<Option<(Instant, CallCounts)>>,
}

/// The tries under way.
#[derive(Debug, Default)]
struct Running {
    /// What ends each, with the serial of the try.
    calls: HashMap<CallId, (u32, CancellationToken)>,
    /// How many of each lane: a deployment, or the origin of callbacks.
    lanes: HashMap<Box<str>, usize>,
    bytes: usize,
}

impl AsyncCalls {
    /// The calls in the data folder of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let rules = Rules::of(config);
        Self {
            queue: Queue::new(&config.server.data_dir, rules.bounds()),
            rules: ArcSwap::from_pointee(rules),
            running: Mutex::default(),
            ended: Notify::new(),
            rescheduled: Notify::new(),
            ticked: Mutex::default(),
            unwritten: AtomicUsize::new(0),
            counted: Mutex::default(),
        }
    }

    /// Takes the rules of another configuration, for calls that are accepted and tries that begin from now on.
    pub fn replace_rules(&self, config: &Config) {
        let rules = Rules::of(config);
        self.queue.set_bounds(rules.bounds());
        self.rules.store(Arc::new(rules));
        self.queue.due.notify_one();
        self.rescheduled.notify_one();
    }

    /// What holds for a deployment.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// The schedules of a deployment.
    #[must_use]
    pub fn schedules_of(&self, name: &DeploymentName) -> Vec<InspectedSchedule> {
        let rules = self.rules();
        let own = rules.schedules.iter().filter(|schedule| schedule.to.deployment == *name);
        let ticked = self.ticked.lock();
        own.map(|schedule| InspectedSchedule::of(schedule, ticked.get(&*schedule.known_as()).copied())).collect()
    }

    /// The limits of its own that a deployment has; none if it has those of all.
    #[must_use]
    pub fn limits_of(&self, name: &DeploymentName) -> Option<InspectedLimits> {
        InspectedLimits::of(self.rules().described(name.as_str()))
    }

    /// What a call is made of; none if it is not kept.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn request_of(&self, id: CallId) -> Result<Option<InspectedRequest>, Fault> {
        let look = move |database: &queue::Database| match database.kept(id)? {
            Some(kept) => database.request(&kept),
            None => Ok(None),
        };
        let Some(request) = self.queue.read(look).await? else { return Ok(None) };
        // It may have megabytes.
        let read = tokio::task::spawn_blocking(move || InspectedRequest::read(&request));
        Ok(read.await.ok().flatten())
    }

    /// Takes a call back, and gives its try up, also when whoever asks for it leaves meanwhile.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn cancel(self: &Arc<Self>, id: CallId) -> Result<Changed, Fault> {
        let calls = Arc::clone(self);
        let whole = tokio::spawn(async move {
            let changed = calls.queue.cancel(id).await?;
            calls.end_try(id);
            Ok(changed)
        });
        whole.await.unwrap_or(Err(Fault::Stopped))
    }

    /// Ends the try of a call, if one is under way.
    fn end_try(&self, id: CallId) {
        if let Some((_, end)) = self.running.lock().calls.get(&id) {
            end.cancel();
        }
    }

    /// Completes when no try is under way.
    pub async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.lock().calls.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

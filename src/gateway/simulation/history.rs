//! What has happened in a run, and whether it was allowed to: every call ends once, in time, with its own answer or
//! with a failure that has a cause.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock;
use crate::gateway::simulation::actor::Deed;
use crate::plugin::outcome::{Content, Outcome};

/// How late a call may end: a worker that has closed its channel has a tenth of a second to end, and timers have a
/// resolution of a millisecond.
const LATE: Duration = Duration::from_millis(110);

/// How often things have happened, over one run or many. A simulation in which something never happens shows nothing
/// about it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Figures {
    /// By what has happened.
    pub(super) counts: BTreeMap<String, u64>,
    /// Of everything that has happened, in its order: two runs with the same digest were the same.
    pub(super) digest: u64,
}

impl Figures {
    pub(super) fn count(&mut self, what: &str) {
        if let Some(count) = self.counts.get_mut(what) {
            *count += 1;
        } else {
            self.counts.insert(what.to_owned(), 1);
        }
    }

    /// Adds the figures of another run.
    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }
}

/// A call that has not ended.
struct Open {
    deployment: String,
    deadline: Instant,
    /// The newest version that had answered a call before this one began.
    newest: u64,
    deaths: u64,
}

/// The history of a run.
pub(super) struct History {
    begin: Instant,
    next_nonce: u64,
    open: BTreeMap<u64, Open>,
    received: HashMap<u64, u32>,
    /// The newest version that has answered, by deployment.
    newest: BTreeMap<String, u64>,
    /// See [`Actor`](crate::gateway::simulation::actor::Actor).
    pub(super) deaths: Arc<AtomicU64>,
    garbage: u64,
    /// Deployments were replaced or removed.
    pub(super) has_changes: bool,
    /// The gateway stops.
    pub(super) stops: bool,
    pub(super) figures: Figures,
    /// What must not happen and did.
    pub(super) findings: Vec<String>,
    prints: bool,
}

impl History {
    pub(super) fn new(prints: bool) -> Self {
        Self {
            begin: clock::now(),
            next_nonce: 1,
            open: BTreeMap::new(),
            received: HashMap::new(),
            newest: BTreeMap::new(),
            deaths: Arc::default(),
            garbage: 0,
            has_changes: false,
            stops: false,
            figures: Figures::default(),
            findings: Vec::new(),
            prints,
        }
    }

    /// Notes an event, which counts for the digest and is printed if the run is to be read.
    pub(super) fn note(&mut self, what: &'static str, about: &str, number: u64) {
        let at = clock::since(self.begin);
        let mut hasher = DefaultHasher::new();
        (self.figures.digest, at, what, about, number).hash(&mut hasher);
        self.figures.digest = hasher.finish();
        self.figures.count(what);
        if self.prints {
            println!("{:>10.3} s  {what} {about} {number}", at.as_secs_f64());
        }
    }

    pub(super) fn find(&mut self, finding: String) {
        self.note("finding", &finding, 0);
        self.findings.push(finding);
    }

    /// A call begins. Returns its nonce.
    pub(super) fn begin_call(&mut self, deployment: &str, deadline: Instant) -> u64 {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        let newest = self.newest.get(deployment).copied().unwrap_or(0);
        let open =
            Open { deployment: deployment.to_owned(), deadline, newest, deaths: self.deaths.load(Ordering::Relaxed) };
        self.open.insert(nonce, open);
        self.note("call", deployment, nonce);
        nonce
    }

    /// The caller of a call has left.
    pub(super) fn leave_call(&mut self, nonce: u64) {
        if self.open.remove(&nonce).is_some() {
            self.note("caller left", "", nonce);
        }
    }

    /// Whether no call is open.
    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// A call has ended.
    pub(super) fn end_call(&mut self, nonce: u64, outcome: &Outcome) {
        let Some(open) = self.open.remove(&nonce) else {
            self.find(format!("call {nonce} ended twice, or after its caller had left"));
            return;
        };
        match &outcome.content {
            Content::Result(body) => self.end_well(nonce, &open, &String::from_utf8_lossy(body)),
            Content::Answer(_) | Content::Stream(..) => self.find(format!("call {nonce} was answered over HTTP")),
            Content::Problem { code, message, .. } => self.end_badly(nonce, &open, code, message),
        }
    }

    fn end_well(&mut self, nonce: u64, open: &Open, body: &str) {
        self.note("result", body, nonce);
        let numbers = body.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.split_once(','));
        let Some((Ok(answered), Ok(version))) =
            numbers.map(|(nonce, version)| (nonce.parse::<u64>(), version.parse::<u64>()))
        else {
            return self.find(format!("call {nonce} got {body}"));
        };
        if answered != nonce {
            return self.find(format!("call {nonce} got the answer to {body}"));
        }
        if !self.received.contains_key(&nonce) {
            return self.find(format!("call {nonce} was answered, and no worker has received it"));
        }
        if version < open.newest {
            let newest = open.newest;
            return self.find(format!("call {nonce} ran on version {version}, after version {newest} had answered"));
        }
        let newest = self.newest.entry(open.deployment.clone()).or_default();
        *newest = version.max(*newest);
    }

    fn end_badly(&mut self, nonce: u64, open: &Open, code: &str, message: &str) {
        self.note("failure", code, nonce);
        self.figures.count(code);
        let is_explained = match code {
            "worker_crashed" => self.deaths.load(Ordering::Relaxed) > open.deaths,
            "worker_protocol_error" => self.garbage > 0,
            "call_timeout" => clock::now() >= open.deadline,
            "function_error" => message == format!("Error: {nonce}"),
            "overloaded" | "starting" | "crash_loop" | "load_failed" | "spawn_failed" => true,
            "deployment_not_found" | "deleted" => self.has_changes,
            "draining" => self.stops,
            _ => false,
        };
        if !is_explained {
            self.find(format!("call {nonce} failed without a cause: {code}: {message}"));
        }
    }

    /// A worker has done something.
    pub(super) fn witness(&mut self, deed: &Deed) {
        match deed {
            Deed::Received(nonce) => {
                let times = self.received.entry(*nonce).or_default();
                *times += 1;
                let times = *times;
                if times > 1 {
                    self.find(format!("call {nonce} reached {times} workers"));
                }
            }
            Deed::Garbage => self.garbage += 1,
        }
    }

    /// Finds calls that should have ended.
    pub(super) fn check_deadlines(&mut self) {
        let now = clock::now();
        let late = self.open.iter().find(|(_, open)| now > open.deadline + LATE);
        if let Some((nonce, _)) = late {
            self.find(format!("call {nonce} has not ended at its deadline"));
        }
    }
}

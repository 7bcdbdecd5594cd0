//! The breakers of one plugin. The hook calls of a caller or a deployment that make the plugin fail turn it off for
//! that caller or that deployment, and only failures that come from several turn it off as a whole.
//!
//! Each failure counts for four parts of the hook calls, and each part has a [`Breaker`]:
//!
//! | part | its breaker opens when |
//! |---|---|
//! | the calls of one caller to one deployment | they fail too often |
//! | all calls of the caller | those to deployments other than the worst fail too often |
//! | all calls to the deployment | those of callers other than the worst fail too often |
//! | all calls | those without the worst caller and without the worst deployment fail too often |
//!
//! A part is in the table from its first failure until a minute after its last one, so a plugin that does not fail has
//! an empty table. [`Breakers`] is pure: time comes as an argument, sharing and logging are left to `trial`.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addresses::{PeerText, peer_of};
use crate::plugin::breaker::{Breaker, Counts};

/// Largest number of parts with a breaker of their own, of one plugin. Beyond it the part whose last failure is the
/// oldest is forgotten; the failures of more callers than fit open the wider breakers.
const PARTS: usize = 512;
/// How long a part stays in the table after its last failure: while its good calls are counted, a burst of failures is
/// not judged alone. An open one stays until a call could have been its trial for as long.
const KEPT: Duration = Duration::from_secs(60);
const KEPT_OPEN: Duration = Duration::from_secs(120);
/// Shortest time between two searches for parts that can be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where a hook call comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The client's address; none for loads, and for calls that a plugin makes.
    pub caller: Option<IpAddr>,
    /// The deployment.
    pub deployment: &'a str,
}

/// The hook calls for which a breaker stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// The calls of one caller to one deployment. A caller is the address that stands for it (`peer_of`).
    Pair(Option<IpAddr>, Arc<str>),
    /// The calls of one caller.
    Caller(Option<IpAddr>),
    /// The calls to one deployment.
    Deployment(Arc<str>),
    /// All calls.
    Whole,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |caller: &Option<IpAddr>| {
            caller.map_or_else(|| "the gateway".to_owned(), |caller| PeerText(caller).to_string())
        };
        match self {
            Self::Pair(caller, deployment) => write!(f, "calls of {} to {deployment}", of(caller)),
            Self::Caller(caller) => write!(f, "calls of {}", of(caller)),
            Self::Deployment(deployment) => write!(f, "calls to {deployment}"),
            Self::Whole => f.write_str("all calls"),
        }
    }
}

/// A breaker that opened or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It refuses hook calls, for this time at first.
    Opened(Part, Duration),
    /// It admits hook calls again, after it has refused this number of them.
    Closed(Part, u64),
}

/// The breakers of one plugin.
#[derive(Debug, Default)]
pub struct Breakers {
    parts: HashMap<Part, Tracked>,
    last_sweep: Option<Instant>,
}

#[derive(Debug)]
struct Tracked {
    breaker: Breaker,
    last_failure: Instant,
    /// Hook calls that it has refused since it opened.
    refused: u64,
}

impl Origin<'_> {
    /// The parts of which a hook call is one, the narrowest first.
    fn parts(&self) -> [Part; 4] {
        let (caller, deployment) = (self.caller.map(peer_of), Arc::<str>::from(self.deployment));
        let pair = Part::Pair(caller, Arc::clone(&deployment));
        [pair, Part::Caller(caller), Part::Deployment(deployment), Part::Whole]
    }
}

impl Breakers {
    /// Admits a hook call. Returns the parts whose trial it is.
    ///
    /// # Errors
    /// The time until the next trial, if one of its breakers is open.
    pub fn admit(&mut self, origin: Origin<'_>, now: Instant) -> Result<Vec<Part>, Duration> {
        self.check(origin, now)?;
        let mut parts = Vec::from(origin.parts());
        let is_trial = |part: &Part| {
            let tracked = self.parts.get_mut(part);
            tracked.is_some_and(|tracked| tracked.breaker.admit(now) == Ok(true))
        };
        parts.retain(is_trial);
        Ok(parts)
    }

    /// Refuses a hook call if one of its breakers is open. Takes no trial.
    ///
    /// # Errors
    /// The time until the next trial.
    pub fn check(&mut self, origin: Origin<'_>, now: Instant) -> Result<(), Duration> {
        for part in origin.parts() {
            let Some(tracked) = self.parts.get_mut(&part) else { continue };
            if let Some(wait) = tracked.breaker.refusal(now) {
                tracked.refused += 1;
                return Err(wait);
            }
        }
        Ok(())
    }

    /// Notes that a hook call succeeded which was the trial of these parts.
    pub fn succeed(&mut self, origin: Origin<'_>, trials: &[Part], now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for part in origin.parts() {
            let Some(tracked) = self.parts.get_mut(&part) else { continue };
            if tracked.may_settle(&part, trials) && tracked.breaker.succeed(now) {
                changes.push(Change::Closed(part, std::mem::take(&mut tracked.refused)));
            }
        }
        changes
    }

    /// Notes that a hook call failed which was the trial of these parts.
    pub fn fail(&mut self, origin: Origin<'_>, trials: &[Part], now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for part in origin.parts() {
            // The narrower parts come first, so their counts have this failure.
            let blamed = self.blamed(&part, now);
            let Some(tracked) = self.track(&part, now) else { continue };
            tracked.last_failure = now;
            if !tracked.may_settle(&part, trials) {
                continue;
            }
            let was_closed = tracked.breaker.is_closed();
            if let Some(delay) = tracked.breaker.fail(now, blamed)
                && was_closed
            {
                changes.push(Change::Opened(part, delay));
            }
        }
        changes
    }

    /// Gives back the trials of a hook call that ended without success or failure.
    pub fn give_back(&mut self, trials: &[Part], now: Instant) {
        for part in trials {
            if let Some(tracked) = self.parts.get_mut(part) {
                tracked.breaker.give_back(now);
            }
        }
    }

    /// Forgets the parts that have not failed for long; looks for them once a second at most.
    pub fn sweep(&mut self, now: Instant) -> Vec<Change> {
        if self.last_sweep.is_some_and(|last| now.saturating_duration_since(last) < SWEEP_INTERVAL) {
            return Vec::new();
        }
        self.last_sweep = Some(now);
        let stale = self.parts.extract_if(|_, tracked| tracked.is_stale(now));
        let open = stale.filter(|(_, tracked)| !tracked.breaker.is_closed());
        open.map(|(part, tracked)| Change::Closed(part, tracked.refused)).collect()
    }

    /// Whether no part is in the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The parts whose breaker is open.
    pub fn open(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|(_, tracked)| !tracked.breaker.is_closed()).map(|(part, _)| part)
    }

    /// The counts that do not open the breaker of a part, because they belong to the narrower parts that failed most.
    fn blamed(&self, part: &Part, now: Instant) -> Counts {
        let worst = |is_within: &dyn Fn(&Part) -> bool| {
            let within = self.parts.iter().filter(|(part, _)| is_within(part));
            within
                .map(|(part, tracked)| (part, tracked.breaker.counts(now)))
                .max_by_key(|(_, counts)| (counts.failures, counts.calls))
        };
        let counts = |worst: Option<(&Part, Counts)>| worst.map(|(_, counts)| counts).unwrap_or_default();
        match part {
            Part::Pair(..) => Counts::default(),
            Part::Caller(own) => counts(worst(&|part| matches!(part, Part::Pair(caller, _) if caller == own))),
            Part::Deployment(own) => counts(worst(&|part| matches!(part, Part::Pair(_, to) if to == own))),
            Part::Whole => {
                let caller = worst(&|part| matches!(part, Part::Caller(_)));
                let deployment = worst(&|part| matches!(part, Part::Deployment(_)));
                // The calls of the one to the other are in both.
                let both = match (&caller, &deployment) {
                    (Some((Part::Caller(caller), _)), Some((Part::Deployment(deployment), _))) => {
                        self.parts.get(&Part::Pair(*caller, Arc::clone(deployment)))
                    }
                    _ => None,
                };
                let both = both.map(|tracked| tracked.breaker.counts(now)).unwrap_or_default();
                counts(caller).and(counts(deployment)).without(both)
            }
        }
    }

    /// The entry of a part, which is made if there is room.
    fn track(&mut self, part: &Part, now: Instant) -> Option<&mut Tracked> {
        if !self.parts.contains_key(part) && self.parts.len() >= PARTS && *part != Part::Whole {
            let closed = self.parts.iter().filter(|(_, tracked)| tracked.breaker.is_closed());
            let oldest = closed.min_by_key(|(_, tracked)| tracked.last_failure).map(|(part, _)| part.clone());
            // If all are open, their callers are refused, and those of this part count for the wider ones.
            self.parts.remove(&oldest?);
        }
        let new = || Tracked { breaker: Breaker::new(now), last_failure: now, refused: 0 };
        Some(self.parts.entry(part.clone()).or_insert_with(new))
    }
}

impl Tracked {
    fn is_stale(&self, now: Instant) -> bool {
        let kept = if self.breaker.is_closed() { KEPT } else { KEPT_OPEN };
        now.saturating_duration_since(self.last_failure) > kept
    }

    /// Whether the result of a hook call counts: one that began before the breaker opened must not settle the trial
    /// that runs now.
    fn may_settle(&self, part: &Part, trials: &[Part]) -> bool {
        self.breaker.is_closed() || trials.contains(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Origin<'static> =
        Origin { caller: Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))), deployment: "d" };
    const B: Origin<'static> = Origin { caller: Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2))), ..A };

    fn to(origin: Origin<'static>, deployment: &'static str) -> Origin<'static> {
        Origin { deployment, ..origin }
    }

    fn caller(n: u32) -> Origin<'static> {
        Origin { caller: Some(IpAddr::V4(n.into())), ..A }
    }

    /// Breakers that have counted calls for long enough, and the present.
    fn observed() -> (Breakers, Instant) {
        let (mut breakers, start) = (Breakers::default(), Instant::now());
        let origins = ["d", "e", "f", "g"].map(|deployment| to(A, deployment));
        for origin in origins.into_iter().chain((1..=100).map(caller)) {
            for part in origin.parts() {
                breakers.track(&part, start);
            }
        }
        (breakers, start + Duration::from_secs(1))
    }

    /// Calls that all fail, as far as the breakers admit them; returns how many ran.
    fn fail(breakers: &mut Breakers, origin: Origin<'_>, calls: u32, now: Instant) -> u32 {
        let mut ran = 0;
        for _ in 0..calls {
            if let Ok(trials) = breakers.admit(origin, now) {
                breakers.fail(origin, &trials, now);
                ran += 1;
            }
        }
        ran
    }

    fn admits(breakers: &mut Breakers, origin: Origin<'_>, now: Instant) -> bool {
        breakers.check(origin, now).is_ok()
    }

    fn open(breakers: &Breakers) -> Vec<String> {
        let mut open: Vec<String> = breakers.open().map(ToString::to_string).collect();
        open.sort();
        open
    }

    #[test]
    fn one_caller_turns_the_plugin_off_for_its_own_calls_to_that_deployment_only() {
        let (mut breakers, now) = observed();
        assert_eq!(fail(&mut breakers, A, 1_000, now), 5);
        assert_eq!(open(&breakers), ["calls of 10.0.0.1 to d"]);
        assert!(admits(&mut breakers, B, now) && admits(&mut breakers, to(A, "e"), now));
    }

    #[test]
    fn a_caller_that_fails_everywhere_is_refused_everywhere_and_others_are_not() {
        let (mut breakers, now) = observed();
        for deployment in ["d", "e", "f", "g"] {
            fail(&mut breakers, to(A, deployment), 100, now);
        }
        assert_eq!(open(&breakers), ["calls of 10.0.0.1", "calls of 10.0.0.1 to d", "calls of 10.0.0.1 to e"]);
        assert!(!admits(&mut breakers, to(A, "h"), now) && admits(&mut breakers, B, now));
    }

    #[test]
    fn a_deployment_that_fails_for_several_callers_is_refused_to_all_and_others_are_not() {
        let (mut breakers, now) = observed();
        let ran: u32 = (1..=100).map(|n| fail(&mut breakers, caller(n), 1, now)).sum();
        assert_eq!((ran, open(&breakers)), (6, vec!["calls to d".to_owned()]));
        assert!(admits(&mut breakers, to(caller(1), "e"), now));
    }

    #[test]
    fn failures_of_several_callers_in_several_deployments_turn_it_off_as_a_whole() {
        let (mut breakers, now) = observed();
        let names = ["d", "e", "f"];
        let origins = (1..).map(|n| to(caller(n), names[n as usize % 3]));
        let ran: u32 = origins.take(1_000).map(|origin| fail(&mut breakers, origin, 1, now)).sum();
        assert!(open(&breakers).contains(&"all calls".to_owned()), "{:?}", open(&breakers));
        assert!(ran <= 20, "{ran} calls ran");
    }

    #[test]
    fn failures_among_many_good_calls_open_nothing() {
        let (mut breakers, now) = observed();
        for n in 0..1_000 {
            let origin = to(caller(n % 7), ["d", "e"][n as usize % 2]);
            let trials = breakers.admit(origin, now).unwrap();
            let changes = match n % 3 {
                0 => breakers.fail(origin, &trials, now),
                _ => breakers.succeed(origin, &trials, now),
            };
            assert_eq!(changes, []);
        }
    }

    #[test]
    fn a_good_trial_closes_the_breaker_of_its_part_and_reports_the_refused_calls() {
        let (mut breakers, now) = observed();
        fail(&mut breakers, A, 12, now);
        let later = now + Duration::from_secs(1);
        let pair = Part::Pair(A.caller, A.deployment.into());
        let trials = breakers.admit(A, later).unwrap();
        assert_eq!(trials, std::slice::from_ref(&pair));
        assert!(breakers.admit(A, later).is_err(), "one at a time");
        assert_eq!(breakers.succeed(A, &[], later), [], "a call from before it opened");
        breakers.give_back(&trials, later);
        let trials = breakers.admit(A, later).unwrap();
        assert_eq!(breakers.succeed(A, &trials, later), [Change::Closed(pair, 8)]);
        assert_eq!(open(&breakers), [""; 0]);
    }

    #[test]
    fn the_table_is_bounded_and_empties_itself() {
        let (mut breakers, now) = (Breakers::default(), Instant::now());
        for n in (0..).take(10 * PARTS) {
            breakers.fail(caller(n), &[], now + Duration::from_millis(u64::from(n)));
            assert!(breakers.parts.len() <= PARTS + 1);
        }
        let later = now + Duration::from_secs(600);
        breakers.sweep(later);
        assert!(breakers.is_empty());
    }
}

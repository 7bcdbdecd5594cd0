//! Calls at times of their own. Each time of a schedule has at most one call: the call and the time are written in one
//! step. Plugins do not run when such a call is accepted: it comes from the configuration, not from a caller.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::config::{Missed, ScheduleConfig};
use crate::gateway::async_calls::accept::{Wish, new_call};
use crate::gateway::async_calls::rules::Rules;
use crate::gateway::async_calls::{AsyncCalls, FAULT_PAUSE};
use crate::invocation::Arguments;
use crate::plugin::invocation::Invocation;
use crate::queue::progress::{Millis, after};
use crate::queue::{self, CallId, DueTick, Fault, NewCall, Tick, Ticked};

/// The name of the task, in the log and the metrics.
pub const SCHEDULES: &str = "schedules";

/// The longest wait without a look: clocks are set.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A time that passed so recently while the gateway did not run is made up for in any case: a restart is no absence.
const RESTART: i64 = 60_000;
/// Times of one schedule that are made up for after a stall of the gateway.
const MOST_LATE: usize = 100;
/// Calls that one change accepts.
const BATCH: usize = 256;

/// How far schedules are, by name.
type Known = HashMap<Box<str>, Ticked>;

/// Makes the calls of all schedules, without end.
pub async fn run(calls: Arc<AsyncCalls>) {
    let mut known = Known::new();
    let mut is_first = true;
    loop {
        let rules = calls.rules();
        if rules.schedules.is_empty() {
            calls.rescheduled.notified().await;
            continue;
        }
        if is_first {
            match calls.queue.read(|database| database.last_ticks()).await {
                Ok(last) => known = last,
                Err(fault) => {
                    tracing::warn!(%fault, "schedules wait: their file cannot be used");
                    tokio::time::sleep(FAULT_PAUSE).await;
                    continue;
                }
            }
        }
        let mut plan = match Plan::new(&calls, &rules, &mut known).await {
            Ok(plan) => plan,
            Err(fault) => {
                tracing::warn!(%fault, "schedules wait: their file cannot be used");
                tokio::time::sleep(FAULT_PAUSE).await;
                // What is known is not on the disk.
                is_first = true;
                continue;
            }
        };
        is_first = false;
        plan.follow(&calls, &rules, &mut known).await;
    }
}

/// When schedules are due next, by their place in the rules.
struct Plan {
    next: BinaryHeap<Reverse<(Millis, usize)>>,
    /// Schedules whose last times were found to lie in the future.
    ahead: HashSet<Box<str>>,
}

impl Plan {
    /// The plan of schedules that were last due at the `known` times. Times that passed meanwhile are passed over or
    /// made up for.
    async fn new(calls: &AsyncCalls, rules: &Rules, known: &mut Known) -> Result<Self, Fault> {
        let now = queue::time_of_day();
        let (mut next, mut begun, mut names) = (BinaryHeap::new(), Vec::new(), HashSet::new());
        for (at, schedule) in rules.schedules.iter().enumerate() {
            let name: Box<str> = schedule.known_as().into();
            names.insert(name.clone());
            let times: Box<str> = schedule.times().into();
            let last = match known.get(&name) {
                Some(Ticked { last, times: before }) if before.as_ref().is_none_or(|before| *before == times) => {
                    let passed = schedule.last_until(now).filter(|tick| tick > last);
                    let is_made = |tick: &Millis| schedule.missed == Missed::Once || now - tick <= RESTART;
                    match passed {
                        // Just before it, so that it is the next one.
                        Some(tick) if is_made(&tick) => tick - 1,
                        Some(_) => now,
                        None => *last,
                    }
                }
                // It has other times than before: none of those that have passed.
                Some(Ticked { last, .. }) => now.max(*last),
                None => now,
            };
            let ticked = Ticked { last, times: Some(times) };
            if known.get(&name) != Some(&ticked) {
                begun.push((name.clone(), ticked.clone()));
                known.insert(name, ticked);
            }
            if let Some(tick) = schedule.next_after(last) {
                next.push(Reverse((tick, at)));
            }
        }
        // One that comes back later begins anew.
        known.retain(|name, _| names.contains(&**name));
        if !begun.is_empty() {
            let begin = move |database: &mut queue::Database| {
                begun.iter().try_for_each(|(name, ticked)| database.begin_schedule(name, ticked))
            };
            calls.queue.run(begin).await?;
        }
        *calls.ticked.lock() = known.iter().map(|(name, ticked)| (name.clone(), ticked.last)).collect();
        Ok(Self { next, ahead: HashSet::new() })
    }

    /// Makes the calls until the rules are others.
    async fn follow(&mut self, calls: &AsyncCalls, rules: &Arc<Rules>, known: &mut Known) {
        while Arc::ptr_eq(rules, &calls.rules()) {
            let now = queue::time_of_day();
            self.warn_of_times_ahead(known, now);
            let due = self.due(rules, now);
            if !due.is_empty() && !accept(calls, rules, due, known).await {
                return;
            }
            let wait = |Reverse((tick, _)): &Reverse<(Millis, _)>| queue::until(*tick, queue::time_of_day());
            let next = self.next.peek().map_or(LONGEST_WAIT, wait).min(LONGEST_WAIT);
            tokio::select! {
                () = calls.rescheduled.notified() => return,
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// Says which schedules have no calls because the clock was ahead when they had their last one.
    fn warn_of_times_ahead(&mut self, known: &Known, now: Millis) {
        for (name, Ticked { last, .. }) in known {
            if last.saturating_sub(now) <= RESTART {
                self.ahead.remove(name);
            } else if self.ahead.insert(name.clone()) {
                let last = Timestamp::from_millisecond(*last).unwrap_or(Timestamp::MAX);
                tracing::warn!(schedule = %name, %last, "the last time of a schedule is ahead of the clock: it has no \
                                                         calls until then");
            }
        }
    }

    /// The times that are due, some at a time; each schedule has its next one then.
    fn due(&mut self, rules: &Rules, now: Millis) -> Vec<(Millis, usize)> {
        let mut due = Vec::new();
        while let Some(Reverse((tick, at))) = self.next.peek().copied()
            && tick <= now
            && due.len() < BATCH
        {
            self.next.pop();
            due.push((tick, at));
            let schedule = &rules.schedules[at];
            let mut next = schedule.next_after(tick);
            let is_too_late = next.is_some_and(|next| late(schedule, next, now) > MOST_LATE);
            if is_too_late {
                next = schedule.next_after(now);
            }
            if let Some(next) = next {
                self.next.push(Reverse((next, at)));
            }
        }
        due
    }
}

/// How many times of a schedule have passed since this one, up to a few more than may be made up for.
fn late(schedule: &ScheduleConfig, from: Millis, now: Millis) -> usize {
    let mut tick = Some(from);
    let mut count = 0;
    while let Some(passed) = tick.filter(|tick| *tick <= now)
        && count <= MOST_LATE
    {
        count += 1;
        tick = schedule.next_after(passed);
    }
    count
}

/// Accepts the calls of due times. False if they have to be looked for again.
async fn accept(calls: &AsyncCalls, rules: &Rules, due: Vec<(Millis, usize)>, known: &mut Known) -> bool {
    let ticks: Vec<DueTick> =
        due.iter().filter_map(|(tick, at)| due_tick(rules, &rules.schedules[*at], *tick)).collect();
    match calls.queue.accept_ticks(ticks).await {
        Ok(accepted) => {
            let is_whole = accepted.len() == due.len();
            for ((tick, at), accepted) in due.into_iter().zip(accepted) {
                let name = rules.schedules[at].known_as();
                if accepted == Tick::Overlaps {
                    tracing::info!(schedule = name, "the call before has not ended: this time is passed over");
                }
                if let Some(ticked) = known.get_mut(&*name) {
                    ticked.last = tick;
                }
                calls.ticked.lock().insert(name.into(), tick);
            }
            is_whole
        }
        Err(fault) => {
            tracing::warn!(%fault, calls = due.len(), "calls of schedules were not accepted: trying again");
            tokio::time::sleep(FAULT_PAUSE).await;
            false
        }
    }
}

fn due_tick(rules: &Rules, schedule: &ScheduleConfig, tick: Millis) -> Option<DueTick> {
    let (deployment, function) = (&schedule.to.deployment, schedule.to.function.as_deref()?);
    let id = CallId::random().ok()?;
    let name = schedule.known_as();
    let arguments = arguments_of(schedule.arguments.as_ref());
    // Not the call's own id, which is a secret of those who may take it back: this one is in logs.
    let request_id = CallId::random().ok()?.to_string();
    let mut call = Invocation::new(&request_id, deployment.clone(), function, arguments, Instant::now());
    call.method = "INTERNAL".into();
    let jitter = schedule.jitter.get().mul_f64(fastrand::f64());
    let origin = format!("schedule {name}");
    let wish = Wish { origin: &origin, callback: schedule.callback.as_ref(), ..Wish::default() };
    let call = new_call(id, &call, Vec::new(), (wish, None), rules)?;
    let call = NewCall { due: after(call.accepted, jitter), ..call };
    Some(DueTick { name: name.into(), tick, may_overlap: schedule.overlap, call })
}

/// The arguments of a schedule: a list as it is, a table by name.
fn arguments_of(arguments: Option<&Value>) -> Arguments {
    let of = |value: &Value| Bytes::from(value.to_string());
    match arguments {
        Some(list @ Value::Array(_)) => Arguments::from_checked(of(list)),
        Some(Value::Object(table)) => {
            let names: Vec<&str> = table.keys().map(String::as_str).collect();
            let values = Value::Array(table.values().cloned().collect());
            Arguments::from_checked(of(&values)).named(&names)
        }
        _ => Arguments::none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::deployment::DeploymentName;
    use crate::gateway::async_calls::inspected::InspectedSchedule;

    const HOUR: Millis = 3_600_000;

    fn config(data_dir: &std::path::Path, times: &str) -> Config {
        let table = format!("name = \"s\"\nto = \"m/f\"\nmissed = \"once\"\n{times}");
        let mut config = Config { schedules: vec![toml::from_str(&table).unwrap()], ..Config::default() };
        config.server.data_dir = data_dir.to_owned();
        config
    }

    async fn next_of(calls: &AsyncCalls, known: &mut Known) -> Millis {
        let plan = Plan::new(calls, &calls.rules(), known).await.unwrap();
        plan.next.peek().unwrap().0.0
    }

    #[tokio::test]
    async fn other_times_of_a_schedule_begin_when_they_are_set() {
        let folder = tempfile::tempdir().unwrap();
        let calls = AsyncCalls::new(&config(folder.path(), "every = \"365d\""));
        let begun = queue::time_of_day();
        // It was due an hour ago, as far as anybody knows.
        let last = Ticked { last: begun - 2 * HOUR, times: Some("every 365d".into()) };
        let mut known = Known::from([("s".into(), last)]);
        assert!(next_of(&calls, &mut known).await > begun + HOUR);
        calls.replace_rules(&config(folder.path(), "every = \"30m\""));
        let next = next_of(&calls, &mut known).await;
        assert!(next > begun, "a call for a time that it never had: {next}");
        // The same times again: what has passed is made up for, as the file says as well.
        let times = known["s"].times.clone();
        known.insert("s".into(), Ticked { last: begun - 2 * HOUR, times });
        assert!(next_of(&calls, &mut known).await <= begun);
        let kept = calls.queue.run(|database| database.last_ticks()).await.unwrap();
        assert_eq!(kept["s"].times.as_deref(), Some("every 30m"));
    }

    #[tokio::test]
    async fn next_times_are_those_after_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let calls = AsyncCalls::new(&config(folder.path(), "every = \"1m\""));
        let ahead = queue::time_of_day() + 1000 * HOUR;
        let mut known = Known::from([("s".into(), Ticked { last: ahead, times: Some("every 1m".into()) })]);
        let mut plan = Plan::new(&calls, &calls.rules(), &mut known).await.unwrap();
        let next = plan.next.peek().unwrap().0.0;
        let [InspectedSchedule { next: shown, .. }] = &calls.schedules_of(&DeploymentName::new("m").unwrap())[..]
        else {
            panic!("one schedule");
        };
        assert_eq!(shown[0], Timestamp::from_millisecond(next).unwrap().to_string());
        for _ in 0..2 {
            plan.warn_of_times_ahead(&known, queue::time_of_day());
            assert_eq!(plan.ahead.len(), 1, "said once");
        }
        plan.warn_of_times_ahead(&known, ahead);
        assert!(plan.ahead.is_empty());
    }
}

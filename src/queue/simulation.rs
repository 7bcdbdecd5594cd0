//! A seeded simulation of the queue on its real tables: callers accept, cancel and queue calls again, tries end in all
//! ways, time passes, and the gateway ends between any two steps. What was acknowledged must stay true.

mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use crate::queue::accepting::{Bounds, ROW_BYTES};
use crate::queue::call::{Accepted, Answer, CallKey, NewCall, Priority, Try};
use crate::queue::call_id::CallId;
use crate::queue::database::Database;
use crate::queue::looking::Changed;
use crate::queue::progress::{Millis, Policy, State, TryEnd, after};
use crate::queue::trying::Room;

const TIGHT: Bounds = Bounds { waiting: 40, bytes: 25 * (ROW_BYTES + 16) };
const WIDE: Bounds = Bounds { waiting: 40, bytes: 1 << 30 };
const ALL: Room = Room { tries: 8, callbacks: 4, bytes: 4000 };

/// A gateway, its callers, and what they were told.
struct Simulated {
    seed: u64,
    random: Rng,
    database: Database,
    bounds: Bounds,
    now: Millis,
    /// Tries under way in the gateway's memory.
    tries: Vec<Try>,
    /// What callers were told last of each call; none where a crash has kept an answer from them.
    told: BTreeMap<CallId, Option<State>>,
    /// Keys, with the call that a caller was told.
    keys: BTreeMap<u8, CallId>,
    /// Ids of calls whose end with a result was acknowledged.
    done: BTreeSet<CallId>,
    /// Ids of calls of which a report has ended.
    reported: BTreeSet<CallId>,
}

impl Simulated {
    fn new(seed: u64, bodies: &Path) -> Self {
        Self {
            seed,
            random: Rng::with_seed(seed),
            database: Database::in_memory(bodies).unwrap(),
            bounds: if seed.is_multiple_of(2) { TIGHT } else { WIDE },
            now: 1_000_000,
            tries: Vec::new(),
            told: BTreeMap::new(),
            keys: BTreeMap::new(),
            done: BTreeSet::new(),
            reported: BTreeSet::new(),
        }
    }

    /// A transaction of some steps, which a crash may end before or after it is on the disk.
    fn transaction(&mut self) {
        let (told, keys, done) = (self.told.clone(), self.keys.clone(), self.done.clone());
        let reported = self.reported.clone();
        self.database.begin().unwrap();
        for _ in 0..self.random.usize(1..5) {
            self.step();
        }
        match self.random.u8(0..20) {
            0 => {
                // It ends before the commit: nothing has happened.
                self.database.connection.execute_batch("ROLLBACK").unwrap();
                (self.told, self.keys, self.done, self.reported) = (told, keys, done, reported);
                self.crash();
            }
            1 | 2 => {
                // After the commit, but before anybody was told.
                self.database.commit().unwrap();
                let known = |id: &CallId| told.get(id).copied();
                self.told.retain(|id, _| known(id).is_some());
                for (id, now) in &mut self.told {
                    *now = known(id).flatten().filter(|before| Some(*before) == *now);
                }
                self.keys = keys;
                self.crash();
            }
            _ => self.database.commit().unwrap(),
        }
    }

    /// The gateway ends, and another one goes on.
    fn crash(&mut self) {
        self.tries.clear();
        self.now += self.random.i64(0..500);
        self.database.begin().unwrap();
        self.database.recover(self.now, 0).unwrap();
        self.database.commit().unwrap();
    }

    fn step(&mut self) {
        match self.random.u8(0..20) {
            0..=6 => self.accept(),
            7..=10 => self.begin(),
            11..=15 => self.end_a_try(),
            16 => self.cancel(),
            17 => self.retry(),
            18 => {
                self.database.tidy(self.now).unwrap();
            }
            _ => self.now += self.random.i64(0..3000),
        }
    }

    fn accept(&mut self) {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        let id = CallId::from_bytes(bytes);
        let key = self.random.bool().then(|| self.random.u8(0..60));
        let policy = Policy {
            attempts: self.random.u32(1..4),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            keep: Duration::from_secs(100_000),
            keep_dead: Duration::from_secs(100_000),
        };
        let call = NewCall {
            id,
            deployment: self.random.choice(["a", "b", "c"]).unwrap().into(),
            function: "f".into(),
            priority: if self.random.bool() { Priority::Low } else { Priority::Normal },
            origin: "".into(),
            accepted: self.now,
            due: self.now,
            expires: after(self.now, Duration::from_millis(self.random.u64(1..200_000))),
            policy,
            request: Bytes::copy_from_slice(&bytes),
            key: key.map(|key| CallKey { key: [key; 32], fingerprint: [key; 32] }),
            callback: self.some_callback(),
        };
        let bounds = self.bounds;
        match self.database.within(|database| database.accept(&call, bounds)) {
            Ok(Accepted::New) => {
                self.told.insert(id, Some(State::Queued));
                let before = key.and_then(|key| self.keys.insert(key, id));
                assert_eq!(before, None, "seed {}: two calls under one key", self.seed);
            }
            Ok(Accepted::Before(before)) => {
                let known = self.keys.entry(key.unwrap()).or_insert(before);
                assert_eq!(*known, before, "seed {}", self.seed);
            }
            Ok(other) => assert_eq!(other, Accepted::New, "seed {}", self.seed),
            Err(_) => {}
        }
    }

    fn begin(&mut self) {
        let free = self.random.usize(0..4);
        let begun = self.database.within(|database| database.begin_tries(self.now, "a", ALL, |_| free)).unwrap();
        for one in begun.tries {
            let known = self.told.get(&one.id).copied().flatten();
            let may = !matches!(known, Some(State::Done | State::Cancelled | State::Dead));
            assert!(may, "seed {}: a call that is {known:?} is tried", self.seed);
            assert!(self.tries.iter().all(|other| other.id != one.id), "seed {}: tried twice at once", self.seed);
            if one.callback.is_some() {
                self.told.entry(one.id).or_insert(None);
            } else {
                assert_eq!(one.request.as_deref(), Some(&one.id.as_bytes()[..]), "seed {}", self.seed);
            }
            self.tries.push(one);
        }
    }

    fn end_a_try(&mut self) {
        if self.tries.is_empty() {
            return;
        }
        let one = self.tries.swap_remove(self.random.usize(0..self.tries.len()));
        let end = match self.random.u8(0..6) {
            0..=2 => TryEnd::Done,
            3 => TryEnd::Final,
            4 => TryEnd::Failed,
            _ => TryEnd::NotBegun(Duration::from_millis(100)),
        };
        self.end(&one, end);
    }

    fn end(&mut self, one: &Try, end: TryEnd) {
        let body = Bytes::copy_from_slice(one.id.as_bytes());
        let answer = Answer { status: 200, body, ..Answer::default() };
        let at = (self.now, self.random.f64());
        let (of, bounds) = ((one.row, one.serial), self.bounds);
        let ended = self.database.within(|database| database.end(of, end, Some(&answer), at, bounds));
        match ended {
            Ok(Some(state)) => {
                if state == State::Done {
                    assert!(self.done.insert(one.id), "seed {}: done twice", self.seed);
                }
                self.told.insert(one.id, Some(state));
                let reported = self.reported_by(one.id).filter(|_| state.has_ended());
                self.reported.extend(reported);
            }
            // It was cancelled meanwhile.
            Ok(None) => {
                let told = self.told.get(&one.id).copied().flatten();
                assert_eq!(told, Some(State::Cancelled), "seed {}", self.seed);
            }
            Err(fault) => panic!("seed {}: {fault}", self.seed),
        }
    }

    fn some_call(&mut self) -> Option<CallId> {
        let known: Vec<CallId> = self.told.keys().copied().collect();
        self.random.choice(known)
    }

    fn cancel(&mut self) {
        let Some(id) = self.some_call() else { return };
        if let Changed::Now(kept) = self.database.within(|database| database.cancel(id, self.now)).unwrap() {
            self.told.insert(id, Some(kept.progress.state));
            self.reported.extend(kept.reports);
        }
    }

    fn retry(&mut self) {
        let Some(id) = self.some_call() else { return };
        let age = Duration::from_secs(50);
        if let Changed::Now(kept) = self.database.within(|database| database.retry(id, |_| age, self.now)).unwrap() {
            self.told.insert(id, Some(kept.progress.state));
            self.bounds.waiting += 1; // a try of before it was cancelled ends for nothing
            self.tries.retain(|one| one.id != id);
        }
    }

    /// Lets everything come to its end.
    fn finish(&mut self) {
        for _ in 0..2000 {
            self.database.begin().unwrap();
            for one in std::mem::take(&mut self.tries) {
                self.end(&one, TryEnd::Done);
            }
            self.begin_all();
            self.database.tidy(self.now).unwrap();
            self.database.commit().unwrap();
            self.now += 500;
            if self.count("state < 2") == 0 {
                return;
            }
        }
        panic!("seed {}: {} calls never end", self.seed, self.count("state < 2"));
    }

    fn begin_all(&mut self) {
        let begun = self.database.within(|database| database.begin_tries(self.now, "", ALL, |_| 8)).unwrap();
        self.tries.extend(begun.tries);
    }

    fn count(&self, which: &str) -> i64 {
        let select = format!("SELECT count(*) FROM calls WHERE {which}");
        self.database.connection.query_row(&select, [], |row| row.get(0)).unwrap()
    }

    /// What holds at all times.
    fn check(&self) {
        let sums = "SELECT count(*) FILTER (WHERE state < 2), coalesce(sum(size), 0) + \
                    (SELECT coalesce(sum(size), 0) FROM keys) FROM calls";
        let (waiting, bytes): (i64, i64) =
            self.database.connection.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let (waiting, bytes) = (u64::try_from(waiting).unwrap(), u64::try_from(bytes).unwrap());
        assert_eq!(self.database.room().unwrap(), (waiting, bytes), "seed {}", self.seed);
        let (of_reports, unreported) = self.reports();
        assert_eq!(unreported, [], "seed {}: ends that are not reported", self.seed);
        // One result may be there beyond the bound, and reports.
        assert!(
            waiting <= self.bounds.waiting && bytes <= self.bounds.bytes + 16 + of_reports,
            "seed {}: {waiting} {bytes}",
            self.seed
        );
        assert_eq!(self.count("failures > attempts"), 0, "seed {}", self.seed);
    }

    /// What holds at the end.
    fn check_ends(&self) {
        for id in self.told.keys() {
            let Some(kept) = self.database.kept(*id).unwrap() else {
                assert_eq!(self.bounds.bytes, TIGHT.bytes, "seed {}: a call is lost", self.seed);
                continue;
            };
            let state = kept.progress.state;
            assert!(state.has_ended(), "seed {}", self.seed);
            if self.done.contains(id) {
                assert_eq!(state, State::Done, "seed {}", self.seed);
            }
            if state == State::Done {
                let answer = self.database.answer(&kept).unwrap().unwrap();
                assert_eq!(&answer.body[..], id.as_bytes(), "seed {}", self.seed);
            }
        }
    }
}

fn simulate(seed: u64, bodies: &Path) -> usize {
    let mut simulated = Simulated::new(seed, bodies);
    for _ in 0..simulated.random.usize(10..60) {
        simulated.transaction();
        simulated.check();
    }
    simulated.finish();
    simulated.check();
    simulated.check_ends();
    simulated.told.len()
}

/// `METAGATE_QUEUE_SEEDS` says how many seeds; `METAGATE_QUEUE_SEED` is the first one.
#[test]
fn what_was_acknowledged_stays_true() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, seeds) = (number("METAGATE_QUEUE_SEED", 0), number("METAGATE_QUEUE_SEEDS", 300));
    let bodies = tempfile::tempdir().unwrap();
    let calls: usize = (first..first + seeds).map(|seed| simulate(seed, bodies.path())).sum();
    assert!(calls > usize::try_from(seeds).unwrap() * 5, "only {calls} calls");
}

//! Many calls are changed at once: queued again, or removed. That takes many short steps, so that others change calls
//! in between, and it concerns the calls alone that had ended when it was asked for.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};

use crate::queue::call::{Filter, Kept};
use crate::queue::database::{Database, PROGRESS};
use crate::queue::fault::Fault;
use crate::queue::looking::{KEPT, condition_of, kept_of};
use crate::queue::progress::{Millis, State};
use crate::queue::{Queue, now};

/// Bytes of the calls that one step looks at, beyond the last of them.
const STEP_BYTES: i64 = 16 << 20;

/// The rows that a change of many calls has not looked at yet.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    after: i64,
    to: i64,
    /// When the change was asked for.
    since: Millis,
}

/// What one step has done.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Calls that it has changed.
    pub changed: usize,
    /// What is left; none at the end.
    pub rest: Option<Span>,
}

impl Queue {
    /// Queues all dead calls of a filter again, whatever state it names, each of them once: so many are looked at in
    /// one step. `max_age` is that of a call. Returns how many.
    ///
    /// # Errors
    ///
    /// The file is not usable; some of them may be queued then.
    pub async fn redrive(
        &self,
        filter: Filter,
        max_age: impl Fn(&Kept) -> Duration + Clone + Send + 'static,
        batch: u32,
    ) -> Result<usize, Fault> {
        let mut count = 0;
        let mut left = Some(self.run(|database| database.span(now())).await?);
        while let Some(span) = left {
            let (filter, max_age) = (filter.clone(), max_age.clone());
            let step = self.run(move |database| database.redrive(filter, max_age, span, (now(), batch))).await?;
            (count, left) = (count + step.changed, step.rest);
            self.due.notify_one();
        }
        Ok(count)
    }

    /// Removes all calls of a filter that have ended; so many are looked at in one step. Returns how many.
    ///
    /// # Errors
    ///
    /// The file is not usable; some of them may be removed then.
    pub async fn purge(&self, filter: Filter, batch: u32) -> Result<usize, Fault> {
        let mut count = 0;
        let mut left = Some(self.run(|database| database.span(now())).await?);
        while let Some(span) = left {
            let filter = filter.clone();
            let step = self.run(move |database| database.purge(&filter, span, (now(), batch))).await?;
            (count, left) = (count + step.changed, step.rest);
        }
        Ok(count)
    }
}

impl Database {
    /// All rows that are there now.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn span(&self, now: Millis) -> Result<Span, Fault> {
        let to = self.connection.query_row("SELECT coalesce(max(row), 0) FROM calls", [], |row| row.get(0))?;
        Ok(Span { after: 0, to, since: now })
    }

    /// Queues the dead calls of a filter again that are among the first rows of a span, at most so many.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn redrive(
        &mut self,
        filter: Filter,
        max_age: impl Fn(&Kept) -> Duration,
        span: Span,
        (now, most): (Millis, u32),
    ) -> Result<Step, Fault> {
        let filter = Filter { state: Some(State::Dead), ..filter };
        let (dead, rest) = self.first_of(&filter, span, now, most)?;
        for kept in &dead {
            if let Some(next) = kept.progress.retry(max_age(kept), now) {
                self.requeue(kept, &next, now)?;
            }
        }
        Ok(Step { changed: dead.len(), rest })
    }

    /// Removes the calls of a filter that have ended and are among the first rows of a span, at most so many.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn purge(&mut self, filter: &Filter, span: Span, (now, most): (Millis, u32)) -> Result<Step, Fault> {
        let (over, rest) = self.first_of(filter, span, now, most)?;
        for kept in &over {
            self.remove(kept.row, kept.id, kept.progress.serial)?;
        }
        Ok(Step { changed: over.len(), rest })
    }

    /// The calls of a filter among the first rows of a span that had ended when it began, and the rest of the span.
    fn first_of(
        &self,
        filter: &Filter,
        span: Span,
        now: Millis,
        most: u32,
    ) -> Result<(Vec<Kept>, Option<Span>), Fault> {
        // Dead calls have an index of their own; others are passed over one by one, so their number is bounded.
        let of_state = if filter.state == Some(State::Dead) { "state = 3" } else { "1" };
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT row, size FROM calls WHERE {of_state} AND row > ?1 AND row <= ?2 ORDER BY row LIMIT ?3"
        ))?;
        let mut rows = select.query(params![span.after, span.to, most])?;
        let (mut last, mut bytes) = (None, 0);
        while bytes < STEP_BYTES
            && let Some(row) = rows.next()?
        {
            last = Some(row.get(0)?);
            bytes += row.get::<_, i64>(1)?;
        }
        let Some(last) = last else { return Ok((Vec::new(), None)) };
        let (condition, mut values) = condition_of(filter);
        values.extend([span.after, last, span.since, now].map(Value::Integer));
        // An end ahead of the present is that of a clock which was set back: it was before, too.
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {KEPT}, {PROGRESS} FROM calls WHERE {condition} AND state >= 2 AND row > ? AND row <= ? \
             AND NOT (ended > ? AND ended <= ?) ORDER BY row"
        ))?;
        let found = select.query_map(params_from_iter(values), kept_of)?.collect::<Result<_, _>>()?;
        Ok((found, Some(Span { after: last, ..span })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::accepting::Bounds;
    use crate::queue::call::NewCall;
    use crate::queue::call_id::CallId;
    use crate::queue::progress::TryEnd;
    use crate::queue::trying::Room;

    const BOUNDS: Bounds = Bounds { waiting: 100, bytes: 1 << 20 };
    const AGE: Duration = Duration::from_secs(5);

    struct Calls {
        database: Database,
        _bodies: tempfile::TempDir,
    }

    impl Calls {
        fn of(numbers: std::ops::Range<u8>) -> Self {
            let bodies = tempfile::tempdir().unwrap();
            let mut calls = Self { database: Database::in_memory(bodies.path()).unwrap(), _bodies: bodies };
            numbers.for_each(|number| calls.accept(number));
            calls
        }

        fn accept(&mut self, number: u8) {
            self.database.accept(&NewCall::sample(number), BOUNDS).unwrap();
        }

        /// Has all calls that wait tried. Returns how many.
        fn end_all(&mut self, how: TryEnd, now: Millis) -> usize {
            let room = Room { tries: 100, callbacks: 0, bytes: 1 << 20 };
            let begun = self.database.begin_tries(now, "", room, |_| 100).unwrap();
            for one in &begun.tries {
                self.database.end((one.row, one.serial), how, None, (now, 0.0), BOUNDS).unwrap();
            }
            begun.tries.len()
        }

        fn states(&self, numbers: std::ops::Range<u8>) -> Vec<Option<State>> {
            let state = |number| self.database.kept(CallId::from_bytes([number; 16])).unwrap();
            numbers.map(|number| state(number).map(|kept| kept.progress.state)).collect()
        }
    }

    #[test]
    fn one_redrive_queues_each_call_once() {
        let mut calls = Calls::of(0..10);
        assert_eq!(calls.end_all(TryEnd::Final, 1000), 10);
        let (mut left, mut changed, mut tries) = (Some(calls.database.span(1000).unwrap()), 0, 0);
        for number in 100.. {
            let Some(span) = left else { break };
            let step = calls.database.redrive(Filter::default(), |_| AGE, span, (1001, 3)).unwrap();
            (left, changed) = (step.rest, changed + step.changed);
            // They die again at once, and others that are new do.
            calls.accept(number);
            tries += calls.end_all(TryEnd::Final, 1001) - 1;
        }
        assert_eq!((changed, tries), (10, 10));
    }

    #[test]
    fn a_purge_removes_what_had_ended_before_it() {
        let mut calls = Calls::of(0..6);
        assert_eq!(calls.end_all(TryEnd::Done, 1000), 6);
        calls.accept(6);
        let mut left = Some(calls.database.span(1500).unwrap());
        let mut changed = Vec::new();
        for number in 7.. {
            let Some(span) = left else { break };
            let step = calls.database.purge(&Filter::default(), span, (2000, 2)).unwrap();
            (left, _) = (step.rest, changed.push(step.changed));
            calls.accept(number);
            calls.end_all(TryEnd::Done, 1600);
        }
        assert_eq!(changed, [2, 2, 2, 0, 0], "in steps");
        let (gone, there) = (calls.states(0..6), calls.states(6..11));
        assert_eq!((gone, there), (vec![None; 6], vec![Some(State::Done); 5]));
    }
}

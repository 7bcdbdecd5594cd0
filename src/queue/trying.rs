//! Calls that wait are tried, and end.

use rusqlite::{OptionalExtension, Row, params};

use crate::queue::accepting::{Bounds, ROW_BYTES};
use crate::queue::bodies::{self, Part};
use crate::queue::call::{Answer, INLINE, Try};
use crate::queue::call_id::CallId;
use crate::queue::database::{Database, POLICY, PROGRESS, number_of, policy_of, progress_of};
use crate::queue::fault::Fault;
use crate::queue::progress::{Millis, Note, Policy, Progress, State, TryEnd};
use crate::queue::reporting::is_origin;

/// The lanes with calls that wait, by one look at the index for each.
const LANES: &str = "
WITH RECURSIVE names (name) AS (
  SELECT (SELECT coalesce(lane, deployment) FROM calls WHERE state = 0 ORDER BY coalesce(lane, deployment) LIMIT 1)
  UNION ALL
  SELECT (SELECT coalesce(lane, deployment) FROM calls WHERE state = 0 AND coalesce(lane, deployment) > name
          ORDER BY coalesce(lane, deployment) LIMIT 1)
  FROM names WHERE name IS NOT NULL
) SELECT name FROM names WHERE name IS NOT NULL";

/// How many tries may begin now.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Tries in all.
    pub tries: usize,
    /// Those of callbacks.
    pub callbacks: usize,
    /// Bytes of their requests, beyond the first.
    pub bytes: usize,
}

/// The tries that begin.
#[derive(Debug, Default)]
pub struct Begun {
    /// The tries.
    pub tries: Vec<Try>,
    /// When the next call is due, of deployments that had room left; none if no call waits there.
    pub next: Option<Millis>,
    /// Calls that were too old, and whether they are callbacks: they are dead now.
    pub expired: Vec<(CallId, bool)>,
}

/// A row that waits.
struct Waiting {
    row: i64,
    id: CallId,
    progress: Progress,
    policy: Policy,
    is_callback: bool,
}

impl Database {
    /// Begins tries of calls that are due. `free` says how many more of a lane may be under way; the lanes
    /// after `first` have their turn first.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn begin_tries(
        &mut self,
        now: Millis,
        first: &str,
        mut room: Room,
        mut free: impl FnMut(&str) -> usize,
    ) -> Result<Begun, Fault> {
        let mut names: Vec<Box<str>> = {
            let mut select = self.connection.prepare_cached(LANES)?;
            select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        let turn = names.partition_point(|name| **name <= *first);
        names.rotate_left(turn);
        let mut begun = Begun::default();
        for name in names {
            let is_of_callbacks = is_origin(&name);
            let mut left = if is_of_callbacks { free(&name).min(room.callbacks) } else { free(&name) };
            for priority in [0, 1] {
                if left == 0 || room.tries == 0 || room.bytes == 0 {
                    break;
                }
                let due = self.due(&name, priority, now, left.min(room.tries))?;
                let asked = left.min(room.tries);
                if due.len() < asked {
                    let next = self.next_due(&name, priority, now)?;
                    begun.next = [begun.next, next].into_iter().flatten().min();
                }
                for waiting in due {
                    if room.bytes == 0 {
                        break;
                    }
                    if let Some(one) = self.begin_try(&waiting, now, &mut begun.expired)? {
                        let size = one.request.as_ref().map_or(0, bytes::Bytes::len);
                        let callbacks = room.callbacks - usize::from(is_of_callbacks);
                        room = Room { tries: room.tries - 1, callbacks, bytes: room.bytes.saturating_sub(size) };
                        left -= 1;
                        begun.tries.push(one);
                    }
                }
            }
        }
        Ok(begun)
    }

    fn due(&self, name: &str, priority: i64, now: Millis, most: usize) -> Result<Vec<Waiting>, Fault> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT row, id, {PROGRESS}, {POLICY}, reports IS NOT NULL FROM calls WHERE state = 0 \
             AND coalesce(lane, deployment) = ?1 AND priority = ?2 AND due <= ?3 ORDER BY due, row LIMIT ?4"
        ))?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| {
            Ok(Waiting {
                row: row.get(0)?,
                id: CallId::from_bytes(row.get(1)?),
                progress: progress_of(row, 2)?,
                policy: policy_of(row, 9)?,
                is_callback: row.get(14)?,
            })
        };
        Ok(select.query_map(params![name, priority, now, most], read)?.collect::<Result<_, _>>()?)
    }

    fn next_due(&self, name: &str, priority: i64, now: Millis) -> Result<Option<Millis>, Fault> {
        let mut select = self.connection.prepare_cached(
            "SELECT due FROM calls WHERE state = 0 AND coalesce(lane, deployment) = ?1 AND priority = ?2 AND due > ?3 \
             ORDER BY due LIMIT 1",
        )?;
        Ok(select.query_row(params![name, priority, now], |row| row.get(0)).optional()?)
    }

    /// Begins a try; none if the call has become too old, and is dead now.
    fn begin_try(
        &mut self,
        waiting: &Waiting,
        now: Millis,
        expired: &mut Vec<(CallId, bool)>,
    ) -> Result<Option<Try>, Fault> {
        let Waiting { row, id, progress, policy, is_callback } = *waiting;
        let Some(begun) = progress.begin(now) else {
            if let Some((next, note)) = progress.expire(policy, now) {
                self.save(row, &next, now, note)?;
                expired.push((id, is_callback));
            }
            return Ok(None);
        };
        self.connection
            .prepare_cached("UPDATE calls SET state = 1, tries = ?2, serial = ?3, began = ?4 WHERE row = ?1")?
            .execute(params![row, begun.tries, begun.serial, now])?;
        let mut select = self.connection.prepare_cached(
            "SELECT id, deployment, function, origin, coalesce(lane, deployment), iif(reports IS NULL, NULL, callback) \
             FROM calls WHERE row = ?1",
        )?;
        let one = select.query_row([row], |columns| {
            Ok(Try {
                row,
                id: CallId::from_bytes(columns.get(0)?),
                number: begun.tries,
                serial: begun.serial,
                deployment: columns.get(1)?,
                function: columns.get(2)?,
                origin: columns.get(3)?,
                lane: columns.get(4)?,
                callback: columns.get(5)?,
                request: None,
                is_last: begun.failures + 1 >= policy.attempts,
            })
        })?;
        drop(select);
        Ok(Some(Try { request: self.body(row, one.id, Part::Request)?, ..one }))
    }

    /// A body; none if it is gone.
    pub(super) fn body(&self, row: i64, id: CallId, part: Part) -> Result<Option<bytes::Bytes>, Fault> {
        let select = match part {
            Part::Request => "SELECT body FROM requests WHERE row = ?1",
            Part::Answer(_) => "SELECT body FROM answers WHERE row = ?1",
        };
        let mut select = self.connection.prepare_cached(select)?;
        let inline: Option<Option<Vec<u8>>> = select.query_row([row], |row| row.get(0)).optional()?;
        Ok(match inline {
            Some(Some(bytes)) => Some(bytes.into()),
            Some(None) => bodies::read(&self.bodies, id, part),
            None => None,
        })
    }

    /// Ends a try. Returns where the call is then; none if that try is not under way any more.
    ///
    /// # Errors
    ///
    /// The disk or the room for answers is full: the try is under way still.
    pub fn end(
        &mut self,
        (row, serial): (i64, u32),
        end: TryEnd,
        answer: Option<&Answer>,
        (now, jitter): (Millis, f64),
        bounds: Bounds,
    ) -> Result<Option<State>, Fault> {
        let Some((progress, policy)) = self.progress(row)? else { return Ok(None) };
        let Some(next) = progress.end(serial, end, policy, now, jitter) else { return Ok(None) };
        if let Some(answer) = answer {
            let message = shortened(&answer.message);
            self.connection
                .prepare_cached("UPDATE calls SET status = ?2, code = ?3, message = ?4 WHERE row = ?1")?
                .execute(params![row, answer.status, answer.code, message])?;
            if next.state.has_ended() {
                self.keep_answer((row, serial), next.state, answer, bounds)?;
            }
        }
        self.save(row, &next, now, Note::Plain)?;
        Ok(Some(next.state))
    }

    /// A call that is done needs its request no more. Its result makes room for itself; the error of a dead call, which
    /// never makes room for others, is kept whole only where there is some.
    fn keep_answer(
        &mut self,
        (row, serial): (i64, u32),
        state: State,
        answer: &Answer,
        bounds: Bounds,
    ) -> Result<(), Fault> {
        let bytes = (answer.head.len() + answer.body.len()) as u64;
        let mut select = self.connection.prepare_cached("SELECT id FROM calls WHERE row = ?1")?;
        let id = CallId::from_bytes(select.query_row([row], |row| row.get(0))?);
        drop(select);
        if state == State::Done {
            self.connection.prepare_cached("DELETE FROM requests WHERE row = ?1")?.execute([row])?;
            self.connection
                .prepare_cached("UPDATE calls SET size = ?2 WHERE row = ?1")?
                .execute(params![row, ROW_BYTES.cast_signed()])?;
            self.gone.push((id, Part::Request));
        }
        let held = self.evict(bytes, bounds)?;
        let is_inline = answer.body.len() <= INLINE;
        let part = Part::Answer(serial);
        // The file of an error is not written where another try was to follow.
        let is_there = is_inline || state == State::Done || bodies::size(&self.bodies, id, part).is_some();
        if state == State::Dead && (held + bytes > bounds.bytes || !is_there) {
            self.gone.push((id, part));
            return Ok(());
        }
        let body = is_inline.then_some(&answer.body[..]);
        self.connection.prepare_cached("INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3)")?.execute(params![
            row,
            answer.head,
            body
        ])?;
        self.connection
            .prepare_cached("UPDATE calls SET size = size + ?2 WHERE row = ?1")?
            .execute(params![row, i64::try_from(bytes).unwrap_or(i64::MAX)])?;
        Ok(())
    }

    /// How far a call is; none if it is not kept.
    pub(super) fn progress(&self, row: i64) -> Result<Option<(Progress, Policy)>, Fault> {
        let mut select =
            self.connection.prepare_cached(&format!("SELECT {PROGRESS}, {POLICY} FROM calls WHERE row = ?1"))?;
        let read = |row: &Row<'_>| Ok((progress_of(row, 0)?, policy_of(row, 7)?));
        Ok(select.query_row([row], read).optional()?)
    }

    /// Writes how far a call is. Where it ends, its end is reported if somebody has asked for that.
    pub(super) fn save(&mut self, row: i64, progress: &Progress, now: Millis, note: Note) -> Result<(), Fault> {
        let Progress { state, tries, failures, interruptions, serial, due, expires } = *progress;
        let ended = state.has_ended().then_some(now);
        self.connection
            .prepare_cached(
                "UPDATE calls SET state = ?2, tries = ?3, failures = ?4, interruptions = ?5, serial = ?6, due = ?7, \
                 expires = ?8, ended = ?9 WHERE row = ?1",
            )?
            .execute(params![row, number_of(state), tries, failures, interruptions, serial, due, expires, ended])?;
        let said = match note {
            Note::Plain => None,
            Note::Expired => Some(("expired", "the call was not done before it became too old (max_age)")),
            Note::Interrupted => Some(("interrupted", "the gateway has ended during too many tries of the call")),
        };
        if let Some((code, message)) = said {
            self.connection
                .prepare_cached(
                    "UPDATE calls SET code = ?2, message = ?3 || coalesce('; its last try: ' || message, '') \
                     WHERE row = ?1",
                )?
                .execute(params![row, code, message])?;
        }
        if state.has_ended() { self.report_end(row, now) } else { Ok(()) }
    }
}

/// A message, cut where it is long: it is in every list.
fn shortened(message: &str) -> &str {
    const LONGEST: usize = 2048;
    let mut end = message.len().min(LONGEST);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

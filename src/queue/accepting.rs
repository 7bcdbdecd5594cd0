//! Calls enter the queue.

use rusqlite::{OptionalExtension, params};

use crate::queue::bodies::Part;
use crate::queue::call::{Accepted, CallKey, INLINE, NewCall, Priority};
use crate::queue::call_id::CallId;
use crate::queue::database::{Database, millis};
use crate::queue::fault::Fault;
use crate::queue::progress::{Millis, after};

/// How much the queue may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Calls that have not ended.
    pub waiting: u64,
    /// Bytes of requests and answers, and of the rows that they belong to.
    pub bytes: u64,
}

/// What a row takes on the disk beside its bodies, about: with its indexes, and the places of its parts.
pub(super) const ROW_BYTES: u64 = 512;

/// Calls that have ended and are removed at once, at most, to make room for another one.
const REMOVED_FOR_ROOM: usize = 4096;

impl Database {
    /// Accepts a call.
    ///
    /// # Errors
    ///
    /// The queue or the disk is full.
    pub fn accept(&mut self, call: &NewCall, bounds: Bounds) -> Result<Accepted, Fault> {
        if let Some(before) = self.before_under(call.key, call.accepted)? {
            return Ok(before);
        }
        // A key is a row of its own.
        let rows = if call.key.is_some() { 2 * ROW_BYTES } else { ROW_BYTES };
        self.make_room(call.request.len() as u64 + rows, bounds)?;
        let inline = call.request.len() <= INLINE;
        let row = self.insert(call)?;
        let body = inline.then_some(&call.request[..]);
        self.connection.prepare_cached("INSERT INTO requests VALUES (?1, ?2)")?.execute(params![row, body])?;
        if let Some(CallKey { key, fingerprint }) = call.key {
            let until = after(call.expires, call.policy.keep);
            self.connection
                .prepare_cached("INSERT INTO keys (key, fingerprint, id, until, size) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![key, fingerprint, call.id.as_bytes(), until, ROW_BYTES.cast_signed()])?;
        }
        Ok(Accepted::New)
    }

    /// What was accepted under a key before, if it still counts.
    fn before_under(&self, key: Option<CallKey>, now: Millis) -> Result<Option<Accepted>, Fault> {
        let Some(CallKey { key, fingerprint }) = key else { return Ok(None) };
        let mut select = self.connection.prepare_cached("SELECT fingerprint, id, until FROM keys WHERE key = ?1")?;
        let found = select
            .query_row([key], |row| {
                Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, Millis>(2)?))
            })
            .optional()?;
        Ok(match found {
            Some((_, _, until)) if until <= now => {
                self.connection.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key])?;
                None
            }
            Some((known, ..)) if known != fingerprint => Some(Accepted::OtherRequest),
            Some((_, id, _)) => Some(Accepted::Before(CallId::from_bytes(id))),
            None => None,
        })
    }

    fn insert(&self, call: &NewCall) -> Result<i64, Fault> {
        let NewCall { id, deployment, function, origin, priority, accepted, due, expires, policy, request, .. } = call;
        let callback = call.callback.as_ref();
        self.connection
            .prepare_cached(
                "INSERT INTO calls (id, deployment, function, origin, priority, state, tries, failures, \
                 interruptions, serial, accepted, due, expires, attempts, backoff, max_backoff, keep, keep_dead, size, \
                 callback, callback_age) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .execute(params![
                id.as_bytes(),
                deployment,
                function,
                origin,
                i64::from(*priority == Priority::Low),
                accepted,
                due,
                expires,
                policy.attempts,
                millis(policy.backoff),
                millis(policy.max_backoff),
                millis(policy.keep),
                millis(policy.keep_dead),
                i64::try_from(ROW_BYTES + request.len() as u64).unwrap_or(i64::MAX),
                callback.map(|callback| &callback.url),
                callback.map(|callback| millis(callback.max_age)),
            ])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Makes room for the request of a call.
    fn make_room(&mut self, bytes: u64, bounds: Bounds) -> Result<(), Fault> {
        let waiting = self.room()?.0;
        if waiting >= bounds.waiting {
            return Err(Fault::TooMany(waiting));
        }
        let held = self.evict(bytes, bounds)?;
        if held + bytes <= bounds.bytes {
            return Ok(());
        }
        let text = format!("asynchronous calls hold {held} bytes, with this one more than [async] max_bytes");
        Err(Fault::Full(text.into()))
    }

    /// Removes results until there is room for so many bytes, those first that would be removed first. Dead calls stay.
    /// Returns the bytes that are held then.
    pub(super) fn evict(&mut self, bytes: u64, bounds: Bounds) -> Result<u64, Fault> {
        let mut held = self.room()?.1;
        for _ in 0..REMOVED_FOR_ROOM {
            if held + bytes <= bounds.bytes || !self.remove_next()? {
                break;
            }
            held = self.room()?.1;
        }
        Ok(held)
    }

    /// Calls that have not ended, and bytes of requests and answers.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn room(&self) -> Result<(u64, u64), Fault> {
        let mut select = self.connection.prepare_cached("SELECT waiting, bytes FROM room")?;
        let (waiting, bytes): (i64, i64) = select.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((u64::try_from(waiting).unwrap_or(0), u64::try_from(bytes).unwrap_or(0)))
    }

    /// Removes the call that has ended and is to be removed first. False if there is none.
    fn remove_next(&mut self) -> Result<bool, Fault> {
        let next = self
            .connection
            .prepare_cached("SELECT row, id, serial FROM calls WHERE state >= 2 AND state <> 3 ORDER BY due LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((row, id, serial)) = next else { return Ok(false) };
        self.remove(row, CallId::from_bytes(id), serial)?;
        Ok(true)
    }

    /// Removes a call whose last try is this one; its files once that is on the disk.
    pub(super) fn remove(&mut self, row: i64, id: CallId, serial: u32) -> Result<(), Fault> {
        self.connection.prepare_cached("DELETE FROM calls WHERE row = ?1")?.execute([row])?;
        self.gone.extend([(id, Part::Request), (id, Part::Answer(serial))]);
        Ok(())
    }
}

//! Keys of plain calls: the first call under a key is made, others with the same request get its answer.

use bytes::Bytes;
use rusqlite::{OptionalExtension, params};

use crate::queue::accepting::{Bounds, ROW_BYTES};
use crate::queue::call::{Answer, CallKey};
use crate::queue::database::Database;
use crate::queue::fault::Fault;
use crate::queue::progress::Millis;

/// The part of all bytes that answers of plain calls may take: nothing removes them before their time.
const KEYED_SHARE: u64 = 4;
/// The part that they may take with the keys of those whose answers were not kept.
const ROWS_SHARE: u64 = 2;

/// What a key stands for.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// It is this call's now.
    New,
    /// A call under it had this answer; none if that could not be kept.
    Before(Option<Box<KeptAnswer>>),
    /// It belongs to another request.
    OtherRequest,
    /// A call under it is under way.
    UnderWay,
}

/// The answer of a key, without its body.
#[derive(Debug, Clone)]
pub struct KeptAnswer {
    head: Head,
    /// The bytes of the body.
    pub bytes: usize,
}

impl KeptAnswer {
    /// The whole answer.
    #[must_use]
    pub fn with(self, body: Bytes) -> Answer {
        let Head { status, code, message, head } = self.head;
        Answer { status, code, message, head, body }
    }
}

/// An answer's head in the file, beside its body.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Head {
    status: u16,
    code: Box<str>,
    message: Box<str>,
    head: Box<str>,
}

impl Database {
    /// Reserves a key for a plain call of this process.
    ///
    /// # Errors
    ///
    /// The disk is full, or the file is not usable.
    pub fn reserve(
        &mut self,
        CallKey { key, fingerprint }: CallKey,
        owner: i64,
        (now, until): (Millis, Millis),
        bounds: Bounds,
    ) -> Result<Reserved, Fault> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT fingerprint, owner IS NOT NULL, until, head, length(body) FROM keys WHERE key = ?1",
            )?
            .query_row([key], |row| {
                let known: [u8; 32] = row.get(0)?;
                let of: (bool, Millis) = (row.get(1)?, row.get(2)?);
                let bytes = row.get::<_, Option<i64>>(4)?.and_then(|bytes| usize::try_from(bytes).ok());
                let kept: (Option<String>, _) = (row.get(3)?, bytes);
                Ok((known, of, kept))
            })
            .optional()?;
        match found {
            // One whose call is under way lasts as long as that.
            Some((_, (false, until), _)) if until <= now => {
                self.connection.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key])?;
            }
            Some((known, ..)) if known != fingerprint => return Ok(Reserved::OtherRequest),
            Some((_, (true, _), _)) => return Ok(Reserved::UnderWay),
            Some((.., (head, bytes))) => return Ok(Reserved::Before(kept_of(head.as_deref(), bytes))),
            None => {}
        }
        let has_share = self.keyed()? + ROW_BYTES <= bounds.bytes / ROWS_SHARE;
        if !has_share || self.evict(ROW_BYTES, bounds)? + ROW_BYTES > bounds.bytes {
            return Err(Fault::Full("the keys of calls take all the room that they may ([async] max_bytes)".into()));
        }
        self.connection
            .prepare_cached("INSERT INTO keys (key, fingerprint, owner, until, size) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![key, fingerprint, owner, until, ROW_BYTES.cast_signed()])?;
        Ok(Reserved::New)
    }

    /// Keeps the answer of the call under a key, or if there is no room or it is not given, that there was one.
    ///
    /// # Errors
    ///
    /// The disk is full, or the file is not usable.
    pub fn keep_answer_of(
        &mut self,
        key: [u8; 32],
        answer: Option<&Answer>,
        until: Millis,
        bounds: Bounds,
    ) -> Result<(), Fault> {
        let kept = match answer {
            Some(answer) => self.room_for(answer, bounds)?,
            None => None,
        };
        let (head, body, more) =
            kept.map_or((None, None, 0), |(head, body, bytes)| (Some(head), Some(&body[..]), bytes));
        let size = i64::try_from(ROW_BYTES + more).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("UPDATE keys SET owner = NULL, head = ?2, body = ?3, size = ?4, until = ?5 WHERE key = ?1")?
            .execute(params![key, head, body, size, until])?;
        Ok(())
    }

    /// Makes room for an answer. Returns its head, its body, and the bytes of both; none if there is no room.
    fn room_for<'a>(&mut self, answer: &'a Answer, bounds: Bounds) -> Result<Option<(String, &'a Bytes, u64)>, Fault> {
        let Answer { status, code, message, head, body } = answer;
        let head = Head { status: *status, code: code.clone(), message: message.clone(), head: head.clone() };
        let head = serde_json::to_string(&head).unwrap_or_default();
        let bytes = (head.len() + body.len()) as u64;
        let has_share = self.keyed()? + bytes <= bounds.bytes / KEYED_SHARE;
        let has_room = has_share && self.evict(bytes, bounds)? + bytes <= bounds.bytes;
        Ok(has_room.then_some((head, body, bytes)))
    }

    /// The bytes of the keys of plain calls and their answers.
    fn keyed(&self) -> Result<u64, Fault> {
        let keyed: i64 = self.connection.query_row("SELECT keyed FROM room", [], |row| row.get(0))?;
        Ok(keyed.unsigned_abs())
    }

    /// The body of the answer of a key; none if that is not kept any more.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn body_under(&self, key: [u8; 32]) -> Result<Option<Bytes>, Fault> {
        let mut select = self.connection.prepare_cached("SELECT body FROM keys WHERE key = ?1")?;
        let body: Option<Option<Vec<u8>>> = select.query_row([key], |row| row.get(0)).optional()?;
        Ok(body.flatten().map(Bytes::from))
    }

    /// Gives a key up: the call under it has not come to an end that others may have.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn release(&mut self, key: [u8; 32], owner: i64) -> Result<(), Fault> {
        self.connection
            .prepare_cached("DELETE FROM keys WHERE key = ?1 AND owner = ?2")?
            .execute(params![key, owner])?;
        Ok(())
    }
}

fn kept_of(head: Option<&str>, bytes: Option<usize>) -> Option<Box<KeptAnswer>> {
    Some(Box::new(KeptAnswer { head: serde_json::from_str(head?).ok()?, bytes: bytes? }))
}

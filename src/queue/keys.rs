//! Keys of plain calls: the first call under a key is made, others with the same request get its answer.

use rusqlite::{OptionalExtension, params};

use crate::queue::accepting::Bounds;
use crate::queue::call::{Answer, CallKey};
use crate::queue::database::Database;
use crate::queue::fault::Fault;
use crate::queue::progress::Millis;

/// The part of all bytes that answers of plain calls may take: nothing removes them before their time.
const KEYED_SHARE: u64 = 4;

/// What a key stands for.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// It is this call's now.
    New,
    /// A call under it had this answer; none if that could not be kept.
    Before(Option<Box<Answer>>),
    /// It belongs to another request.
    OtherRequest,
    /// A call under it is under way.
    UnderWay,
}

/// An answer's head in the file, beside its body.
#[derive(serde::Serialize, serde::Deserialize)]
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
        until: Millis,
        now: Millis,
    ) -> Result<Reserved, Fault> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT fingerprint, id IS NULL, owner IS NOT NULL, until, head, body FROM keys WHERE key = ?1",
            )?
            .query_row([key], |row| {
                let known: [u8; 32] = row.get(0)?;
                let of: (bool, bool, Millis) = (row.get(1)?, row.get(2)?, row.get(3)?);
                let kept: (Option<String>, Option<Vec<u8>>) = (row.get(4)?, row.get(5)?);
                Ok((known, of, kept))
            })
            .optional()?;
        match found {
            // One whose call is under way lasts as long as that.
            Some((_, (_, false, until), _)) if until <= now => {
                self.connection.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key])?;
            }
            Some((known, ..)) if known != fingerprint => return Ok(Reserved::OtherRequest),
            // An asynchronous call was accepted under it.
            Some((_, (false, ..), _)) => return Ok(Reserved::OtherRequest),
            Some((_, (true, true, _), _)) => return Ok(Reserved::UnderWay),
            Some((.., (head, body))) => return Ok(Reserved::Before(answer_of(head.as_deref(), body))),
            None => {}
        }
        self.connection
            .prepare_cached("INSERT INTO keys (key, fingerprint, owner, until, size) VALUES (?1, ?2, ?3, ?4, 0)")?
            .execute(params![key, fingerprint, owner, until])?;
        Ok(Reserved::New)
    }

    /// Keeps the answer of the call under a key, or if there is no room, that there was one.
    ///
    /// # Errors
    ///
    /// The disk is full, or the file is not usable.
    pub fn keep_answer_of(
        &mut self,
        key: [u8; 32],
        answer: &Answer,
        until: Millis,
        bounds: Bounds,
    ) -> Result<(), Fault> {
        let Answer { status, code, message, head, body } = answer.clone();
        let bytes = body.len() as u64;
        let keyed: i64 = self.connection.query_row("SELECT keyed FROM room", [], |row| row.get(0))?;
        let has_share = keyed.unsigned_abs() + bytes <= bounds.bytes / KEYED_SHARE;
        let has_room = has_share && self.evict(bytes, bounds)? + bytes <= bounds.bytes;
        let head = Head { status, code, message, head };
        let head = has_room.then(|| serde_json::to_string(&head).unwrap_or_default());
        let (body, size) = if has_room { (Some(&body[..]), body.len()) } else { (None, 0) };
        self.connection
            .prepare_cached("UPDATE keys SET owner = NULL, head = ?2, body = ?3, size = ?4, until = ?5 WHERE key = ?1")?
            .execute(params![key, head, body, i64::try_from(size).unwrap_or(i64::MAX), until])?;
        Ok(())
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

fn answer_of(head: Option<&str>, body: Option<Vec<u8>>) -> Option<Box<Answer>> {
    let Head { status, code, message, head } = serde_json::from_str(head?).ok()?;
    Some(Box::new(Answer { status, code, message, head, body: body?.into() }))
}

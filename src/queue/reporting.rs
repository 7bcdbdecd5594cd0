//! The end of a call that is to be reported somewhere: the report is a call of its own, made in the transaction in
//! which the other one ends. What it says is what the call was at that moment.

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use url::Url;

use crate::queue::accepting::ROW_BYTES;
use crate::queue::call::{Answer, Kept};
use crate::queue::call_id::CallId;
use crate::queue::database::{Database, PROGRESS};
use crate::queue::fault::Fault;
use crate::queue::looking::{KEPT, kept_of};
use crate::queue::progress::Millis;
use crate::queue::shown;

/// Bytes of an answer that is in the report itself; a larger one is there by its address.
const REPORTED: u64 = 64 << 10;

/// Whether a lane is the origin that callbacks go to; other lanes are deployments.
#[must_use]
pub fn is_origin(lane: &str) -> bool {
    lane.contains("://")
}

impl Database {
    /// Makes the report of the end of a call. It takes the room that it needs: a call that may be accepted has its
    /// report.
    pub(super) fn report_end(&mut self, row: i64, now: Millis) -> Result<(), Fault> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {KEPT}, {PROGRESS} FROM calls WHERE row = ?1 AND callback IS NOT NULL AND reports IS NULL"
        ))?;
        let kept = select.query_row([row], kept_of).optional()?;
        drop(select);
        let Some(kept) = kept else { return Ok(()) };
        let url = kept.callback.as_deref().and_then(|url| Url::parse(url).ok());
        let lane = url.map(|url| url.origin().ascii_serialization());
        let body = shown::report(&kept, self.small_answer(&kept)?.as_ref());
        self.connection
            .prepare_cached(
                "INSERT INTO calls (id, deployment, function, origin, priority, state, tries, failures, \
                 interruptions, serial, accepted, due, expires, attempts, backoff, max_backoff, keep, keep_dead, size, \
                 callback, reports, lane) \
                 SELECT ?2, deployment, function, '', 0, 0, 0, 0, 0, 0, ?3, ?3, ?3 + callback_age, ?4, backoff, \
                 max_backoff, keep, keep_dead, ?5, callback, id, ?6 FROM calls WHERE row = ?1",
            )?
            .execute(params![
                row,
                self.id_of_report(&kept, now)?.as_bytes(),
                now,
                u32::MAX,
                i64::try_from(ROW_BYTES + body.len() as u64).unwrap_or(i64::MAX),
                lane,
            ])?;
        let report = self.connection.last_insert_rowid();
        self.connection.prepare_cached("INSERT INTO requests VALUES (?1, ?2)")?.execute(params![report, &body[..]])?;
        Ok(())
    }

    /// The last report of a call; none if there was none or it is not kept any more.
    pub(super) fn report_of(&self, id: CallId) -> Result<Option<Kept>, Fault> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {KEPT}, {PROGRESS} FROM calls WHERE reports = ?1 ORDER BY row DESC LIMIT 1"
        ))?;
        Ok(select.query_row([id.as_bytes()], kept_of).optional()?)
    }

    /// What a call came to, if that is small. Large answers are not read for it.
    fn small_answer(&self, kept: &Kept) -> Result<Option<Answer>, Fault> {
        let is_small = self.answer_head(kept)?.is_some_and(|head| head.bytes <= REPORTED);
        if is_small { self.answer(kept) } else { Ok(None) }
    }

    /// An id that no other report has. It is drawn from the id of the call, so as hard to guess.
    fn id_of_report(&self, kept: &Kept, now: Millis) -> Result<CallId, Fault> {
        let mut select = self.connection.prepare_cached("SELECT count(*) FROM calls WHERE reports = ?1")?;
        let before: i64 = select.query_row([kept.id.as_bytes()], |row| row.get(0))?;
        let digest = Sha256::new()
            .chain_update(b"report")
            .chain_update(kept.id.as_bytes())
            .chain_update(now.to_be_bytes())
            .chain_update(before.to_be_bytes())
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Ok(CallId::from_bytes(id))
    }
}

//! Calls are looked at, taken back and queued again.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

use crate::queue::bodies::{self, Part};
use crate::queue::call::{Answer, AnswerHead, Filter, Kept, Priority};
use crate::queue::call_id::CallId;
use crate::queue::database::{Database, PROGRESS, number_of, progress_of};
use crate::queue::fault::Fault;
use crate::queue::progress::{Millis, Note, Progress, State};

/// The columns of [`kept_of`], in their order.
pub(super) const KEPT: &str = "row, id, deployment, function, priority, origin, accepted, began, ended, status, \
                               code, message, callback, reports";

/// What became of a call that was to be changed.
#[derive(Debug, Clone)]
pub enum Changed {
    /// It is so now.
    Now(Box<Kept>),
    /// It was so before.
    Before(Box<Kept>),
    /// Its state does not permit it.
    Refused(Box<Kept>),
    /// No such call is kept.
    Unknown,
}

impl Database {
    /// A call; none if it is not kept.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn kept(&self, id: CallId) -> Result<Option<Kept>, Fault> {
        let mut select =
            self.connection.prepare_cached(&format!("SELECT {KEPT}, {PROGRESS} FROM calls WHERE id = ?1"))?;
        let mut kept = select.query_row([id.as_bytes()], kept_of).optional()?;
        if let Some(kept) = &mut kept
            && kept.callback.is_some()
            && kept.reports.is_none()
        {
            kept.report = self.report_of(id)?.map(Box::new);
        }
        Ok(kept)
    }

    /// What a call that has ended came to, without its body; none if it has no answer, or that is gone.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn answer_head(&self, kept: &Kept) -> Result<Option<AnswerHead>, Fault> {
        let mut select = self.connection.prepare_cached("SELECT head, length(body) FROM answers WHERE row = ?1")?;
        let found = select.query_row([kept.row], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)));
        let Some((head, inline)) = found.optional()? else { return Ok(None) };
        let bytes = inline
            .map(i64::unsigned_abs)
            .or_else(|| bodies::size(&self.bodies, kept.id, Part::Answer(kept.progress.serial)));
        Ok(bytes.map(|bytes| AnswerHead { head, bytes }))
    }

    /// What a call that has ended came to; none if it has no answer, or that is gone.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn answer(&self, kept: &Kept) -> Result<Option<Answer>, Fault> {
        let Some(head) = self.answer_head(kept)? else { return Ok(None) };
        let body = self.body(kept.row, kept.id, Part::Answer(kept.progress.serial))?;
        Ok(body.map(|body| head.with(kept.last.clone(), body)))
    }

    /// What a call is made of; none if that is gone.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn request(&self, kept: &Kept) -> Result<Option<Bytes>, Fault> {
        self.body(kept.row, kept.id, Part::Request)
    }

    /// Calls, the newest first, older than the one in row `before`; at most `most` of them.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn list(&self, filter: &Filter, before: Option<i64>, most: u32) -> Result<Vec<Kept>, Fault> {
        let (condition, mut values) = condition_of(filter);
        values.push(Value::Integer(before.unwrap_or(i64::MAX)));
        values.push(Value::Integer(most.into()));
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {KEPT}, {PROGRESS} FROM calls WHERE {condition} AND row < ? ORDER BY row DESC LIMIT ?"
        ))?;
        Ok(select.query_map(params_from_iter(values), kept_of)?.collect::<Result<_, _>>()?)
    }

    /// Takes a call back.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn cancel(&mut self, id: CallId, now: Millis) -> Result<Changed, Fault> {
        let Some(kept) = self.kept(id)? else { return Ok(Changed::Unknown) };
        let Some((progress, policy)) = self.progress(kept.row)? else { return Ok(Changed::Unknown) };
        match progress.cancel(policy, now) {
            Some(next) => {
                self.save(kept.row, &next, now, Note::Plain)?;
                self.shown(id)
            }
            None if progress.state == State::Cancelled => Ok(Changed::Before(Box::new(kept))),
            None => Ok(Changed::Refused(Box::new(kept))),
        }
    }

    /// Queues a call again that is dead or was cancelled.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn retry(
        &mut self,
        id: CallId,
        max_age: impl FnOnce(&Kept) -> Duration,
        now: Millis,
    ) -> Result<Changed, Fault> {
        let Some(kept) = self.kept(id)? else { return Ok(Changed::Unknown) };
        let Some(next) = kept.progress.retry(max_age(&kept), now) else { return Ok(Changed::Refused(Box::new(kept))) };
        self.requeue(&kept, &next, now)?;
        self.shown(id)
    }

    /// The answer of an earlier end goes.
    pub(super) fn requeue(&mut self, kept: &Kept, next: &Progress, now: Millis) -> Result<(), Fault> {
        let head = self.answer_head(kept)?;
        let bytes = head.map_or(0, |head| head.head.len() as u64 + head.bytes);
        self.connection.prepare_cached("DELETE FROM answers WHERE row = ?1")?.execute([kept.row])?;
        self.connection
            .prepare_cached("UPDATE calls SET size = size - ?2 WHERE row = ?1")?
            .execute(params![kept.row, i64::try_from(bytes).unwrap_or(0)])?;
        self.gone.push((kept.id, Part::Answer(kept.progress.serial)));
        self.save(kept.row, next, now, Note::Plain)
    }

    fn shown(&self, id: CallId) -> Result<Changed, Fault> {
        Ok(self.kept(id)?.map_or(Changed::Unknown, |kept| Changed::Now(Box::new(kept))))
    }
}

/// The condition of a filter, with its values.
pub(super) fn condition_of(filter: &Filter) -> (String, Vec<Value>) {
    let (mut condition, mut values) = ("1".to_owned(), Vec::new());
    if let Some(state) = filter.state {
        // Written out: a partial index is found by it.
        condition.push_str(&format!(" AND state = {}", number_of(state)));
    }
    if let Some(deployment) = &filter.deployment {
        condition.push_str(" AND deployment = ?");
        values.push(Value::Text(deployment.to_string()));
    }
    if let Some(function) = &filter.function {
        condition.push_str(" AND function = ?");
        values.push(Value::Text(function.to_string()));
    }
    (condition, values)
}

pub(super) fn kept_of(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let status: Option<u16> = row.get(9)?;
    let code: Option<Box<str>> = row.get(10)?;
    let message: Option<Box<str>> = row.get(11)?;
    let was_tried = status.is_some() || code.is_some();
    Ok(Kept {
        row: row.get(0)?,
        id: CallId::from_bytes(row.get(1)?),
        deployment: row.get(2)?,
        function: row.get(3)?,
        priority: if row.get::<_, i64>(4)? == 0 { Priority::Normal } else { Priority::Low },
        origin: row.get(5)?,
        accepted: row.get(6)?,
        began: row.get(7)?,
        ended: row.get(8)?,
        progress: progress_of(row, 14)?,
        last: was_tried.then(|| (status.unwrap_or(0), code.unwrap_or_default(), message.unwrap_or_default())),
        callback: row.get(12)?,
        reports: row.get::<_, Option<_>>(13)?.map(CallId::from_bytes),
        report: None,
    })
}

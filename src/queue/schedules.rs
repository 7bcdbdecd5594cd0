//! The times of schedules: each has at most one call.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Row, params};

use crate::queue::accepting::Bounds;
use crate::queue::call::{Accepted, NewCall};
use crate::queue::database::Database;
use crate::queue::fault::Fault;
use crate::queue::progress::Millis;

/// What became of a time of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// It has its call.
    Accepted,
    /// It had one before, or was passed over.
    Before,
    /// The call before has not ended, and calls do not overlap: it is passed over.
    Overlaps,
}

/// How far a schedule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticked {
    /// The last of its times that has its call or was passed over.
    pub last: Millis,
    /// What its times were then, in words; none if that is not known.
    pub times: Option<Box<str>>,
}

impl Database {
    /// How far all schedules are, by name.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn last_ticks(&self) -> Result<HashMap<Box<str>, Ticked>, Fault> {
        let mut select = self.connection.prepare_cached("SELECT name, last, times FROM schedules")?;
        let ticked = |row: &Row<'_>| Ok((row.get(0)?, Ticked { last: row.get(1)?, times: row.get(2)? }));
        Ok(select.query_map([], ticked)?.collect::<Result<_, _>>()?)
    }

    /// Remembers that the times of a schedule count from this one on.
    ///
    /// # Errors
    ///
    /// The disk is full, or the file is not usable.
    pub fn begin_schedule(&mut self, name: &str, Ticked { last, times }: &Ticked) -> Result<(), Fault> {
        self.connection
            .prepare_cached(
                "INSERT INTO schedules (name, last, times) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE \
                 SET last = max(last, excluded.last), times = coalesce(excluded.times, times)",
            )?
            .execute(params![name, last, times])?;
        Ok(())
    }

    /// Accepts the call of a time of a schedule.
    ///
    /// # Errors
    ///
    /// The queue or the disk is full: the time can still have its call.
    pub fn accept_tick(
        &mut self,
        name: &str,
        tick: Millis,
        call: &NewCall,
        may_overlap: bool,
        bounds: Bounds,
    ) -> Result<Tick, Fault> {
        let known: Option<(Millis, Option<i64>)> = self
            .connection
            .prepare_cached("SELECT last, call FROM schedules WHERE name = ?1")?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if known.is_some_and(|(last, _)| last >= tick) {
            return Ok(Tick::Before);
        }
        let before = known.and_then(|(_, call)| call);
        if !may_overlap && self.is_under_way(before)? {
            self.begin_schedule(name, &Ticked { last: tick, times: None })?;
            return Ok(Tick::Overlaps);
        }
        if self.accept(call, bounds)? != Accepted::New {
            return Ok(Tick::Before);
        }
        let row = self.row_of(call)?;
        self.connection
            .prepare_cached(
                "INSERT INTO schedules (name, last, call) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (name) DO UPDATE SET last = excluded.last, call = excluded.call",
            )?
            .execute(params![name, tick, row])?;
        Ok(Tick::Accepted)
    }

    fn is_under_way(&self, call: Option<i64>) -> Result<bool, Fault> {
        let Some(row) = call else { return Ok(false) };
        Ok(self.progress(row)?.is_some_and(|(progress, _)| !progress.state.has_ended()))
    }

    fn row_of(&self, call: &NewCall) -> Result<i64, Fault> {
        let mut select = self.connection.prepare_cached("SELECT row FROM calls WHERE id = ?1")?;
        Ok(select.query_row([call.id.as_bytes()], |row| row.get(0))?)
    }
}

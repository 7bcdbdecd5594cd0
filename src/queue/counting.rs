//! Calls are counted by deployment, as far as somebody may want to do something about them.

use std::collections::HashMap;

use serde::Serialize;

use crate::queue::database::{Database, number_of};
use crate::queue::fault::Fault;
use crate::queue::progress::State;

/// The calls of a deployment that have not ended or are dead.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls that wait for a try.
    pub queued: u64,
    /// Calls that are tried.
    pub running: u64,
    /// Calls that failed for good.
    pub dead: u64,
}

impl Database {
    /// The calls of each deployment that has some. Takes longer the more there are: it reads an index of each state.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn count(&self) -> Result<HashMap<Box<str>, Counts>, Fault> {
        let mut counts: HashMap<Box<str>, Counts> = HashMap::new();
        for state in [State::Queued, State::Running, State::Dead] {
            // Written out: a partial index is found by it.
            let number = number_of(state);
            let mut select = self.connection.prepare_cached(&format!(
                "SELECT deployment, count(*) FROM calls WHERE state = {number} GROUP BY deployment"
            ))?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let of = counts.entry(row.get(0)?).or_default();
                let count = row.get::<_, i64>(1)?.unsigned_abs();
                match state {
                    State::Queued => of.queued = count,
                    State::Running => of.running = count,
                    _ => of.dead = count,
                }
            }
        }
        Ok(counts)
    }
}

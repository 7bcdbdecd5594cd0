//! What time does to calls: they become too old, are removed after their end, and go on after the gateway's end.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use crate::queue::bodies;
use crate::queue::call_id::CallId;
use crate::queue::database::{Database, POLICY, PROGRESS, millis, policy_of, progress_of};
use crate::queue::fault::Fault;
use crate::queue::progress::{Millis, Policy, Progress};

/// Calls that one turn looks after.
const TURN: u32 = 256;

/// The age of a file that belongs to no call: younger ones may get theirs yet.
const SWEPT_AFTER: Duration = Duration::from_secs(600);

/// No call waits longer for a try than this, or than its longest backoff.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a turn has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Calls that have become too old, and whether they are callbacks.
    pub expired: Vec<(CallId, bool)>,
    /// Whether more is to be done at once.
    pub more: bool,
}

/// A call that time does something to.
struct Row {
    row: i64,
    id: CallId,
    progress: Progress,
    policy: Policy,
    is_callback: bool,
}

impl Database {
    /// Has the tries that were under way when a gateway ended made again. Returns how many there were. `owner` is this
    /// process.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn recover(&mut self, now: Millis, owner: i64) -> Result<usize, Fault> {
        let running = self.rows("state = 1", u32::MAX, now)?;
        for Row { row, progress, policy, .. } in &running {
            if let Some((next, note)) = progress.interrupt(*policy, now) {
                self.save(*row, &next, now, note)?;
            }
        }
        // Times of a clock that has been set back since then would not come.
        self.connection
            .prepare_cached("UPDATE calls SET due = ?1 WHERE state = 0 AND due > ?1 + max(max_backoff, ?2)")?
            .execute(params![now, millis(LONGEST_WAIT)])?;
        // Nobody knows what became of plain calls: whoever made them may make them again.
        self.connection.execute("DELETE FROM keys WHERE owner IS NOT NULL AND owner <> ?1", [owner])?;
        Ok(running.len())
    }

    /// Removes the files of calls that are not kept.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn sweep(&self) -> Result<(), Fault> {
        let is_kept = |id: CallId| {
            let found = self.connection.query_row("SELECT 1 FROM calls WHERE id = ?1", [id.as_bytes()], |_| Ok(()));
            // In doubt it stays.
            !matches!(found.optional(), Ok(None))
        };
        bodies::sweep(&self.bodies, SWEPT_AFTER, is_kept).map_err(|error| Fault::of_io("the bodies of calls", &error))
    }

    /// Ends calls that are too old, and removes those whose time is over.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub fn tidy(&mut self, now: Millis) -> Result<Tidied, Fault> {
        let old = self.rows("state = 0 AND expires <= ?1", TURN, now)?;
        let mut expired = Vec::new();
        for Row { row, id, progress, policy, is_callback } in &old {
            if let Some((next, note)) = progress.expire(*policy, now) {
                self.save(*row, &next, now, note)?;
                expired.push((*id, *is_callback));
            }
        }
        let over = self.rows("state >= 2 AND due <= ?1", TURN, now)?;
        for Row { row, id, progress, .. } in &over {
            self.remove(*row, *id, progress.serial)?;
        }
        let keys = self
            .connection
            .prepare_cached(
                "DELETE FROM keys WHERE key IN \
                 (SELECT key FROM keys WHERE until <= ?1 AND owner IS NULL ORDER BY until LIMIT ?2)",
            )?
            .execute(params![now, TURN])?;
        let most = [old.len(), over.len(), keys].into_iter().max().unwrap_or(0);
        Ok(Tidied { more: most >= TURN as usize, expired })
    }

    fn rows(&self, which: &str, most: u32, now: Millis) -> Result<Vec<Row>, Fault> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT row, id, {PROGRESS}, {POLICY}, reports IS NOT NULL FROM calls WHERE {which} LIMIT ?2"
        ))?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Row {
                row: row.get(0)?,
                id: CallId::from_bytes(row.get(1)?),
                progress: progress_of(row, 2)?,
                policy: policy_of(row, 9)?,
                is_callback: row.get(14)?,
            })
        };
        Ok(select.query_map(params![now, most], read)?.collect::<Result<_, _>>()?)
    }
}

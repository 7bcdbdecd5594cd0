//! The file of the queue: its tables, and how it is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior};

use crate::queue::bodies::{self, Part};
use crate::queue::call_id::CallId;
use crate::queue::fault::Fault;
use crate::queue::progress::{Policy, Progress, State};

/// The version of the tables. A file of a later one is not touched.
const VERSION: i64 = 3;
/// How long a change waits for another process that uses the file, during an upgrade.
const BUSY: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 5000 });
/// Pages of the write-ahead log after which it is moved into the file.
const CHECKPOINT_PAGES: u32 = 1000;

/// Bytes to which SQLite cuts the log when it begins it again.
pub(super) const LOG_KEPT: u64 = 64 << 20;

/// States are numbers in the file, in the order of [`State::ALL`]. Rows are in the order of acceptance. `due` is the
/// time of the next try, or of the removal once a call has ended. `room` counts calls that have not ended, and the
/// bytes of requests and answers, those of plain calls under keys (`keyed`) included.
const TABLES: &str = "
CREATE TABLE calls (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  deployment TEXT NOT NULL,
  function TEXT NOT NULL,
  origin TEXT NOT NULL,
  priority INTEGER NOT NULL,
  state INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  interruptions INTEGER NOT NULL,
  serial INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  due INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  began INTEGER,
  ended INTEGER,
  attempts INTEGER NOT NULL,
  backoff INTEGER NOT NULL,
  max_backoff INTEGER NOT NULL,
  keep INTEGER NOT NULL,
  keep_dead INTEGER NOT NULL,
  size INTEGER NOT NULL,
  status INTEGER,
  code TEXT,
  message TEXT
) STRICT;
CREATE INDEX calls_waiting ON calls (deployment, priority, due, row) WHERE state = 0;
CREATE INDEX calls_expiring ON calls (expires) WHERE state = 0;
CREATE INDEX calls_running ON calls (row) WHERE state = 1;
CREATE INDEX calls_removable ON calls (due) WHERE state >= 2;
CREATE INDEX calls_dead ON calls (row) WHERE state = 3;
CREATE TABLE requests (row INTEGER PRIMARY KEY, body BLOB) STRICT;
CREATE TABLE answers (row INTEGER PRIMARY KEY, head TEXT NOT NULL, body BLOB) STRICT;
CREATE TABLE keys (
  key BLOB PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  id BLOB,
  owner INTEGER,
  until INTEGER NOT NULL,
  head TEXT,
  body BLOB,
  size INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_until ON keys (until);
CREATE TABLE schedules (name TEXT PRIMARY KEY, last INTEGER NOT NULL, call INTEGER) STRICT;
CREATE TABLE room (waiting INTEGER NOT NULL, bytes INTEGER NOT NULL, keyed INTEGER NOT NULL) STRICT;
INSERT INTO room VALUES (0, 0, 0);
CREATE TRIGGER calls_added AFTER INSERT ON calls BEGIN
  UPDATE room SET waiting = waiting + (NEW.state < 2), bytes = bytes + NEW.size;
END;
CREATE TRIGGER calls_changed AFTER UPDATE OF state, size ON calls BEGIN
  UPDATE room SET waiting = waiting + (NEW.state < 2) - (OLD.state < 2), bytes = bytes + NEW.size - OLD.size;
END;
CREATE TRIGGER calls_removed AFTER DELETE ON calls BEGIN
  UPDATE room SET waiting = waiting - (OLD.state < 2), bytes = bytes - OLD.size;
  DELETE FROM requests WHERE row = OLD.row;
  DELETE FROM answers WHERE row = OLD.row;
END;
CREATE TRIGGER keys_changed AFTER UPDATE OF size ON keys BEGIN
  UPDATE room SET bytes = bytes + NEW.size - OLD.size, keyed = keyed + NEW.size - OLD.size;
END;
CREATE TRIGGER keys_removed AFTER DELETE ON keys BEGIN
  UPDATE room SET bytes = bytes - OLD.size, keyed = keyed - OLD.size;
END;
";

/// What version 2 adds. `callback` is where the end of a call is reported to, `callback_age` how long that is tried.
/// The report is a row of its own: `reports` is the call, and `lane` the origin that it goes to. Tries of a lane share
/// one limit; that of other calls is their deployment.
const CALLBACKS: &str = "
ALTER TABLE calls ADD COLUMN callback TEXT;
ALTER TABLE calls ADD COLUMN callback_age INTEGER;
ALTER TABLE calls ADD COLUMN reports BLOB;
ALTER TABLE calls ADD COLUMN lane TEXT;
DROP INDEX calls_waiting;
CREATE INDEX calls_waiting ON calls (coalesce(lane, deployment), priority, due, row) WHERE state = 0;
CREATE INDEX calls_reporting ON calls (reports, row) WHERE reports IS NOT NULL;
";

/// What version 3 adds: `last` of a schedule is one of these `times`. The rows of keys have a size, and `keyed` is that
/// of plain calls alone.
const TIMES: &str = "
ALTER TABLE schedules ADD COLUMN times TEXT;
DROP TRIGGER keys_changed;
DROP TRIGGER keys_removed;
CREATE TRIGGER keys_added AFTER INSERT ON keys BEGIN
  UPDATE room SET bytes = bytes + NEW.size, keyed = keyed + iif(NEW.id IS NULL, NEW.size, 0);
END;
CREATE TRIGGER keys_changed AFTER UPDATE OF size ON keys BEGIN
  UPDATE room SET bytes = bytes + NEW.size - OLD.size,
                  keyed = keyed + iif(NEW.id IS NULL, NEW.size - OLD.size, 0);
END;
CREATE TRIGGER keys_removed AFTER DELETE ON keys BEGIN
  UPDATE room SET bytes = bytes - OLD.size, keyed = keyed - iif(OLD.id IS NULL, OLD.size, 0);
END;
";

/// The columns of [`progress_of`] and [`policy_of`], in their order.
pub(super) const PROGRESS: &str = "state, tries, failures, interruptions, serial, due, expires";
pub(super) const POLICY: &str = "attempts, backoff, max_backoff, keep, keep_dead";

/// The open file.
#[derive(Debug)]
pub struct Database {
    pub(super) connection: Connection,
    /// The folder of bodies too large for it.
    pub(super) bodies: PathBuf,
    /// Files that nothing needs any more once the transaction under way is on the disk.
    pub(super) gone: Vec<(CallId, Part)>,
    /// The file was found damaged.
    damaged: Option<Fault>,
}

impl Database {
    /// Opens the file, or makes it. `bodies` is a folder that exists.
    ///
    /// # Errors
    ///
    /// The file is damaged, is of a later version, or cannot be written.
    pub fn open(file: &Path, bodies: &Path) -> Result<Self, Fault> {
        Self::prepare(Connection::open(file)?, bodies)
    }

    /// Opens the file that is there, only to look at it.
    ///
    /// # Errors
    ///
    /// The file is damaged, or cannot be read.
    pub(super) fn open_to_read(file: &Path, bodies: &Path) -> Result<Self, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(Self { connection, bodies: bodies.to_owned(), gone: Vec::new(), damaged: None })
    }

    /// A database in memory, for simulations.
    #[cfg(test)]
    pub fn in_memory(bodies: &Path) -> Result<Self, Fault> {
        Self::prepare(Connection::open_in_memory()?, bodies)
    }

    fn prepare(mut connection: Connection, bodies: &Path) -> Result<Self, Fault> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is answered with 202 survives a loss of power.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", LOG_KEPT.cast_signed())?;
        connection.pragma_update(None, "trusted_schema", false)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > VERSION {
            let text = format!("the file of asynchronous calls has format {version}, this program knows {VERSION}");
            return Err(Fault::Broken(text.into()));
        }
        // Each version has the tables of those before.
        for step in [TABLES, CALLBACKS, TIMES].into_iter().skip(usize::try_from(version).unwrap_or(0)) {
            transaction.execute_batch(step)?;
        }
        if version < VERSION {
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        Ok(Self { connection, bodies: bodies.to_owned(), gone: Vec::new(), damaged: None })
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        self.gone.clear();
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Does something within the transaction, or nothing of it.
    pub(super) fn within<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.connection.is_autocommit() {
            // A change before this one has filled the disk, and the whole transaction is gone.
            return Err(Fault::Full("the disk is full".into()));
        }
        self.connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        let before = self.gone.len();
        let done = work(self);
        if let Err(fault @ Fault::Damaged(_)) = &done {
            self.damaged = Some(fault.clone());
        }
        if done.is_err() && !self.connection.is_autocommit() {
            self.gone.truncate(before);
            self.connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        if !self.connection.is_autocommit() {
            self.connection.prepare_cached("RELEASE job")?.execute([])?;
        }
        done
    }

    /// Ends the transaction: what it did is on the disk when this returns. On a fault, nothing of it has happened.
    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        if self.connection.is_autocommit() {
            return Err(self.damaged.take().unwrap_or_else(|| Fault::Full("the disk is full".into())));
        }
        let committed = match self.damaged.take() {
            None => self.connection.execute_batch("COMMIT").map_err(Fault::from),
            // What was not read may be a part of what was to be written.
            Some(fault) => Err(fault),
        };
        if let Err(fault) = committed {
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
            return Err(fault);
        }
        for (id, part) in self.gone.drain(..) {
            bodies::remove(&self.bodies, id, part);
        }
        Ok(())
    }
}

/// Reads the columns of [`PROGRESS`] from this one on.
pub(super) fn progress_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Progress> {
    Ok(Progress {
        state: state_of(row.get(at)?),
        tries: row.get(at + 1)?,
        failures: row.get(at + 2)?,
        interruptions: row.get(at + 3)?,
        serial: row.get(at + 4)?,
        due: row.get(at + 5)?,
        expires: row.get(at + 6)?,
    })
}

/// Reads the columns of [`POLICY`] from this one on.
pub(super) fn policy_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Policy> {
    let millis = |column: usize| row.get::<_, i64>(column).map(|ms| Duration::from_millis(ms.unsigned_abs()));
    Ok(Policy {
        attempts: row.get(at)?,
        backoff: millis(at + 1)?,
        max_backoff: millis(at + 2)?,
        keep: millis(at + 3)?,
        keep_dead: millis(at + 4)?,
    })
}

/// The state with this number.
fn state_of(number: i64) -> State {
    usize::try_from(number).ok().and_then(|at| State::ALL.get(at).copied()).unwrap_or(State::Dead)
}

/// The number of a state.
pub(super) fn number_of(state: State) -> i64 {
    match state {
        State::Queued => 0,
        State::Running => 1,
        State::Done => 2,
        State::Dead => 3,
        State::Cancelled => 4,
    }
}

/// Whole milliseconds of a duration, as they are kept.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::trying::Room;

    #[test]
    fn a_file_of_the_version_before_opens_with_its_calls() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.sqlite");
        let before = Connection::open(&file).unwrap();
        before.execute_batch(TABLES).unwrap();
        before.pragma_update(None, "user_version", 1).unwrap();
        let insert = "INSERT INTO calls VALUES (1, zeroblob(16), 'shop', 'order', '', 0, 0, 0, 0, 0, 0, 1, 1, 9999, \
                      NULL, NULL, 3, 1000, 9000, 9000, 9000, 2, NULL, NULL, NULL); \
                      INSERT INTO requests VALUES (1, x'5b5d')";
        before.execute_batch(insert).unwrap();
        drop(before);
        for _ in 0..2 {
            let mut database = Database::open(&file, folder.path()).unwrap();
            let room = Room { tries: 1, callbacks: 1, bytes: 1 };
            let begun = database.begin_tries(5, "", room, |_| 1).unwrap();
            let [one] = &begun.tries[..] else { panic!("the call is gone") };
            assert_eq!((&*one.lane, one.request.as_deref(), &one.callback), ("shop", Some(&b"[]"[..]), &None));
            assert_eq!(database.recover(5, 0).unwrap(), 1);
        }
    }
}

//! A copy of the queue while a gateway uses it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::queue::bodies;
use crate::queue::call_id::CallId;
use crate::queue::fault::Fault;
use crate::queue::places::{BODIES, FILE, of_data_folder};

/// How long the copy waits for a change of the gateway.
const BUSY: Duration = Duration::from_secs(10);

/// Copies the asynchronous calls of a data folder as they were at one moment into another one. Returns how many there
/// are; none if none was ever accepted. Blocks.
///
/// # Errors
///
/// The file is not usable, or the copy cannot be written.
pub fn copy(data_dir: &Path, to: &Path) -> Result<Option<u64>, Fault> {
    let (from, to) = (of_data_folder(data_dir), of_data_folder(to));
    let file = from.join(FILE);
    if !file.exists() {
        return Ok(None);
    }
    bodies::make_folder(&to.join(BODIES)).map_err(|error| Fault::of_io("the copy of calls", &error))?;
    // Before and after the calls: bodies come before their calls, and go after them.
    copy_bodies(&from, &to)?;
    let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY)?;
    let target = to.join(FILE);
    connection.execute("VACUUM INTO ?1", [target.to_string_lossy()])?;
    copy_bodies(&from, &to)?;
    let copied = Connection::open_with_flags(&target, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let is_kept =
        |id: CallId| copied.query_row("SELECT 1 FROM calls WHERE id = ?1", [id.as_bytes()], |_| Ok(())).is_ok();
    bodies::sweep(&to.join(BODIES), Duration::ZERO, is_kept)
        .map_err(|error| Fault::of_io("the copy of calls", &error))?;
    fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(|error| Fault::of_io("the copy of calls", &error))?;
    let count: i64 = copied.query_row("SELECT count(*) FROM calls", [], |row| row.get(0))?;
    Ok(Some(count.unsigned_abs()))
}

fn copy_bodies(from: &Path, to: &Path) -> Result<(), Fault> {
    let copied = || {
        for entry in fs::read_dir(from.join(BODIES))? {
            let entry = entry?;
            let target = to.join(BODIES).join(entry.file_name());
            if target.exists() {
                continue;
            }
            match fs::copy(entry.path(), &target) {
                // Its call has been removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => {
                    copied?;
                }
            }
        }
        Ok(())
    };
    copied().map_err(|error: io::Error| Fault::of_io("the bodies of calls", &error))
}

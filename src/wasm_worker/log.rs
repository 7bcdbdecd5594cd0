//! Lines of the worker itself in the deployment's log, which the gateway reads from the worker's standard error.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes a line to standard error. Unlike `eprintln!` it does not panic when the gateway no longer reads: a worker
/// whose log is closed goes on answering calls.
pub(super) fn write(line: Arguments<'_>) {
    let _unread = writeln!(io::stderr(), "{line}");
}

//! Messages on standard error. `eprintln!` panics when the stream is closed or its disk is full, which would replace
//! the exit code of the command; a message that cannot be written is dropped instead.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line.
pub(crate) fn print_line(line: impl Display) {
    let _dropped = writeln!(io::stderr(), "{line}");
}

/// Writes a question, without a line break, so that the answer is typed behind it.
pub(crate) fn print_question(question: impl Display) {
    let _dropped = write!(io::stderr(), "{question}");
}

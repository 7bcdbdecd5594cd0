//! Questions before something is removed for good.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use crate::cli::exit::EXIT_USAGE;
use crate::cli::stderr;

/// Asks on the terminal whether to do something, such as `delete "math"`; `done` is its participle. Returns how the
/// command ends if the answer is not yes, or if there is no terminal: then the flag is required.
///
/// # Errors
///
/// The answer cannot be read.
pub(super) fn refusal(doing: &str, done: &str, flag: &str) -> io::Result<Option<ExitCode>> {
    if !io::stdin().is_terminal() {
        stderr::print_line(format_args!(
            "error: no confirmation to {doing}: standard input is not a terminal; add {flag}"
        ));
        return Ok(Some(ExitCode::from(EXIT_USAGE)));
    }
    stderr::print_question(format_args!("{doing}? [y/N] "));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(None);
    }
    stderr::print_line(format_args!("nothing was {done}"));
    Ok(Some(ExitCode::FAILURE))
}

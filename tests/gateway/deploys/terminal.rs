//! Programs on a terminal: `tests/fixtures/terminal.py` runs them and types keys as a user would.

use serde_json::json;

use crate::support::fixture;

/// The command in front of a program and its arguments, which types keys when words appear.
pub(crate) fn with(steps: &[(&str, &str)]) -> Vec<String> {
    vec!["python3".to_owned(), fixture("terminal.py").display().to_string(), json!(steps).to_string()]
}

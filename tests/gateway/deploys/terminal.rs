//! Programs on a terminal: `tests/fixtures/terminal.py` runs them and types what somebody would.

use serde_json::json;

use crate::support::fixture;

/// What stands before a program and its arguments: where these words come, these keys are typed.
pub(crate) fn with(steps: &[(&str, &str)]) -> Vec<String> {
    vec!["python3".to_owned(), fixture("terminal.py").display().to_string(), json!(steps).to_string()]
}

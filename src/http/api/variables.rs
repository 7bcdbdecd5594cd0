//! The variables that a deploy sets for its workers, as clients send them.

use serde::Deserialize;

use crate::config::check_variable;
use crate::http::problem::{Code, Problem};
use crate::registry::record::Variables;

/// Limits of the variables that a deploy sets: their number, and the bytes of all of them.
const VARIABLES: usize = 256;
const VARIABLE_BYTES: usize = 64 * 1024;

/// A variable: `{"name":"GREETING","value":"hello"}`.
#[derive(Debug, Deserialize)]
pub struct Variable {
    name: String,
    /// MetaCall's client leaves it out if the user typed nothing.
    #[serde(default)]
    value: String,
}

/// Checks the variables that a deploy sets for its workers.
///
/// # Errors
///
/// `bad_request`: a name or a value that no variable can have, or too many of them.
pub fn variables(env: Vec<Variable>) -> Result<Variables, Problem> {
    let bad = |message: String| Problem::new(Code::BadRequest, message);
    let bytes: usize = env.iter().map(|variable| variable.name.len() + variable.value.len()).sum();
    if env.len() > VARIABLES || bytes > VARIABLE_BYTES {
        return Err(bad(format!("more than {VARIABLES} variables or {VARIABLE_BYTES} bytes of them")));
    }
    for Variable { name, value } in &env {
        check_variable(name).map_err(bad)?;
        if value.contains('\0') {
            return Err(bad(format!("the value of {name:?} has a NUL byte")));
        }
    }
    Ok(env.into_iter().map(|variable| (variable.name, variable.value)).collect())
}

//! Names of environment variables: their form, and the names that a deployment may not set.

/// Variables that a deployment may not set, by name or by the beginning of the name (`*`), with the reason.
const REFUSED_VARIABLES: [(&str, &str); 4] = [
    ("LD_*", "it changes how the programs of a worker are linked"),
    ("NODE_CHANNEL_*", "it is reserved for the channel between gateway and worker"),
    ("METAGATE_*", "it is reserved for the gateway"),
    ("PATH", "workers inherit it from the gateway; to run another program, set \"interpreter\""),
];

/// Whether a deployment may set this environment variable; if not, why.
pub fn check_variable(name: &str) -> Result<(), String> {
    if !is_variable_name(name) {
        return Err(format!(
            "{name:?} cannot name an environment variable: use letters, digits and _, and no digit at the beginning"
        ));
    }
    match refusal(name) {
        Some(reason) => Err(format!("{name:?} may not be set: {reason}")),
        None => Ok(()),
    }
}

fn refusal(name: &str) -> Option<&'static str> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    REFUSED_VARIABLES.iter().find(|(pattern, _)| matches(pattern)).map(|(_, reason)| *reason)
}

/// Whether a text is of the form `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

//! Reads `[plugin.config]`: the JSON text becomes a checked type, an error names the key that is wrong. Durations,
//! sizes and globs are written as in the gateway's own configuration. And what a panic leaves in the log.

mod glob;
mod panics;
mod units;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use glob::{Glob, any_matches};
pub use units::{Period, Size};

/// Reads a configuration. The error is for the operator: `limit: invalid type: string "ten", expected u32`.
///
/// # Errors
///
/// The text is not JSON, or does not fit `T`.
pub fn read<T: DeserializeOwned>(config: &str) -> Result<T, String> {
    let value: Value =
        serde_json::from_str(config).map_err(|error| format!("the configuration is no JSON: {error}"))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let key = error.path().to_string();
        match key.as_str() {
            "." => error.into_inner().to_string(),
            _ => format!("{key}: {}", error.into_inner()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        limit: u32,
        #[serde(default)]
        limits: BTreeMap<String, Period>,
    }

    #[test]
    fn an_error_names_the_key() {
        for (config, message) in [
            (r#"{"limit": "ten"}"#, "limit: invalid type"),
            (r#"{"limit": 1, "limits": {"a": "5"}}"#, "limits.a: \"5\" has no unit"),
            (r#"{"limit": 1, "limitt": 2}"#, "unknown field `limitt`"),
            ("{}", "missing field `limit`"),
            ("{", "no JSON"),
        ] {
            let error = read::<Config>(config).unwrap_err();
            assert!(error.contains(message), "{config}: {error}");
        }
    }

    #[test]
    fn what_is_right_is_read() {
        let config: Config = read(r#"{"limit": 3, "limits": {"a": "5ms"}}"#).unwrap();
        assert_eq!((config.limit, config.limits["a"].nanoseconds()), (3, 5_000_000));
    }
}

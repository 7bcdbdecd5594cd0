//! The configuration: the results that are kept, for how long, and the values that distinguish calls.

use plugin_config::{Glob, Period, Size, any_matches, read};
use serde::Deserialize;

/// The maximum size of a value in the store.
const LARGEST: Size = Size::kibibytes(1024);

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How long a result is kept. Default "10s".
    #[serde(default = "default_ttl")]
    ttl: Period,
    /// The functions whose results are kept. Default all.
    #[serde(default = "default_functions")]
    functions: Vec<Glob>,
    /// The size of the largest result that is kept. Default "64KiB".
    #[serde(default = "default_max_size")]
    max_size: Size,
    /// The values that distinguish calls in addition to their arguments.
    #[serde(default)]
    vary: Vec<String>,
}

/// The checked configuration.
pub struct Policy {
    /// How long a result is kept, in milliseconds.
    pub ttl: u64,
    functions: Vec<Glob>,
    /// The size of the largest result that is kept, in bytes.
    pub max_size: u64,
    /// The values that distinguish calls in addition to their arguments.
    pub vary: Vec<Vary>,
}

/// A value of a call that is part of its key.
#[derive(Debug, PartialEq, Eq)]
pub enum Vary {
    /// A header.
    Header(String),
    /// A value of the context.
    Context(String),
}

impl Policy {
    /// Reads the configuration; the error is for the operator.
    pub fn read(config: &str) -> Result<Self, String> {
        let config: Config = read(config)?;
        if config.ttl.milliseconds() == 0 {
            return Err("ttl: results that are kept for no time need no cache".to_owned());
        }
        if config.max_size.bytes() == 0 || config.max_size > LARGEST {
            return Err(format!("max_size: {} is not within 1 and {} bytes", config.max_size.bytes(), LARGEST.bytes()));
        }
        let vary =
            config.vary.iter().enumerate().map(|(at, text)| Vary::read(text).ok_or(at)).collect::<Result<_, _>>();
        Ok(Self {
            ttl: config.ttl.milliseconds(),
            functions: config.functions,
            max_size: config.max_size.bytes(),
            vary: vary.map_err(|at| format!("vary[{at}]: is empty"))?,
        })
    }

    /// Whether results of this function are kept.
    pub fn keeps(&self, function: &str) -> bool {
        any_matches(&self.functions, function)
    }
}

impl Vary {
    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("header:") {
            Some(name) => Some(name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).map(Self::Header),
            None => Some(text.to_owned()).filter(|key| !key.is_empty()).map(Self::Context),
        }
    }
}

const fn default_ttl() -> Period {
    Period::seconds(10)
}

fn default_functions() -> Vec<Glob> {
    vec![Glob::any()]
}

const fn default_max_size() -> Size {
    Size::kibibytes(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_keep_every_result_of_up_to_64_kib_for_ten_seconds() {
        let policy = Policy::read("{}").unwrap();
        assert_eq!((policy.ttl, policy.max_size, policy.vary.len()), (10_000, 65_536, 0));
        assert!(policy.keeps("sum"));
    }

    #[test]
    fn all_keys_are_read() {
        let policy = Policy::read(
            r#"{"ttl": "5m", "functions": ["get_*", "list"], "max_size": 100, "vary": ["caller",
                "header:Accept-Language"]}"#,
        )
        .unwrap();
        assert_eq!((policy.ttl, policy.max_size), (300_000, 100));
        assert!(policy.keeps("get_user") && policy.keeps("list") && !policy.keeps("set_user"));
        assert_eq!(policy.vary, [Vary::Context("caller".to_owned()), Vary::Header("accept-language".to_owned())]);
    }

    #[test]
    fn a_refusal_names_the_key() {
        for (config, message) in [
            (r#"{"ttl": "10"}"#, "ttl: \"10\" has no unit"),
            (r#"{"ttl": "0s"}"#, "ttl: "),
            (r#"{"ttl": 10}"#, "ttl: invalid type"),
            (r#"{"functions": "get_*"}"#, "functions: invalid type"),
            (r#"{"max_size": "2MiB"}"#, "max_size: 2097152"),
            (r#"{"max_size": 0}"#, "max_size: 0"),
            (r#"{"vary": ["caller", "header:"]}"#, "vary[1]: "),
            (r#"{"tll": "10s"}"#, "tll: unknown field"),
        ] {
            let refusal = Policy::read(config).err().unwrap_or_else(|| panic!("accepted: {config}"));
            assert!(refusal.contains(message), "{config}: {refusal}");
        }
    }
}

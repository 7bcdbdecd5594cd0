//! The configuration: the number of calls, and which calls share a bucket.

use plugin_config::{Period, read};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::bucket::Bucket;

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The number of calls that may arrive in one window, and at once.
    limit: u32,
    /// The time in which a used-up bucket fills again. Default "1s".
    #[serde(default = "default_window")]
    window: Period,
    /// Which calls share a bucket. Default "peer".
    #[serde(default = "default_by")]
    by: String,
}

/// Which calls share a bucket.
#[derive(Debug, PartialEq, Eq)]
pub enum By {
    /// Those from one IP address.
    Peer,
    /// Those of one deployment.
    Deployment,
    /// Those with the same `caller` in their context.
    Caller,
    /// Those with the same value of this header.
    Header(String),
}

/// The checked configuration.
pub struct Policy {
    /// The bucket of each key.
    pub bucket: Bucket,
    /// The kind of the key.
    pub by: By,
    /// The message for the caller, without the wait.
    pub message: String,
}

impl Policy {
    /// Reads the configuration; the error is for the operator.
    pub fn read(config: &str) -> Result<Self, String> {
        let config: Config = read(config)?;
        let by = By::read(&config.by)?;
        let bucket = Bucket::new(config.limit, config.window)?;
        let window = config.window.milliseconds();
        let window =
            if window.is_multiple_of(1_000) { format!("{} s", window / 1_000) } else { format!("{window} ms") };
        let message = format!("more than {} calls in {window}", config.limit);
        Ok(Self { bucket, by, message })
    }
}

impl By {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "peer" => Ok(Self::Peer),
            "deployment" => Ok(Self::Deployment),
            "caller" => Ok(Self::Caller),
            _ => match text.strip_prefix("header:").map(str::trim) {
                Some(name) if !name.is_empty() => Ok(Self::Header(name.to_ascii_lowercase())),
                _ => Err(format!("by: {text:?} is none of \"peer\", \"deployment\", \"caller\", \"header:<name>\"")),
            },
        }
    }
}

/// The key of a bucket in the store. Callers and header values are hashed: they may be long, or secret.
pub fn store_key(kind: &str, value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let mut key = String::with_capacity(kind.len() + 33);
    key.push_str(kind);
    key.push(':');
    for byte in &digest[..16] {
        key.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        key.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    key
}

const fn default_window() -> Period {
    Period::seconds(1)
}

fn default_by() -> String {
    "peer".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_a_second_and_the_peer() {
        let policy = Policy::read(r#"{"limit": 10}"#).unwrap();
        assert_eq!(policy.by, By::Peer);
        assert_eq!(policy.bucket, Bucket::new(10, Period::seconds(1)).unwrap());
        assert_eq!(policy.message, "more than 10 calls in 1 s");
    }

    #[test]
    fn a_header_is_named_in_any_case() {
        let policy = Policy::read(r#"{"limit": 1, "window": "1500ms", "by": "header:X-Tenant"}"#).unwrap();
        assert_eq!(policy.by, By::Header("x-tenant".to_owned()));
        assert_eq!(policy.message, "more than 1 calls in 1500 ms");
    }

    #[test]
    fn a_refusal_names_the_key() {
        for (config, message) in [
            ("{}", "missing field `limit`"),
            (r#"{"limit": 0}"#, "limit: "),
            (r#"{"limit": -1}"#, "limit: "),
            (r#"{"limit": 1.5}"#, "limit: "),
            (r#"{"limit": 1, "window": "1"}"#, "window: \"1\" has no unit"),
            (r#"{"limit": 1, "by": "ip"}"#, "by: \"ip\""),
            (r#"{"limit": 1, "by": "header:"}"#, "by: \"header:\""),
            (r#"{"limit": 1, "burst": 5}"#, "burst"),
        ] {
            let refusal = Policy::read(config).err().unwrap_or_else(|| panic!("accepted: {config}"));
            assert!(refusal.contains(message), "{config}: {refusal}");
        }
    }

    #[test]
    fn keys_are_short_and_differ() {
        let key = store_key("header", &"x".repeat(100_000));
        assert_eq!(key.len(), "header:".len() + 32);
        assert_ne!(store_key("header", "a"), store_key("header", "b"));
        assert_ne!(store_key("header", "a"), store_key("caller", "a"));
    }
}

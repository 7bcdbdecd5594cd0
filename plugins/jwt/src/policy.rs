//! The configuration: the trusted keys, and the claims that a token must have.

use plugin_config::{Period, read};
use serde::Deserialize;
use serde_json::Value;

use crate::claims::Wanted;
use crate::keys::{Key, Secret};

/// URLs are used as keys of the store, which may have 1 KiB.
const LONGEST_URL: usize = 900;

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The secret that verifies HS256 tokens.
    secret: Option<String>,
    /// The Ed25519 key that verifies EdDSA tokens.
    public_key: Option<String>,
    /// The URL of an issuer's Ed25519 keys.
    jwks_url: Option<String>,
    /// How long the keys of `jwks_url` are used before they are fetched again. Default "5m".
    #[serde(default = "default_jwks_ttl")]
    jwks_ttl: Period,
    /// The issuer that a token must name. Default any.
    issuer: Option<String>,
    /// The audiences, of which a token must name at least one: a text or a list. Default any.
    audience: Option<Value>,
    /// The tolerated difference of clocks. Default "0s".
    #[serde(default = "default_leeway")]
    leeway: Period,
    /// Whether a token that never expires is refused. Default false.
    #[serde(default)]
    require_exp: bool,
    /// The header that holds the token. Default "authorization".
    #[serde(default = "default_header")]
    header: String,
}

/// The checked configuration.
pub struct Policy {
    /// For HS256.
    pub secret: Option<Secret>,
    /// For EdDSA.
    pub public_key: Option<Key>,
    /// For EdDSA too.
    pub jwks: Option<KeySource>,
    /// The claims that a token must have.
    pub wanted: Wanted,
    /// The header that holds the token, in lower case.
    pub header: String,
}

/// The source of fetched keys.
pub struct KeySource {
    /// The URL of a JSON Web Key Set.
    pub url: String,
    /// How long they are used before they are fetched again, in milliseconds.
    pub ttl: u64,
}

impl Policy {
    /// Reads the configuration; the error is for the operator and never holds a secret.
    pub fn read(config: &str) -> Result<Self, String> {
        let config: Config = read(config)?;
        if config.secret.is_none() && config.public_key.is_none() && config.jwks_url.is_none() {
            return Err("secret, public_key, jwks_url: one of them is needed to check tokens with".to_owned());
        }
        let header = config.header.to_ascii_lowercase();
        if header.is_empty() || header.contains(|c: char| !c.is_ascii_graphic() || c == ':') {
            return Err(format!("header: {:?} is no name of a header", config.header));
        }
        let secret = config.secret.map(|text| Secret::new(&text).map_err(|fault| format!("secret: {fault}")));
        let public_key = config.public_key.map(|text| Key::read(&text).map_err(|fault| format!("public_key: {fault}")));
        let jwks = config.jwks_url.map(|url| KeySource::new(url, config.jwks_ttl));
        let wanted = Wanted {
            issuer: config.issuer,
            audiences: config.audience.as_ref().map_or(Ok(Vec::new()), audiences)?,
            leeway: config.leeway,
            require_exp: config.require_exp,
        };
        Ok(Self {
            secret: secret.transpose()?,
            public_key: public_key.transpose()?,
            jwks: jwks.transpose()?,
            wanted,
            header,
        })
    }
}

impl KeySource {
    fn new(url: String, ttl: Period) -> Result<Self, String> {
        if !(url.starts_with("https://") || url.starts_with("http://")) || url.len() > LONGEST_URL {
            return Err(format!("jwks_url: {url:?} is no https:// address of at most {LONGEST_URL} bytes"));
        }
        if ttl < Period::seconds(1) {
            return Err("jwks_ttl: less than a second".to_owned());
        }
        Ok(Self { url, ttl: ttl.milliseconds() })
    }
}

fn audiences(value: &Value) -> Result<Vec<String>, String> {
    let texts = match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
    texts.ok_or_else(|| "audience: expected a text or a list of at least one".to_owned())
}

const fn default_jwks_ttl() -> Period {
    Period::seconds(300)
}

const fn default_leeway() -> Period {
    Period::seconds(0)
}

fn default_header() -> String {
    "authorization".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_secret_is_enough() {
        let policy = Policy::read(&format!("{{\"secret\": {SECRET:?}}}")).unwrap();
        assert_eq!((policy.header.as_str(), policy.wanted.leeway), ("authorization", Period::seconds(0)));
        assert!(policy.jwks.is_none() && policy.public_key.is_none());
    }

    #[test]
    fn all_keys_are_read() {
        let policy = Policy::read(
            r#"{"jwks_url": "https://a/k", "jwks_ttl": "1m", "issuer": "i", "audience": ["a", "b"], "leeway": "5s",
                "require_exp": true, "header": "X-Token"}"#,
        )
        .unwrap();
        let jwks = policy.jwks.as_ref().map(|jwks| (jwks.url.as_str(), jwks.ttl));
        assert_eq!((jwks, policy.header.as_str()), (Some(("https://a/k", 60_000)), "x-token"));
        assert_eq!(policy.wanted.audiences, ["a", "b"]);
        assert!(policy.wanted.require_exp && policy.wanted.leeway == Period::seconds(5));
    }

    #[test]
    fn a_refusal_names_the_key_and_shows_no_secret() {
        for (config, message) in [
            ("{}", "secret, public_key, jwks_url: "),
            (r#"{"issuer": "i"}"#, "secret, public_key, jwks_url: "),
            (r#"{"secret": ""}"#, "secret: is empty"),
            (r#"{"public_key": "hidden"}"#, "public_key: is no Ed25519 key"),
            (r#"{"jwks_url": "ftp://a"}"#, "jwks_url: "),
            (r#"{"jwks_url": "https://a", "jwks_ttl": "5"}"#, "jwks_ttl: "),
            (r#"{"jwks_url": "https://a", "jwks_ttl": "5ms"}"#, "jwks_ttl: "),
            (r#"{"secret": "hidden", "audience": []}"#, "audience: "),
            (r#"{"secret": "hidden", "audience": 5}"#, "audience: "),
            (r#"{"secret": "hidden", "leeway": 5}"#, "leeway: "),
            (r#"{"secret": "hidden", "header": "a b"}"#, "header: "),
            (r#"{"secret": "hidden", "secrets": []}"#, "secrets: unknown field"),
        ] {
            let refusal = Policy::read(config).err().unwrap_or_else(|| panic!("accepted: {config}"));
            assert!(refusal.contains(message) && !refusal.contains("hidden"), "{config}: {refusal}");
        }
    }
}

//! The known keys, as digests, and the labels of their owners.

use std::collections::BTreeMap;

use plugin_config::read;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The header that holds the key. Default "x-api-key".
    #[serde(default = "default_header")]
    header: String,
    /// Keys by the label of their owner.
    #[serde(default)]
    keys: BTreeMap<String, String>,
    /// More keys, a line each: `label = key` or `label:key`; `#` starts a comment line.
    #[serde(default)]
    keys_file: String,
}

/// The known keys.
pub struct Keyring {
    header: String,
    entries: Vec<Entry>,
}

struct Entry {
    digest: [u8; 32],
    /// The label as JSON.
    caller: String,
}

impl Keyring {
    /// Reads the configuration; the error is for the operator and never holds a key.
    pub fn read(config: &str) -> Result<Self, String> {
        let config: Config = read(config)?;
        let header = config.header.to_ascii_lowercase();
        if header.is_empty() || !header.bytes().all(is_token) {
            return Err(format!("header: {:?} is no name of a header", config.header));
        }
        let mut keyring = Self { header, entries: Vec::new() };
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (label, key) in &config.keys {
            keyring.add(label, key, &mut labels, &format!("keys.{label}"))?;
        }
        for (number, line) in config.keys_file.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("keys_file: line {}", number + 1);
            let (label, key) = line
                .split_once(['=', ':'])
                .ok_or_else(|| format!("{place} is neither `label = key` nor `label:key`"))?;
            keyring.add(label.trim(), key.trim(), &mut labels, &place)?;
        }
        if keyring.entries.is_empty() {
            return Err("keys: no keys at all, so nobody could call; set `keys` or `keys_file`".to_owned());
        }
        Ok(keyring)
    }

    /// The header that holds the key, in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The challenge that goes with a 401.
    pub fn challenge(&self) -> String {
        format!("ApiKey header=\"{}\"", self.header)
    }

    /// The label of a key's owner as JSON, or none. Keys are compared by their digests, all of them to the last byte,
    /// so that the time taken reveals nothing about a known key, not even its length.
    pub fn caller(&self, key: &str) -> Option<&str> {
        let digest = digest(key);
        let mut found = u32::MAX;
        for (at, entry) in (0..).zip(&self.entries) {
            found.conditional_assign(&at, entry.digest.ct_eq(&digest));
        }
        self.entries.get(usize::try_from(found).ok()?).map(|entry| entry.caller.as_str())
    }

    /// Adds a key. `labels` holds the labels added so far, by key; `place` is this key's location.
    fn add(
        &mut self,
        label: &str,
        key: &str,
        labels: &mut BTreeMap<String, String>,
        place: &str,
    ) -> Result<(), String> {
        if label.is_empty() {
            return Err(format!("{place}: the label is empty"));
        }
        if key.is_empty() {
            return Err(format!("{place}: the key is empty"));
        }
        if key.trim() != key || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(format!("{place}: no header can hold this key; use printable ASCII"));
        }
        if let Some(owner) = labels.get(key) {
            return Err(format!("{place}: has the same key as {owner:?}"));
        }
        let caller = serde_json::to_string(label).map_err(|error| format!("{place}: {error}"))?;
        labels.insert(key.to_owned(), label.to_owned());
        self.entries.push(Entry { digest: digest(key), caller });
        Ok(())
    }
}

fn default_header() -> String {
    "x-api-key".to_owned()
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Whether a header's name may contain a byte (RFC 9110, token).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: &str) -> String {
        Keyring::read(config).err().unwrap_or_else(|| panic!("accepted: {config}"))
    }

    #[test]
    fn a_key_gives_its_owners_label() {
        let keyring = Keyring::read(r#"{"keys": {"alice": "a-key", "b\"ob": "b-key"}}"#).unwrap();
        assert_eq!(keyring.caller("a-key"), Some("\"alice\""));
        assert_eq!(keyring.caller("b-key"), Some(r#""b\"ob""#));
        for unknown in ["", "a", "a-key ", "A-KEY", "c-key", "alice"] {
            assert_eq!(keyring.caller(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_file_has_a_key_a_line() {
        let keyring =
            Keyring::read(r##"{"keys_file": "# team\n alice = k=1:x \r\n\nbob:k2\n", "keys": {"carol": "k3"}}"##)
                .unwrap();
        assert_eq!(keyring.caller("k=1:x"), Some("\"alice\""));
        assert_eq!(keyring.caller("k2"), Some("\"bob\""));
        assert_eq!(keyring.caller("k3"), Some("\"carol\""));
    }

    #[test]
    fn an_owner_may_have_two_keys_but_a_key_only_one_owner() {
        let keyring = Keyring::read(r#"{"keys": {"alice": "old"}, "keys_file": "alice = new"}"#).unwrap();
        assert_eq!(keyring.caller("old"), keyring.caller("new"));
        assert!(
            refusal(r#"{"keys": {"alice": "same"}, "keys_file": "bob = same"}"#).contains("the same key as \"alice\"")
        );
    }

    #[test]
    fn the_header_is_in_lower_case_and_in_the_challenge() {
        let keyring = Keyring::read(r#"{"header": "X-Key", "keys": {"a": "k"}}"#).unwrap();
        assert_eq!((keyring.header(), keyring.challenge().as_str()), ("x-key", "ApiKey header=\"x-key\""));
    }

    #[test]
    fn a_refusal_names_the_place_and_shows_no_key() {
        for (config, message) in [
            ("{}", "no keys at all"),
            (r#"{"keys_file": "\n# none\n"}"#, "no keys at all"),
            (r#"{"header": "x key", "keys": {"a": "k"}}"#, "header: "),
            (r#"{"keys": {"alice": ""}}"#, "keys.alice: the key is empty"),
            (r#"{"keys": {"": "hidden"}}"#, "the label is empty"),
            (r#"{"keys": {"a": "hidden\n"}}"#, "keys.a: no header can hold"),
            (r#"{"keys_file": "a = k\nhidden"}"#, "keys_file: line 2"),
            (r#"{"key": {"a": "k"}}"#, "unknown field `key`"),
        ] {
            let refusal = refusal(config);
            assert!(refusal.contains(message) && !refusal.contains("hidden"), "{config}: {refusal}");
        }
    }
}

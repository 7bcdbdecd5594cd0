//! The digest that pins a plugin's file.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const DIGEST_WORDS: &str = "a SHA-256: 64 hexadecimal digits, as sha256sum prints them";

/// The reason why a text is not a [`Sha256`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSha256(String);

/// A SHA-256 digest, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Sha256 {
    type Err = BadSha256;

    fn from_str(text: &str) -> Result<Self, BadSha256> {
        if text.starts_with("sha256") {
            return Err(BadSha256(format!("write the digits without a prefix; it takes {DIGEST_WORDS}")));
        }
        if let Some(stray) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(BadSha256(format!("{stray:?} is not a hexadecimal digit; it takes {DIGEST_WORDS}")));
        }
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(BadSha256(format!("{} digits; it takes {DIGEST_WORDS}", text.len())));
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|error| BadSha256(error.to_string()))?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

written_as_text!(Sha256, DIGEST_WORDS, json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_64_digits_in_either_case_and_prints_in_lower() {
        let text = "00FF".to_owned() + &"aB".repeat(30);
        let digest: Sha256 = text.parse().unwrap();
        assert_eq!((digest.bytes()[..3].to_vec(), digest.to_string()), (vec![0, 255, 171], text.to_lowercase()));
        assert_eq!(Sha256::new(*digest.bytes()), digest);
    }

    #[test]
    fn a_text_that_is_not_a_digest_is_refused_with_the_reason() {
        let digits = "0".repeat(64);
        for (bad, reason) in [
            (String::new(), "0 digits"),
            (digits[1..].to_owned(), "63 digits"),
            (digits.clone() + "00", "66 digits"),
            (format!("sha256:{digits}"), "without a prefix"),
            (format!("{}g", &digits[1..]), "'g' is not a hexadecimal digit"),
            ("ä".repeat(32), "'ä' is not a hexadecimal digit"),
            (format!("+{}", &digits[1..]), "'+' is not a hexadecimal digit"),
        ] {
            let message = bad.parse::<Sha256>().unwrap_err().to_string();
            assert!(message.contains(reason), "{bad}: {message}");
        }
    }
}

//! A token in its compact form (RFC 7515): `header.payload.signature`, each base64url.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;

/// A token whose header has been read and whose signature has not been checked.
pub struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// Ed25519.
    EdDsa,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl<'a> Token<'a> {
    /// Reads a token. The error names the fault, without the token's text.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let malformed = || "it is no JSON Web Token".to_owned();
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) =
            signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or_else(malformed)?;
        let header: Header = serde_json::from_str(&object(header)?).map_err(|_| malformed())?;
        if header.crit.is_some() {
            return Err("it has extensions (crit), and none is known here".to_owned());
        }
        let algorithm = match header.alg.as_str() {
            "HS256" => Algorithm::Hs256,
            "EdDSA" | "Ed25519" => Algorithm::EdDsa,
            _ => return Err("its algorithm is not accepted here, only HS256 and EdDSA are".to_owned()),
        };
        let signature = Base64UrlUnpadded::decode_vec(signature).map_err(|_| malformed())?;
        Ok(Self { algorithm, key_id: header.kid, signed, payload, signature })
    }

    /// The algorithm that its header names.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key that its header names.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The text that is signed.
    pub fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The payload: a JSON object.
    pub fn payload(&self) -> Result<String, String> {
        object(self.payload)
    }
}

/// The token in a header's value. In `authorization` it follows the word Bearer, which other headers may leave out.
pub fn bearer(value: &str, wants_scheme: bool) -> Option<&str> {
    let value = value.trim();
    let after = match value.split_at_checked(6) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.strip_prefix(' ').map(str::trim),
        _ => None,
    };
    let token = if wants_scheme { after } else { after.or(Some(value)) };
    token.filter(|token| !token.is_empty())
}

/// Decodes a part that must be a JSON object.
fn object(part: &str) -> Result<String, String> {
    let bytes = Base64UrlUnpadded::decode_vec(part).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| text.trim_start().starts_with('{'));
    text.ok_or_else(|| "it is no JSON Web Token".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        format!("{}.{}.{}", encode(header), encode("{}"), encode("signature"))
    }

    fn fault(text: &str) -> String {
        Token::parse(text).err().unwrap_or_else(|| panic!("accepted: {text}"))
    }

    #[test]
    fn a_header_is_read() {
        let text = token(r#"{"typ":"JWT","alg":"EdDSA","kid":"a"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!(
            (token.algorithm(), token.key_id(), token.signature()),
            (Algorithm::EdDsa, Some("a"), &b"signature"[..])
        );
        assert_eq!(token.payload().unwrap(), "{}");
        assert!(text.as_bytes().starts_with(token.signed()) && token.signed().len() == text.rfind('.').unwrap());
    }

    #[test]
    fn other_algorithms_and_none_are_refused() {
        for alg in ["none", "None", "NONE", "", "HS512", "RS256", "ES256", "hs256"] {
            assert!(fault(&token(&format!("{{\"alg\":\"{alg}\"}}"))).contains("algorithm"), "{alg}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = token(r#"{"alg":"HS256"}"#);
        for bad in
            ["", "a", "a.b", "..", "a.b.c.d", &format!("{good}.x"), &format!("{good}="), &good.replacen('.', "..", 1)]
        {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert!(fault(&token(r#"{"alg":"HS256","crit":["b64"]}"#)).contains("crit"));
        assert!(fault(&token(r#"["HS256"]"#)).contains("no JSON Web Token"));
        assert!(fault(&token(r#"{"alg":"none","alg":"HS256"}"#)).contains("no JSON Web Token"));
    }

    #[test]
    fn the_scheme_is_wanted_in_authorization_only() {
        assert_eq!(bearer("Bearer a.b.c", true), Some("a.b.c"));
        assert_eq!(bearer("bearer  a.b.c ", true), Some("a.b.c"));
        for none in ["", "a.b.c", "Basic abc", "Bearer", "Bearer ", "Bearera.b.c", "ÄÖÜ"] {
            assert_eq!(bearer(none, true), None, "{none}");
        }
        assert_eq!(bearer("a.b.c", false), Some("a.b.c"));
        assert_eq!(bearer("Bearer a.b.c", false), Some("a.b.c"));
    }
}

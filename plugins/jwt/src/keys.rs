//! The keys that verify signatures. Each is for one algorithm only.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

/// The bytes before the 32 bytes of an Ed25519 key in the DER form that PEM wraps (RFC 8410).
const DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A shared secret, for HS256.
pub struct Secret(Vec<u8>);

/// An Ed25519 key, for EdDSA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(VerifyingKey);

/// A key of a key set, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// Its name in tokens, if it has one.
    pub id: Option<String>,
    /// The key.
    pub key: Key,
}

/// A member of a JSON Web Key Set (RFC 7517, RFC 8037).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
}

impl Secret {
    /// The secret of a configuration, without a line break at the end, which a file may have.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// Whether a signature was made with it; compared in constant time.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(signed);
        mac.verify_slice(signature).is_ok()
    }
}

impl Key {
    /// Reads a key: PEM, or its 32 bytes as base64 or base64url.
    pub fn read(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let base64: String = lines.collect::<String>().trim_end_matches('=').replace('+', "-").replace('/', "_");
        let bytes = Base64UrlUnpadded::decode_vec(&base64).ok();
        let key = bytes.as_deref().map(|bytes| bytes.strip_prefix(&DER).unwrap_or(bytes));
        let key = key.and_then(|bytes| VerifyingKey::try_from(bytes).ok()).map(Self);
        key.ok_or_else(|| "is no Ed25519 key as PEM, nor its 32 bytes as base64".to_owned())
    }

    /// Whether a signature was made with its private key. The check is strict: a text has no second valid signature.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(signed, &signature).is_ok())
    }
}

/// The Ed25519 keys of a JSON Web Key Set. Other keys are left out: secrets do not belong in a set, and further
/// algorithms are not supported. A set without an Ed25519 key is an error.
pub fn key_set(json: &str) -> Result<Vec<NamedKey>, String> {
    let set: Value = serde_json::from_str(json).map_err(|error| format!("it is no JSON: {error}"))?;
    let members = set.get("keys").and_then(Value::as_array).ok_or("it has no list \"keys\"")?;
    let keys: Vec<NamedKey> = members.iter().filter_map(named_key).collect();
    if keys.is_empty() {
        return Err(format!("of its {} keys none is one for EdDSA with Ed25519", members.len()));
    }
    Ok(keys)
}

fn named_key(member: &Value) -> Option<NamedKey> {
    let jwk = Jwk::deserialize(member).ok()?;
    let fits = jwk.kty == "OKP"
        && jwk.crv.as_deref() == Some("Ed25519")
        && jwk.r#use.is_none_or(|purpose| purpose == "sig")
        && jwk.alg.is_none_or(|algorithm| algorithm == "EdDSA" || algorithm == "Ed25519");
    let key = Key::read(&jwk.x.filter(|_| fits)?).ok()?;
    Some(NamedKey { id: jwk.kid, key })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    // RFC 8037, appendix A.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const SIGNED: &[u8] = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const SIGNATURE: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn the_example_of_rfc_8037_verifies() {
        let signature = Base64UrlUnpadded::decode_vec(SIGNATURE).unwrap();
        let key =
            key_set(&format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"a"}}]}}"#)).unwrap().remove(0);
        assert_eq!(key.id.as_deref(), Some("a"));
        assert!(key.key.verifies(SIGNED, &signature));
        assert!(!key.key.verifies(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZQ", &signature));
        assert!(!key.key.verifies(SIGNED, &signature[..63]) && !key.key.verifies(SIGNED, &[]));
    }

    #[test]
    fn the_example_of_rfc_7515_verifies() {
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let secret = Secret(Base64UrlUnpadded::decode_vec(secret).unwrap());
        let signed = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        )
        .as_bytes();
        let signature = Base64UrlUnpadded::decode_vec("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        assert!(secret.verifies(signed, &signature));
        assert!(
            !secret.verifies(b"x", &signature)
                && !secret.verifies(signed, &signature[..31])
                && !secret.verifies(signed, &[])
        );
    }

    #[test]
    fn a_key_comes_as_pem_or_base64() {
        let pair = SigningKey::from_bytes(&[7; 32]);
        let public = pair.verifying_key().to_bytes();
        let raw = base64ct::Base64::encode_string(&public[..]);
        let pem = base64ct::Base64::encode_string(&[&DER[..], &public[..]].concat());
        let key = Key::read(&raw).unwrap();
        assert_eq!(Key::read(&Base64UrlUnpadded::encode_string(&public[..])).unwrap(), key);
        assert_eq!(
            Key::read(&format!("-----BEGIN PUBLIC KEY-----\r\n{pem}\r\n-----END PUBLIC KEY-----\n")).unwrap(),
            key
        );
        assert!(key.verifies(b"text", &pair.sign(b"text").to_bytes()));
        for bad in ["", "abc", "AAAA", &raw[..40], "-----BEGIN PUBLIC KEY-----"] {
            assert!(Key::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_keeps_the_keys_that_are_for_signatures_with_ed25519() {
        let set = |members: &str| key_set(&format!("{{\"keys\":[{members}]}}"));
        let good = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#);
        for other in [
            r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#.to_owned(),
            r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#.to_owned(),
            good.replace("Ed25519", "X25519"),
            good.replace("\"x\"", "\"use\":\"enc\",\"x\""),
            good.replace("\"x\"", "\"alg\":\"HS256\",\"x\""),
            good.replace(X, "AAAA"),
            "5".to_owned(),
        ] {
            assert_eq!(set(&format!("{other},{good}")).unwrap().len(), 1, "{other}");
            assert!(set(&other).unwrap_err().contains("of its 1 keys none"), "{other}");
        }
        assert!(key_set("{}").is_err() && key_set("<html>").is_err() && set("").is_err());
    }

    #[test]
    fn the_end_of_a_line_is_not_part_of_a_secret() {
        assert_eq!(Secret::new("abc\n").unwrap().0, b"abc");
        assert_eq!(Secret::new(" abc ").unwrap().0, b" abc ");
        assert!(Secret::new("\n").is_err() && Secret::new("").is_err());
    }
}

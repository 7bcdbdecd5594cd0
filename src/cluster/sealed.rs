//! Records as the cluster keeps them: one JSON object, `{"format":1,"change":…,"record":{…},"env":…}`. `record` is a
//! [`Record`] without the values of variables. They are in `env`: as they are in a cluster without a secret, and
//! otherwise encrypted and authenticated with ChaCha20-Poly1305 (RFC 8439), where `record` is the associated data. So
//! nobody without the secret reads a value, or makes a record that is accepted. `change` tells two attempts to store
//! one record from two records.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::Secret;
use crate::hmac;
use crate::registry::record::{Record, Variables};

const FORMAT: u32 = 1;
/// Keeps this use of the secret apart from others.
const PURPOSE: &[u8] = b"metagate: records of a cluster";

/// The key that a cluster's records are sealed with.
pub(super) struct SealingKey(LessSafeKey);

/// What is wrong with a value of the cluster.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BadValue {
    #[error("it is no record: {0}")]
    Form(String),
    #[error("it has format {0}, this metagate reads format {FORMAT}: upgrade this gateway")]
    Newer(u32),
    #[error("it was made without the secret of [cluster]")]
    NotSealed,
    #[error("it was made with a secret, and [cluster] has none")]
    Sealed,
    #[error("it was made with another secret than that of [cluster], or changed afterwards")]
    WrongKey,
}

#[derive(Serialize, Deserialize)]
struct Value {
    format: u32,
    change: String,
    record: Box<RawValue>,
    env: Env,
}

/// The variables of releases, by their numbers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Env {
    Plain(BTreeMap<u64, Variables>),
    Sealed(String),
}

impl SealingKey {
    pub(super) fn new(secret: &Secret) -> Self {
        let bytes = hmac::sha256(secret.expose().as_bytes(), &[PURPOSE]);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("the key has the length of the cipher");
        Self(LessSafeKey::new(key))
    }

    fn seal(&self, text: Vec<u8>, record: &str) -> String {
        let mut nonce = [0; NONCE_LEN];
        let _filled = rustix::rand::getrandom(&mut nonce[..], rustix::rand::GetRandomFlags::empty());
        let mut sealed = text;
        let aad = Aad::from(record.as_bytes());
        let under = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(under, aad, &mut sealed).expect("the text is shorter than 256 GiB");
        STANDARD.encode([&nonce[..], &sealed].concat())
    }

    fn open(&self, sealed: &str, record: &str) -> Option<Vec<u8>> {
        let sealed = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(record.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// The value of a record.
pub(super) fn encode(record: &Record, change: &str, key: Option<&SealingKey>) -> Vec<u8> {
    let mut shown = record.clone();
    shown.revision = None;
    // The failure of a deploy is for those who made it.
    shown.failure = None;
    let env: BTreeMap<u64, Variables> =
        shown.releases.iter_mut().map(|release| (release.number, std::mem::take(&mut release.env))).collect();
    let shown = serde_json::value::to_raw_value(&shown).expect("a record has only strings as keys");
    let env = match key {
        None => Env::Plain(env),
        Some(key) => {
            let text = serde_json::to_vec(&env).expect("variables have only strings as keys");
            Env::Sealed(key.seal(text, shown.get()))
        }
    };
    let value = Value { format: FORMAT, change: change.to_owned(), record: shown, env };
    serde_json::to_vec(&value).expect("a value has only strings as keys")
}

/// The record of a value, and its change.
pub(super) fn decode(value: &[u8], key: Option<&SealingKey>) -> Result<(Record, String), BadValue> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let form = |error: serde_json::Error| BadValue::Form(error.to_string());
    let Head { format } = serde_json::from_slice(value).map_err(form)?;
    if format > FORMAT {
        return Err(BadValue::Newer(format));
    }
    let Value { change, record: shown, env, .. } = serde_json::from_slice(value).map_err(form)?;
    let mut env = match (env, key) {
        (Env::Plain(env), None) => env,
        (Env::Plain(_), Some(_)) => return Err(BadValue::NotSealed),
        (Env::Sealed(_), None) => return Err(BadValue::Sealed),
        (Env::Sealed(sealed), Some(key)) => {
            let text = key.open(&sealed, shown.get()).ok_or(BadValue::WrongKey)?;
            serde_json::from_slice(&text).map_err(form)?
        }
    };
    let mut record: Record = serde_json::from_str(shown.get()).map_err(form)?;
    for release in &mut record.releases {
        release.env = env.remove(&release.number).unwrap_or_default();
    }
    Ok((record, change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::DeploymentName;
    use crate::registry::record::{Origin, Release};

    fn record() -> Record {
        let mut record = Record::new(DeploymentName::new("math").unwrap(), 2);
        let env = Variables::from_iter([("KEY".to_owned(), "hunter2".to_owned())]);
        record.releases.push(Release { number: 1, files: 1, origin: Origin::Package, created: 0, env, package: None });
        record.live = Some(1);
        record
    }

    fn key(secret: &str) -> SealingKey {
        SealingKey::new(&Secret::new(secret.to_owned()))
    }

    #[test]
    fn a_sealed_record_comes_back_and_does_not_show_its_variables() {
        let key = key("0123456789abcdef0123456789abcdef");
        let value = encode(&record(), "change", Some(&key));
        assert!(!String::from_utf8_lossy(&value).contains("hunter2"));
        let (back, change) = decode(&value, Some(&key)).unwrap();
        assert_eq!((back.encode(), change.as_str()), (record().encode(), "change"));
        let plain = encode(&record(), "change", None);
        assert_eq!(decode(&plain, None).unwrap().0.encode(), record().encode());
    }

    #[test]
    fn a_record_that_others_made_or_changed_is_refused() {
        let sealing = key("0123456789abcdef0123456789abcdef");
        let value = String::from_utf8(encode(&record(), "change", Some(&sealing))).unwrap();
        let other = key("another secret of thirty-two byte");
        let refused = |value: &str, key| decode(value.as_bytes(), key).map(drop).unwrap_err();
        assert_eq!(refused(&value, Some(&other)), BadValue::WrongKey);
        assert_eq!(refused(&value, None), BadValue::Sealed);
        assert_eq!(refused(&value.replace("\"next\":2", "\"next\":3"), Some(&sealing)), BadValue::WrongKey);
        let plain = String::from_utf8(encode(&record(), "change", None)).unwrap();
        assert_eq!(refused(&plain, Some(&sealing)), BadValue::NotSealed);
        assert_eq!(refused(&plain.replace("\"format\":1", "\"format\":9"), None), BadValue::Newer(9));
        assert!(matches!(refused("{}", None), BadValue::Form(_)));
    }
}

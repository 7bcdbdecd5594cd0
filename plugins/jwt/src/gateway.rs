//! The gateway as the source of key sets: its store, its http and its log.

use crate::bindings::metagate::plugin::{http, log, store};
use crate::keyset::{Gateway, OLDEST};
use crate::policy::KeySource;

/// The timeout of a fetch, in milliseconds.
const PATIENCE: u64 = 2_000;
/// How long a fetch keeps other instances from fetching, and how long a failed one keeps all of them from it.
const PAUSE: u64 = 5_000;

/// The gateway, for the key set of one address.
pub struct Imports<'a>(pub &'a KeySource);

impl Imports<'_> {
    fn key(&self, kind: &str) -> String {
        format!("{kind}:{}", self.0.url)
    }
}

impl Gateway for Imports<'_> {
    fn kept(&self) -> Option<Vec<u8>> {
        store::get(&self.key("keys"))
    }

    fn keep(&self, bytes: &[u8]) {
        if let Err(reason) = store::set(&self.key("keys"), bytes, OLDEST) {
            log::write(log::Level::Warn, &format!("the keys of {} stay in this instance: {reason}", self.0.url));
        }
    }

    fn may_fetch(&self) -> bool {
        store::increment(&self.key("fetching"), 1, PAUSE) == Ok(1)
    }

    fn failed_lately(&self) -> bool {
        store::get(&self.key("failed")).is_some()
    }

    fn failed(&self, reason: &str) {
        log::write(log::Level::Warn, &format!("no keys from {}: {reason}", self.0.url));
        if let Err(reason) = store::set(&self.key("failed"), b"1", PAUSE) {
            log::write(log::Level::Warn, &format!("the failure cannot be noted: {reason}"));
        }
    }

    fn fetch(&self, url: &str) -> Result<String, String> {
        let request = http::Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: PATIENCE,
        };
        let response = http::send(&request)?;
        if response.status != 200 {
            return Err(format!("the answer's status is {}", response.status));
        }
        String::from_utf8(response.body).map_err(|_| "the answer is no UTF-8".to_owned())
    }
}

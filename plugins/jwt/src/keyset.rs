//! The keys of an issuer: fetched when they are needed, kept in the instance and, for all instances, in the store.
//!
//! After `jwks_ttl` one instance fetches the keys again, while the others use the keys that they have. A token that
//! names an unknown key leads to a fetch too, but not more often than every 30 s. If the issuer cannot be reached, the
//! last keys stay in use for a day.

use crate::Refusal;
use crate::keys::{Key, NamedKey, key_set};
use crate::policy::KeySource;

/// For this long after a fetch, unknown key names do not lead to another one.
pub const COOLDOWN: u64 = 30_000;
/// Keys older than this are not used. In milliseconds, like all times in this file.
pub const OLDEST: u64 = 24 * 3_600_000;

/// The part of the gateway that the key set uses.
pub trait Gateway {
    /// The text that `keep` stored, in this instance or another.
    fn kept(&self) -> Option<Vec<u8>>;
    /// Stores a text for all instances until it is `OLDEST`.
    fn keep(&self, bytes: &[u8]);
    /// Whether this call is to fetch: it is the first to ask within some seconds.
    fn may_fetch(&self) -> bool;
    /// Whether a fetch failed within the last seconds.
    fn failed_lately(&self) -> bool;
    /// Records that a fetch failed, for this reason.
    fn failed(&self, reason: &str);
    /// Fetches a text.
    fn fetch(&self, url: &str) -> Result<String, String>;
}

/// The keys as they were at some time.
pub struct Copy {
    fetched: u64,
    keys: Vec<NamedKey>,
}

/// The keys that may have signed a token that names `id`, or no key. `copy` holds the keys of the instance.
pub fn find(
    source: &KeySource,
    id: Option<&str>,
    now: u64,
    copy: &mut Option<Copy>,
    gateway: &impl Gateway,
) -> Result<Vec<Key>, Refusal> {
    let serves = |copy: &Option<Copy>| {
        copy.as_ref().is_some_and(|copy| copy.age(now) < source.ttl && !copy.candidates(id).is_empty())
    };
    if !serves(copy) {
        let kept = gateway.kept().and_then(|bytes| Copy::from_bytes(&bytes));
        if let Some(kept) = kept.filter(|kept| copy.as_ref().is_none_or(|copy| copy.fetched < kept.fetched)) {
            *copy = Some(kept);
        }
    }
    if !serves(copy) {
        refresh(source, now, copy, gateway);
    }
    match copy {
        Some(copy) if copy.age(now) < OLDEST => Ok(copy.candidates(id)),
        _ => Err(Refusal::NoKeys),
    }
}

fn refresh(source: &KeySource, now: u64, copy: &mut Option<Copy>, gateway: &impl Gateway) {
    if let Some(copy) = copy
        && copy.age(now) < source.ttl.min(COOLDOWN)
    {
        return;
    }
    // Without any keys every call fetches: the first calls must not fail because another one fetches already.
    if gateway.failed_lately() || (copy.is_some() && !gateway.may_fetch()) {
        return;
    }
    let fetched = gateway.fetch(&source.url).and_then(|json| key_set(&json).map(|keys| (json, keys)));
    match fetched {
        Ok((json, keys)) => {
            gateway.keep(&[&now.to_le_bytes(), json.as_bytes()].concat());
            *copy = Some(Copy { fetched: now, keys });
        }
        Err(reason) => gateway.failed(&reason),
    }
}

impl Copy {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (fetched, json) = bytes.split_first_chunk()?;
        let keys = key_set(std::str::from_utf8(json).ok()?).ok()?;
        Some(Self { fetched: u64::from_le_bytes(*fetched), keys })
    }

    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.fetched)
    }

    /// A key without a name matches any name.
    fn candidates(&self, id: Option<&str>) -> Vec<Key> {
        let fits = |key: &&NamedKey| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
        self.keys.iter().filter(fits).map(|named| named.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const TTL: u64 = 300_000;

    /// A gateway whose issuer has the keys `names`, or cannot be reached.
    #[derive(Default)]
    struct Fake {
        names: RefCell<Option<Vec<&'static str>>>,
        kept: RefCell<Option<Vec<u8>>>,
        fetches: Cell<u32>,
        fetching: Cell<bool>,
        failed: Cell<bool>,
    }

    impl Gateway for Fake {
        fn kept(&self) -> Option<Vec<u8>> {
            self.kept.borrow().clone()
        }

        fn keep(&self, bytes: &[u8]) {
            *self.kept.borrow_mut() = Some(bytes.to_vec());
        }

        fn may_fetch(&self) -> bool {
            !self.fetching.get()
        }

        fn failed_lately(&self) -> bool {
            self.failed.get()
        }

        fn failed(&self, _: &str) {
            self.failed.set(true);
        }

        fn fetch(&self, url: &str) -> Result<String, String> {
            assert_eq!(url, "https://issuer");
            self.fetches.set(self.fetches.get() + 1);
            let names = self.names.borrow().clone().ok_or("unreachable")?;
            let keys = names.iter().map(|name| {
                let id = if name.is_empty() { String::new() } else { format!(r#","kid":"{name}""#) };
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"{id}}}"#)
            });
            Ok(format!("{{\"keys\":[{}]}}", keys.collect::<Vec<_>>().join(",")))
        }
    }

    fn issuer(names: &[&'static str]) -> Fake {
        Fake { names: RefCell::new(Some(names.to_vec())), ..Fake::default() }
    }

    fn source() -> KeySource {
        KeySource { url: "https://issuer".to_owned(), ttl: TTL }
    }

    /// The number of keys found, and of requests to the issuer so far.
    fn found(id: Option<&str>, now: u64, copy: &mut Option<Copy>, fake: &Fake) -> (Option<usize>, u32) {
        let keys = find(&source(), id, now, copy, fake).ok().map(|keys| keys.len());
        (keys, fake.fetches.get())
    }

    #[test]
    fn keys_are_fetched_once_in_their_time() {
        let (fake, mut copy) = (issuer(&["a", "b"]), None);
        assert_eq!(found(Some("a"), NOW, &mut copy, &fake), (Some(1), 1));
        assert_eq!(found(None, NOW + TTL - 1, &mut copy, &fake), (Some(2), 1));
        assert_eq!(found(Some("a"), NOW + TTL, &mut copy, &fake), (Some(1), 2));
    }

    #[test]
    fn another_instance_takes_them_from_the_store() {
        let fake = issuer(&["a"]);
        assert_eq!(found(Some("a"), NOW, &mut None, &fake), (Some(1), 1));
        assert_eq!(found(Some("a"), NOW + 1, &mut None, &fake), (Some(1), 1));
    }

    #[test]
    fn a_new_key_is_found_but_unknown_names_do_not_flood_the_issuer() {
        let (fake, mut copy) = (issuer(&["a"]), None);
        assert_eq!(found(Some("a"), NOW, &mut copy, &fake), (Some(1), 1));
        *fake.names.borrow_mut() = Some(vec!["b"]);
        for later in [1, COOLDOWN - 1] {
            assert_eq!(found(Some("b"), NOW + later, &mut copy, &fake), (Some(0), 1));
        }
        assert_eq!(found(Some("b"), NOW + COOLDOWN, &mut copy, &fake), (Some(1), 2));
        assert_eq!(found(Some("a"), NOW + COOLDOWN, &mut copy, &fake), (Some(0), 2));
    }

    #[test]
    fn old_keys_serve_while_another_instance_fetches_or_the_issuer_is_away() {
        let (fake, mut copy) = (issuer(&["a"]), None);
        assert_eq!(found(Some("a"), NOW, &mut copy, &fake), (Some(1), 1));
        fake.fetching.set(true);
        assert_eq!(found(Some("a"), NOW + TTL, &mut copy, &fake), (Some(1), 1));
        fake.fetching.set(false);
        *fake.names.borrow_mut() = None;
        assert_eq!(found(Some("a"), NOW + TTL, &mut copy, &fake), (Some(1), 2));
        assert_eq!(found(Some("a"), NOW + TTL, &mut copy, &fake), (Some(1), 2));
        assert_eq!(found(Some("a"), NOW + OLDEST, &mut copy, &fake), (None, 2));
    }

    #[test]
    fn without_keys_nothing_is_told_and_the_issuer_is_left_alone_for_a_while() {
        let (fake, mut copy) = (Fake::default(), None);
        assert_eq!(found(Some("a"), NOW, &mut copy, &fake), (None, 1));
        assert_eq!(found(Some("a"), NOW, &mut copy, &fake), (None, 1));
        fake.failed.set(false);
        *fake.names.borrow_mut() = Some(vec![""]);
        assert_eq!(found(Some("a"), NOW, &mut copy, &fake), (Some(1), 2));
    }
}

//! The values and counters that a plugin keeps between its hook calls. The gateway has them, so that they outlive
//! instances, processes and reloads; the process of a plugin asks the gateway.

use std::sync::Arc;
use std::time::Duration;

use crate::plugin::apart::message::{Answer, Request};
use crate::plugin::host::counters::Counters;
use crate::plugin::outside::AskGateway;
use crate::plugin::store::Store;

/// Where the values and counters of one plugin are.
pub(crate) enum Kept {
    /// In this process.
    Here {
        /// The values.
        store: Arc<Store>,
        /// The counters.
        counters: Arc<Counters>,
    },
    /// In the gateway.
    InGateway(Arc<dyn AskGateway>),
}

impl Kept {
    pub(super) fn get(&self, key: &str, now: Duration) -> Option<Vec<u8>> {
        match self {
            Self::Here { store, .. } => store.get(key, now),
            Self::InGateway(gateway) => match gateway.ask(Request::Get { key: key.to_owned() }, &[]) {
                Ok((Answer::Bytes, value)) => Some(value.to_vec()),
                Ok(_) | Err(_) => None,
            },
        }
    }

    pub(super) fn set(&self, key: &str, value: Vec<u8>, ttl: u64, now: Duration) -> Result<(), String> {
        match self {
            Self::Here { store, .. } => store.set(key, value, ttl, now),
            Self::InGateway(gateway) => done(gateway.ask(Request::Set { key: key.to_owned(), ttl }, &[&value])?.0),
        }
    }

    pub(super) fn delete(&self, key: &str) {
        match self {
            Self::Here { store, .. } => store.delete(key),
            Self::InGateway(gateway) => drop(gateway.ask(Request::Delete { key: key.to_owned() }, &[])),
        }
    }

    pub(super) fn increment(&self, key: &str, by: i64, ttl: u64, now: Duration) -> Result<i64, String> {
        match self {
            Self::Here { store, .. } => store.increment(key, by, ttl, now),
            Self::InGateway(gateway) => {
                match gateway.ask(Request::Increment { key: key.to_owned(), by, ttl }, &[])?.0 {
                    Answer::Number(number) => Ok(number),
                    other => Err(reason(other)),
                }
            }
        }
    }

    pub(super) fn compare_and_set(
        &self,
        key: &str,
        old: Option<&[u8]>,
        new: Vec<u8>,
        ttl: u64,
        now: Duration,
    ) -> Result<bool, String> {
        match self {
            Self::Here { store, .. } => store.compare_and_set(key, old, new, ttl, now),
            Self::InGateway(gateway) => {
                let request = Request::CompareAndSet { key: key.to_owned(), old: old.map(<[u8]>::len), ttl };
                match gateway.ask(request, &[old.unwrap_or_default(), &new])?.0 {
                    Answer::WasSet(was_set) => Ok(was_set),
                    other => Err(reason(other)),
                }
            }
        }
    }

    pub(super) fn count(&self, counter: &str, by: u64) -> Result<(), String> {
        match self {
            Self::Here { counters, .. } => counters.add(counter, by),
            Self::InGateway(gateway) => done(gateway.ask(Request::Count { counter: counter.to_owned(), by }, &[])?.0),
        }
    }
}

fn done(answer: Answer) -> Result<(), String> {
    if matches!(answer, Answer::Nothing) { Ok(()) } else { Err(reason(answer)) }
}

fn reason(answer: Answer) -> String {
    if let Answer::Failed(reason) = answer { reason } else { "the gateway gave another answer".to_owned() }
}

//! The counters that one plugin adds to.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Largest number of counters of one plugin: each is a time series in `/metrics`.
const COUNTERS_LIMIT: usize = 64;

/// The counters of one plugin.
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<String, u64>>);

impl Counters {
    pub(crate) fn add(&self, counter: &str, by: u64) -> Result<(), String> {
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if counter.is_empty() || counter.len() > 64 || !counter.bytes().all(is_name) {
            return Err("a counter's name must be 1 to 64 lower case letters, digits and \"_\"".to_owned());
        }
        let mut counters = self.0.lock();
        if let Some(count) = counters.get_mut(counter) {
            *count = count.saturating_add(by);
        } else if counters.len() < COUNTERS_LIMIT {
            counters.insert(counter.to_owned(), by);
        } else {
            return Err(format!("more than {COUNTERS_LIMIT} counters"));
        }
        Ok(())
    }

    /// All counters.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().clone()
    }
}

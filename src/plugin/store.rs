//! The values that a plugin keeps between calls: in memory, bounded, each with an optional time to live. The oldest are
//! evicted first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::PluginName;

/// Largest size in bytes of one key, of one value, and of all entries of a plugin, overhead included.
const KEY_LIMIT: usize = 1 << 10;
const VALUE_LIMIT: usize = 1 << 20;
const SIZE_LIMIT: usize = 16 << 20;
/// Overhead of an entry, in bytes.
const ENTRY_SIZE: usize = 128;

/// The stores of all plugins, by name. They survive a reload.
#[derive(Default)]
pub struct Stores(Mutex<HashMap<PluginName, Arc<Store>>>);

impl Stores {
    /// The store of a plugin.
    #[must_use]
    pub fn of(&self, plugin: &PluginName) -> Arc<Store> {
        Arc::clone(self.0.lock().entry(plugin.clone()).or_default())
    }

    /// Drops all stores: plugins that are loaded later start with empty ones.
    pub fn forget(&self) {
        self.0.lock().clear();
    }
}

/// One plugin's values. Times are those of the plugin's monotonic clock.
#[derive(Default)]
pub struct Store(Mutex<Table>);

#[derive(Default)]
struct Table {
    entries: HashMap<Arc<str>, Entry>,
    /// Age → key: the first is the oldest.
    by_age: BTreeMap<u64, Arc<str>>,
    next_age: u64,
    size: usize,
}

struct Entry {
    value: Value,
    ends: Option<Duration>,
    age: u64,
}

enum Value {
    Bytes(Box<[u8]>),
    Counter(i64),
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Counter(_) => 8,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Counter(number) => number.to_string().into_bytes(),
        }
    }

    fn is(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(own) => **own == *bytes,
            Self::Counter(number) => number.to_string().as_bytes() == bytes,
        }
    }
}

impl Store {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str, now: Duration) -> Option<Vec<u8>> {
        self.0.lock().live(key, now).map(|entry| entry.value.to_bytes())
    }

    /// Sets a value, for `ttl` milliseconds unless that is 0.
    pub fn set(&self, key: &str, value: Vec<u8>, ttl: u64, now: Duration) -> Result<(), String> {
        check(key, &value)?;
        self.0.lock().put(key, Value::Bytes(value.into()), ends(ttl, now));
        Ok(())
    }

    /// Removes a value.
    pub fn delete(&self, key: &str) {
        self.0.lock().remove(key);
    }

    /// Adds to a counter and returns its new value. `ttl` counts from the first addition.
    pub fn increment(&self, key: &str, by: i64, ttl: u64, now: Duration) -> Result<i64, String> {
        check(key, &[])?;
        let mut table = self.0.lock();
        let (before, ends) = match table.live(key, now) {
            None => (0, ends(ttl, now)),
            Some(Entry { value: Value::Counter(number), ends, .. }) => (*number, *ends),
            Some(Entry { value: Value::Bytes(bytes), ends, .. }) => {
                let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
                (number.ok_or_else(|| format!("the value of {key:?} is not a whole number"))?, *ends)
            }
        };
        let after = before.checked_add(by).ok_or_else(|| format!("the counter {key:?} would overflow"))?;
        table.put(key, Value::Counter(after), ends);
        Ok(after)
    }

    /// Sets a value if the current one is `old`.
    pub fn compare_and_set(
        &self,
        key: &str,
        old: Option<&[u8]>,
        new: Vec<u8>,
        ttl: u64,
        now: Duration,
    ) -> Result<bool, String> {
        check(key, &new)?;
        let mut table = self.0.lock();
        let same = match (table.live(key, now), old) {
            (None, None) => true,
            (Some(entry), Some(old)) => entry.value.is(old),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if same {
            table.put(key, Value::Bytes(new.into()), ends(ttl, now));
        }
        Ok(same)
    }

    /// Bytes in use.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.lock().size
    }
}

impl Table {
    fn live(&mut self, key: &str, now: Duration) -> Option<&Entry> {
        if self.entries.get(key)?.ends.is_some_and(|ends| ends <= now) {
            self.remove(key);
        }
        self.entries.get(key)
    }

    fn put(&mut self, key: &str, value: Value, ends: Option<Duration>) {
        let key = self.remove(key).unwrap_or_else(|| key.into());
        let age = self.next_age;
        self.next_age += 1;
        self.size += entry_size(&key, &value);
        self.by_age.insert(age, Arc::clone(&key));
        self.entries.insert(key, Entry { value, ends, age });
        while self.size > SIZE_LIMIT {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.by_age.remove(&entry.age);
        self.size -= entry_size(&key, &entry.value);
        Some(key)
    }
}

fn entry_size(key: &str, value: &Value) -> usize {
    key.len() + value.len() + ENTRY_SIZE
}

fn ends(ttl: u64, now: Duration) -> Option<Duration> {
    (ttl > 0).then(|| now.saturating_add(Duration::from_millis(ttl)))
}

fn check(key: &str, value: &[u8]) -> Result<(), String> {
    if key.len() > KEY_LIMIT {
        return Err(format!("a key of {} bytes exceeds the limit of {KEY_LIMIT}", key.len()));
    }
    if value.len() > VALUE_LIMIT {
        return Err(format!("a value of {} bytes exceeds the limit of {VALUE_LIMIT}", value.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn values_end_with_their_time() {
        let store = Store::default();
        store.set("a", b"1".to_vec(), 10, at(0)).unwrap();
        store.set("b", b"2".to_vec(), 0, at(0)).unwrap();
        assert_eq!(store.get("a", at(9)).as_deref(), Some(&b"1"[..]));
        assert_eq!((store.get("a", at(10)), store.get("b", at(1_000_000)).is_some()), (None, true));
        store.delete("b");
        assert_eq!((store.get("b", at(0)), store.size()), (None, 0));
    }

    #[test]
    fn a_counter_ends_after_its_first_addition() {
        let store = Store::default();
        assert_eq!(store.increment("n", 1, 10, at(0)), Ok(1));
        assert_eq!(store.increment("n", 2, 10, at(9)), Ok(3));
        assert_eq!(store.get("n", at(9)).as_deref(), Some(&b"3"[..]));
        assert_eq!(store.increment("n", 1, 10, at(10)), Ok(1));
        store.set("text", b"x".to_vec(), 0, at(0)).unwrap();
        assert!(store.increment("text", 1, 0, at(0)).is_err());
        store.set("n", i64::MAX.to_string().into_bytes(), 0, at(0)).unwrap();
        assert!(store.increment("n", 1, 0, at(0)).is_err());
    }

    #[test]
    fn compare_and_set_is_one_step() {
        let store = Store::default();
        assert_eq!(store.compare_and_set("k", Some(b"x"), b"y".to_vec(), 0, at(0)), Ok(false));
        assert_eq!(store.compare_and_set("k", None, b"x".to_vec(), 0, at(0)), Ok(true));
        assert_eq!(store.compare_and_set("k", None, b"z".to_vec(), 0, at(0)), Ok(false));
        assert_eq!(store.compare_and_set("k", Some(b"x"), b"y".to_vec(), 5, at(0)), Ok(true));
        assert_eq!(store.compare_and_set("k", None, b"w".to_vec(), 0, at(5)), Ok(true));
    }

    #[test]
    fn the_oldest_go_first_and_the_size_is_right() {
        let store = Store::default();
        for n in 0..40 {
            store.set(&format!("k{n}"), vec![0; VALUE_LIMIT / 2], 0, at(0)).unwrap();
        }
        assert!(store.size() <= SIZE_LIMIT);
        assert!(store.get("k0", at(0)).is_none() && store.get("k39", at(0)).is_some());
        assert!(store.set("big", vec![0; VALUE_LIMIT + 1], 0, at(0)).is_err());
        assert!(store.set(&"k".repeat(KEY_LIMIT + 1), vec![], 0, at(0)).is_err());
    }
}

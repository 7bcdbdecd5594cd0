//! How often calls of one function ended in which way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::answer::code::Code;

/// Pairs of status and code that are counted apart. Functions choose their statuses, and plugins their codes.
const PAIRS: usize = 64;
/// The code of the pairs beyond; their status is that of their class, such as 400.
const OTHER: &str = "other";

/// Counts of calls by status and code.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// 200 without a code.
    ok: AtomicU64,
    others: Mutex<BTreeMap<(u16, Box<str>), u64>>,
}

impl Outcomes {
    /// Counts a call that ended with this status and this code; an empty one for a success.
    pub fn add(&self, status: u16, code: &str) {
        if status == 200 && code.is_empty() {
            self.ok.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut others = self.others.lock();
        let key = (status, code.into());
        let has_place = others.len() < PAIRS || others.contains_key(&key);
        let key = if has_place { key } else { (status / 100 * 100, OTHER.into()) };
        *others.entry(key).or_default() += 1;
    }

    /// The calls that failed by a fault that is not the caller's: those with a status from 500 on, and streams that
    /// broke off although their reader was still there.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let others = self.others.lock();
        let failed = others.iter().filter(|((status, code), _)| is_error(*status, code));
        failed.map(|(_, count)| count).sum()
    }

    /// Each status and code, with the calls that ended so.
    #[must_use]
    pub fn counts(&self) -> Vec<(u16, Box<str>, u64)> {
        let ok = self.ok.load(Ordering::Relaxed);
        let others = self.others.lock();
        let others = others.iter().map(|((status, code), count)| (*status, code.clone(), *count));
        (ok > 0).then_some((200, "".into(), ok)).into_iter().chain(others).collect()
    }
}

/// Whether a call that ended so failed by a fault that is not the caller's.
#[must_use]
pub fn is_error(status: u16, code: &str) -> bool {
    status >= 500 || (status < 400 && !code.is_empty() && code != Code::ClientGone.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_callers_are_no_errors() {
        let outcomes = Outcomes::default();
        for (status, code) in
            [(200, ""), (204, ""), (404, "function_not_found"), (499, "client_gone"), (200, "client_gone")]
        {
            outcomes.add(status, code);
        }
        assert_eq!(outcomes.errors(), 0);
        for (status, code) in [(500, "function_error"), (503, ""), (200, "worker_crashed")] {
            outcomes.add(status, code);
        }
        assert_eq!(outcomes.errors(), 3);
    }

    #[test]
    fn statuses_and_codes_are_bounded() {
        let outcomes = Outcomes::default();
        for status in 200..600 {
            for _ in 0..2 {
                outcomes.add(status, "");
            }
        }
        let counts = outcomes.counts();
        assert!(counts.len() <= 1 + PAIRS + 5, "{}", counts.len());
        assert_eq!(counts.iter().map(|(_, _, count)| count).sum::<u64>(), 800);
        assert!(counts.contains(&(500, OTHER.into(), 200)));
    }
}

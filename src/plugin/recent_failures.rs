//! The last failures of a plugin's hook calls: those of one kind for one function are one entry, with their number.

use std::time::Instant;

use parking_lot::Mutex;

use crate::clock;
use crate::config::HookName;
use crate::plugin::fault::Fault;

/// Entries that are kept, and the longest texts in them, in bytes.
const ENTRIES: usize = 32;
const MESSAGE: usize = 2048;
const FUNCTION: usize = 128;

/// The last failures, the oldest first.
#[derive(Debug, Default)]
pub struct RecentFailures(Mutex<Vec<Failed>>);

/// Hook calls that failed in one way.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The hook.
    pub hook: HookName,
    /// The kind of failure, as in metrics.
    pub kind: &'static str,
    /// The deployment.
    pub deployment: String,
    /// The function that was called; none for loads.
    pub function: Option<String>,
    /// What happened the last time.
    pub message: String,
    /// The same without what the plugin wrote.
    pub brief: String,
    /// How many there were since the first of them.
    pub count: u64,
    /// The first of them, and the last.
    pub first: Instant,
    /// The last.
    pub last: Instant,
}

/// What a hook was called for.
#[derive(Debug, Clone, Copy)]
pub struct CalledFor<'a> {
    /// The deployment.
    pub deployment: &'a str,
    /// The function; none for loads.
    pub function: Option<&'a str>,
}

impl RecentFailures {
    /// Adds a failure.
    pub(super) fn add(&self, hook: HookName, called: CalledFor<'_>, fault: &Fault) {
        let (kind, now) = (Fault::KINDS[fault.kind()], clock::now());
        let function = called.function.map(|name| shortened(name, FUNCTION));
        let mut all = self.0.lock();
        let is_same = |one: &Failed| {
            (one.hook, one.kind, one.function.as_deref()) == (hook, kind, function)
                && one.deployment == called.deployment
        };
        let mut entry = match all.iter().position(is_same) {
            Some(at) => all.remove(at),
            None => Failed {
                hook,
                kind,
                deployment: called.deployment.to_owned(),
                function: function.map(str::to_owned),
                message: String::new(),
                brief: String::new(),
                count: 0,
                first: now,
                last: now,
            },
        };
        entry.message = shortened(&fault.to_string(), MESSAGE).to_owned();
        entry.brief = shortened(&fault.brief(), MESSAGE).to_owned();
        (entry.count, entry.last) = (entry.count + 1, now);
        if all.len() >= ENTRIES {
            all.remove(0);
        }
        all.push(entry);
    }

    /// All entries, the newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<Failed> {
        self.0.lock().iter().rev().cloned().collect()
    }
}

fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_of_one_kind_are_one_entry_and_entries_are_bounded() {
        let recent = RecentFailures::default();
        fn called(function: &str) -> CalledFor<'_> {
            CalledFor { deployment: "it", function: Some(function) }
        }
        for wait in 1..=3 {
            recent.add(HookName::BeforeInvoke, called("f"), &Fault::Open(Duration::from_secs(wait)));
        }
        recent.add(HookName::BeforeInvoke, called("f"), &Fault::Overloaded);
        let all = recent.newest();
        assert_eq!((all.len(), all[0].kind, all[1].count), (2, Fault::KINDS[Fault::Overloaded.kind()], 3));
        assert!(all[1].message.contains("3s"), "{all:?}");
        for number in 0..2 * ENTRIES {
            recent.add(HookName::BeforeInvoke, called(&number.to_string()), &Fault::Overloaded);
        }
        recent.add(HookName::AfterInvoke, called(&"ä".repeat(FUNCTION)), &Fault::Overloaded);
        let all = recent.newest();
        assert_eq!((all.len(), all[0].function.as_ref().map(String::len)), (ENTRIES, Some(FUNCTION)));
    }
}

//! Long durations in the configuration: how long things are kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::json_schema;

use crate::config::values::units::{BadUnit, scaled, write_scaled};
use crate::config::values::written_as_text::written_as_text;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const WORDS: &str = "a duration such as \"30s\", \"24h\" or \"7d\", from \"1ms\" to \"365d\"";
const LONGEST: u64 = 365 * 86_400_000;

/// A duration from a millisecond to a year: `"30s"`, `"24h"`, `"7d"`.
///
/// ```
/// use std::time::Duration;
///
/// use metagate::config::Period;
///
/// let week: Period = "7d".parse()?;
/// assert_eq!(week.get(), Duration::from_secs(7 * 24 * 3600));
/// assert_eq!(week.to_string(), "7d");
/// assert!("366d".parse::<Period>().is_err()); // more than a year
/// # Ok::<(), metagate::config::BadUnit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(Duration);

impl Period {
    pub(crate) const fn hours(count: u64) -> Self {
        Self(Duration::from_secs(3600 * count))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        match scaled(text, &UNITS, WORDS)? {
            ms @ 1..=LONGEST => Ok(Self(Duration::from_millis(ms))),
            _ => Err(BadUnit(format!("{text:?} is outside the range \"1ms\" to \"365d\""))),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &UNITS)
    }
}

written_as_text!(Period, WORDS, json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }));

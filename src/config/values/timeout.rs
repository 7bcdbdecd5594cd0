//! Durations in the configuration: a whole number with a unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::config::values::units::{BadUnit, scaled, write_scaled};
use crate::config::values::written_as_text::written_as_text;

pub(super) const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const TIME_WORDS: &str = "a duration such as \"50ms\", \"30s\" or \"5m\", from \"1ms\" to \"1h\"";

/// A duration from a millisecond to an hour: `"50ms"`, `"30s"`, `"5m"`, `"1h"`.
///
/// ```
/// use std::time::Duration;
///
/// use metagate::config::Timeout;
///
/// let timeout: Timeout = "5m".parse()?;
/// assert_eq!(timeout.get(), Duration::from_secs(300));
/// assert_eq!(timeout.to_string(), "300s");
/// assert!("2h".parse::<Timeout>().is_err()); // more than an hour
/// assert!("1m30s".parse::<Timeout>().is_err()); // one unit only
/// # Ok::<(), metagate::config::BadUnit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    pub(crate) const fn milliseconds(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    pub(crate) const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        timeout_up_to(text, "1h", TIME_WORDS)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_time(f, self.0)
    }
}

written_as_text!(Timeout, TIME_WORDS, time_schema());

/// Writes a duration as it is written in the configuration: `30s`, `50ms`.
pub(super) fn write_time(f: &mut fmt::Formatter<'_>, time: Duration) -> fmt::Result {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    write_scaled(f, ms, &TIME_UNITS[2..])
}

/// The form of durations.
pub(super) fn time_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" })
}

/// Reads a duration from a millisecond to `longest`; `words` describe the accepted form.
pub(crate) fn timeout_up_to(text: &str, longest: &str, words: &str) -> Result<Timeout, BadUnit> {
    let ms = scaled(text, &TIME_UNITS, words)?;
    if (1..=scaled(longest, &TIME_UNITS, words)?).contains(&ms) {
        return Ok(Timeout::milliseconds(ms));
    }
    Err(BadUnit(format!("{text:?} is outside the range \"1ms\" to {longest:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_lie_between_a_millisecond_and_an_hour() {
        for (text, ms, printed) in
            [("50ms", 50, "50ms"), ("30s", 30_000, "30s"), ("5m", 300_000, "300s"), ("1h", 3_600_000, "3600s")]
        {
            let time: Timeout = text.parse().unwrap();
            assert_eq!((time.get(), time.to_string().as_str()), (Duration::from_millis(ms), printed));
        }
        for bad in ["0s", "2h", "61m", "5", "5min", "1m30s", "s", "", "5 s", "٣s"] {
            assert!(bad.parse::<Timeout>().is_err(), "{bad}");
        }
    }
}

//! Times in a case: durations, and points in time on the wall clock.

use std::time::{Duration, UNIX_EPOCH};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A span of time: `"250us"`, `"5ms"`, `"1s"`, `"0s"`, `"24h"`, up to `"366d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span(Duration);

impl Span {
    pub(super) const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    pub(super) const fn get(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let time = Duration::from_micros(digits.parse::<u64>().ok()?.checked_mul(*scale)?);
        (time <= LONGEST).then_some(Self(time))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let words = "a duration such as \"250us\", \"5ms\", \"1s\", \"10m\" or \"24h\", up to \"366d\"";
            D::Error::custom(format!("{text:?} is not {words}"))
        })
    }
}

/// A point in time, in milliseconds since 1970: `"2026-11-22T12:00:00Z"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let milliseconds = time.and_then(|time| u64::try_from(time.as_millis()).ok());
        milliseconds
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a time such as 2026-11-22T12:00:00Z, in UTC")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_reach_from_nothing_to_a_year() {
        for (text, microseconds) in [("0s", 0), ("250us", 250), ("5ms", 5_000), ("2m", 120_000_000)] {
            assert_eq!(Span::parse(text).map(Span::get), Some(Duration::from_micros(microseconds)), "{text}");
        }
        assert_eq!(Span::parse("366d").map(Span::get), Some(LONGEST));
        for bad in ["", "5", "s", "1 s", "-1s", "1.5s", "367d", "99999999999999999999s", "1min"] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_are_in_utc() {
        let parse = |text: &str| serde_json::from_value::<Moment>(text.into());
        assert_eq!(parse("1970-01-02T00:00:00.5Z").unwrap(), Moment(86_400_500));
        for bad in ["2026-11-22", "noon", "1969-12-31T23:59:59Z"] {
            assert!(parse(bad).unwrap_err().to_string().contains("is not a time"), "{bad}");
        }
    }
}

//! Rates in the configuration: so many in a time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "a rate such as \"10/s\", \"100/m\" or \"1000/h\"";
const UNITS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];
const MOST: u32 = 1_000_000;

/// So many in a second, a minute or an hour: `"10/s"`.
///
/// ```
/// use std::time::Duration;
///
/// use metagate::config::Rate;
///
/// let rate: Rate = "10/s".parse()?;
/// assert_eq!(rate.interval(), Duration::from_millis(100));
/// assert!("0/s".parse::<Rate>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: (&'static str, u64),
}

impl Rate {
    /// The time from one to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs(self.unit.1) / self.count
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(count, unit)| {
            let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            Some((is_number.then(|| count.parse().ok())??, UNITS.into_iter().find(|(name, _)| *name == unit)?))
        });
        match parts {
            Some((count @ 1..=MOST, unit)) => Ok(Self { count, unit }),
            Some(_) => Err(format!("{text:?} is outside the range 1 to {MOST}")),
            None => Err(format!("{text:?} is not {WORDS}")),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.0)
    }
}

written_as_text!(Rate, WORDS, json_schema!({ "type": "string", "pattern": "^[0-9]+/(s|m|h)$" }));

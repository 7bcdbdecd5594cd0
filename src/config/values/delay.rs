//! Delays in the configuration: durations that may be zero.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use crate::config::values::field;
use crate::config::values::timeout::{TIME_UNITS, time_schema, write_time};
use crate::config::values::units::{BadUnit, scaled};

const LONGEST: u64 = 3_600_000;
const WORDS: &str = "a duration such as \"0s\", \"500ms\" or \"30s\", up to \"1h\"";

/// A duration from nothing to an hour: `"0s"`, `"500ms"`, `"30s"`.
///
/// ```
/// use metagate::config::Delay;
///
/// assert!("0s".parse::<Delay>()?.get().is_zero());
/// assert_eq!("5s".parse::<Delay>()?.to_string(), "5s");
/// assert!("2h".parse::<Delay>().is_err()); // more than an hour
/// # Ok::<(), metagate::config::BadUnit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay(Duration);

impl Delay {
    pub(crate) const NONE: Self = Self(Duration::ZERO);

    /// So many seconds; at most 3600.
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many minutes; at most 60.
    pub(crate) const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(60 * minutes))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Delay {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        match scaled(text, &TIME_UNITS, WORDS)? {
            ms @ ..=LONGEST => Ok(Self(Duration::from_millis(ms))),
            _ => Err(BadUnit(format!("{text:?} is more than \"1h\""))),
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_time(f, self.0)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer, WORDS, str::parse)
    }
}

impl JsonSchema for Delay {
    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        time_schema()
    }
}

//! When schedules are due: cron expressions and time zones.

use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const CRON_WORDS: &str = "a cron expression such as \"0 3 * * *\", with five fields, or six with seconds first";
const ZONE_WORDS: &str = "a time zone such as \"UTC\" or \"Europe/Berlin\"";

/// A cron expression: minute, hour, day, month and weekday; with a sixth field in front, seconds as well.
#[derive(Debug, Clone)]
pub struct CronExpression {
    text: Box<str>,
    cron: croner::Cron,
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl CronExpression {
    /// The first time after this one; none if there is none.
    #[must_use]
    pub fn next_after(&self, time: Timestamp, zone: &ZoneName) -> Option<Timestamp> {
        let start: Zoned = time.to_zoned(zone.zone.clone());
        self.cron.find_next_occurrence(&start, false).ok().map(|next| next.timestamp())
    }

    /// The last time that is not after this one; none if there is none.
    #[must_use]
    pub fn last_until(&self, time: Timestamp, zone: &ZoneName) -> Option<Timestamp> {
        let end: Zoned = time.to_zoned(zone.zone.clone());
        self.cron.find_previous_occurrence(&end, true).ok().map(|last| last.timestamp())
    }
}

impl FromStr for CronExpression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| format!("{text:?} is not {CRON_WORDS}: {error}"))?;
        let parsed = Self { text: text.into(), cron };
        let utc = ZoneName { text: "UTC".into(), zone: TimeZone::UTC };
        match parsed.next_after(Timestamp::UNIX_EPOCH, &utc) {
            Some(_) => Ok(parsed),
            None => Err(format!("{text:?} never comes: its days and months do not meet")),
        }
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

written_as_text!(CronExpression, CRON_WORDS, json_schema!({ "type": "string", "minLength": 1 }));

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneName {
    text: Box<str>,
    zone: TimeZone,
}

impl Default for ZoneName {
    fn default() -> Self {
        Self { text: "UTC".into(), zone: TimeZone::UTC }
    }
}

impl FromStr for ZoneName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let zone = if text == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(text) };
        zone.map(|zone| Self { text: text.into(), zone }).map_err(|_| format!("{text:?} is not {ZONE_WORDS}"))
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

written_as_text!(ZoneName, ZONE_WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, zone: &str, after: &str) -> String {
        let (cron, zone): (CronExpression, ZoneName) = (cron.parse().unwrap(), zone.parse().unwrap());
        cron.next_after(after.parse().unwrap(), &zone).unwrap().to_string()
    }

    #[test]
    fn the_next_time_is_that_of_the_zone() {
        assert_eq!(next("0 3 * * *", "UTC", "2026-07-01T00:00:00Z"), "2026-07-01T03:00:00Z");
        assert_eq!(next("0 3 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z"), "2026-07-01T01:00:00Z");
        assert_eq!(next("*/10 * * * * *", "UTC", "2026-07-01T00:00:01Z"), "2026-07-01T00:00:10Z");
        assert_eq!(next("@daily", "UTC", "2026-07-01T00:00:00Z"), "2026-07-02T00:00:00Z");
    }

    #[test]
    fn each_day_has_one_time_when_the_clock_changes() {
        // In the night of 2026-03-29 there is no 02:30 in Berlin, in that of 2026-10-25 there are two.
        let spring = next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
        assert!(spring.starts_with("2026-03-29T01:"), "{spring}");
        let first = next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
        assert_eq!(first, "2026-10-25T00:30:00Z");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", &first), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn what_never_comes_is_refused() {
        for bad in ["", "* * * *", "* * * * * * *", "61 * * * *", "0 0 30 2 *", "every day"] {
            assert!(bad.parse::<CronExpression>().is_err(), "{bad}");
        }
        for bad in ["", "Berlin", "Europe/Nowhere"] {
            assert!(bad.parse::<ZoneName>().is_err(), "{bad}");
        }
    }
}

//! The table `[[schedule]]`: calls of a function at times of their own.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::config::locations::Locations;
use crate::config::values::callback_url::CallbackUrl;
use crate::config::values::choice::Missed;
use crate::config::values::cron::{CronExpression, ZoneName};
use crate::config::values::delay::Delay;
use crate::config::values::field;
use crate::config::values::period::Period;
use crate::config::values::route_target::RouteTarget;

/// `[[schedule]]`: asynchronous calls of a function at the times of a cron expression, or every so often.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct ScheduleConfig {
    /// The function, as `"<deployment>/<function>"`.
    pub to: RouteTarget,
    /// A name, by which its last time is remembered. Default: the function, and the times.
    #[serde(default)]
    pub name: Option<String>,
    /// The times, as a cron expression: minute, hour, day, month, weekday; with six fields the first is the second.
    #[serde(default)]
    pub cron: Option<CronExpression>,
    /// In place of `cron`: the time between two calls, counted from 1970. "1ms" to "365d".
    #[serde(default)]
    pub every: Option<Period>,
    /// The time zone of `cron`, such as "Europe/Berlin". Default "UTC".
    #[serde(default)]
    pub time_zone: ZoneName,
    /// The arguments: a list, or a table of them by name. Default: none.
    #[serde(default, deserialize_with = "arguments")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub arguments: Option<Value>,
    /// Times that passed while the gateway did not run: "skip" none of them is made up for, "once" the last one is.
    /// Default "skip".
    #[serde(default)]
    pub missed: Missed,
    /// Whether a call is made while the one before it has not ended. Default false.
    #[serde(default)]
    pub overlap: bool,
    /// The longest time by which a call is delayed at random. "0s" to "1h". Default "0s".
    #[serde(default = "no_delay")]
    pub jitter: Delay,
    /// Where the ends of its calls are reported to. `[async.callbacks]` has to permit it. Default: as the deployment's
    /// own table says.
    #[serde(default)]
    pub callback: Option<CallbackUrl>,
    /// The locations of this table and its keys.
    #[serde(skip)]
    pub locations: Locations,
}

impl ScheduleConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 1] = ["to"];

    /// Its first time after this one, in milliseconds since 1970; none if there is none.
    #[must_use]
    pub fn next_after(&self, time: i64) -> Option<i64> {
        match (&self.cron, self.every) {
            (Some(cron), _) => {
                let time = Timestamp::from_millisecond(time).ok()?;
                cron.next_after(time, &self.time_zone).map(Timestamp::as_millisecond)
            }
            (None, Some(every)) => {
                let every = milliseconds(every)?;
                time.div_euclid(every).checked_add(1)?.checked_mul(every)
            }
            (None, None) => None,
        }
    }

    /// Its last time that is not after this one.
    #[must_use]
    pub fn last_until(&self, time: i64) -> Option<i64> {
        match (&self.cron, self.every) {
            (Some(cron), _) => {
                let time = Timestamp::from_millisecond(time).ok()?;
                cron.last_until(time, &self.time_zone).map(Timestamp::as_millisecond)
            }
            (None, Some(every)) => {
                let every = milliseconds(every)?;
                time.div_euclid(every).checked_mul(every)
            }
            (None, None) => None,
        }
    }

    /// Its next three times after this one.
    pub fn next_times(&self, after: i64) -> impl Iterator<Item = Timestamp> + '_ {
        let times = std::iter::successors(self.next_after(after), |time| self.next_after(*time));
        times.take(3).filter_map(|time| Timestamp::from_millisecond(time).ok())
    }

    /// When it is due, in words.
    #[must_use]
    pub fn times(&self) -> String {
        match (&self.cron, &self.every) {
            (Some(cron), _) => format!("at {cron} {}", self.time_zone),
            (None, Some(every)) => format!("every {every}"),
            (None, None) => "never".to_owned(),
        }
    }

    /// Its name, or what stands for one.
    #[must_use]
    pub fn known_as(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        format!("{} {}", self.to, self.times())
    }
}

fn milliseconds(period: Period) -> Option<i64> {
    i64::try_from(period.get().as_millis()).ok()
}

const fn no_delay() -> Delay {
    Delay::NONE
}

fn arguments<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    if !matches!(value, toml::Value::Array(_) | toml::Value::Table(_)) {
        return Err(field::refused("it is one value", "a list of arguments, or a table of them by name"));
    }
    serde_json::to_value(value).map(Some).map_err(serde::de::Error::custom)
}

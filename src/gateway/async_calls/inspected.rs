//! Schedules, limits and requests as those who operate the gateway see them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{AsyncLimit, PluginName, ScheduleConfig};
use crate::gateway::async_calls::stored_call::StoredCall;
use crate::queue;
use crate::queue::progress::Millis;

/// A schedule of a deployment.
#[derive(Debug, Serialize)]
pub struct InspectedSchedule {
    /// Its name, or what stands for one.
    pub name: String,
    /// The function.
    pub function: String,
    /// When it is due: `at 0 3 * * * UTC`, `every 15m`.
    pub times: String,
    /// Its next times, such as `2026-03-01T03:00:00Z`.
    pub next: Vec<String>,
}

impl InspectedSchedule {
    /// A schedule of the configuration. `last` is the last of its times that has its call or was passed over.
    #[must_use]
    pub fn of(schedule: &ScheduleConfig, last: Option<Millis>) -> Self {
        // After a clock that was ahead, there are no calls until the same times are over.
        let from = last.unwrap_or(Millis::MIN).max(queue::time_of_day());
        Self {
            name: schedule.known_as(),
            function: schedule.to.function.clone().unwrap_or_default(),
            times: schedule.times(),
            next: schedule.next_times(from).map(|time| time.to_string()).collect(),
        }
    }
}

/// The limits of asynchronous calls that a deployment has of its own.
#[derive(Debug, Serialize)]
pub struct InspectedLimits {
    /// The table that sets them.
    table: &'static str,
    /// Their values, as they are written.
    limits: BTreeMap<&'static str, String>,
}

impl InspectedLimits {
    /// Those of a table among all that are in force.
    pub(super) fn of((limits, table): (Vec<AsyncLimit>, &'static str)) -> Option<Self> {
        let own = limits.into_iter().filter(|limit| limit.is_own).map(|limit| (limit.key, limit.value));
        let limits: BTreeMap<_, _> = own.collect();
        (!limits.is_empty()).then_some(Self { table, limits })
    }
}

/// What a call is made of, without what its caller has sent.
#[derive(Debug, Serialize)]
pub struct InspectedRequest {
    /// The id of the request that has made it.
    request_id: Box<str>,
    /// The bytes of its arguments as JSON.
    arguments_bytes: usize,
    /// The plugins whose before-hooks have let it pass.
    passed: Vec<PluginName>,
}

impl InspectedRequest {
    /// That of a call as it is kept; none if it cannot be read.
    pub(super) fn read(kept: &[u8]) -> Option<Self> {
        let call = StoredCall::read(kept).ok()?;
        let arguments_bytes = call.arguments_bytes();
        Some(Self { request_id: call.request_id, arguments_bytes, passed: call.passed })
    }
}

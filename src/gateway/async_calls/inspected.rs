//! Schedules as `inspect` shows them.

use serde::Serialize;

use crate::config::ScheduleConfig;
use crate::queue;

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
    /// A schedule of the configuration.
    #[must_use]
    pub fn of(schedule: &ScheduleConfig) -> Self {
        Self {
            name: schedule.known_as(),
            function: schedule.to.function.clone().unwrap_or_default(),
            times: schedule.times(),
            next: schedule.next_times(queue::time_of_day()).map(|time| time.to_string()).collect(),
        }
    }
}

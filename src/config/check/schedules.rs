//! Rules about schedules.

use std::collections::BTreeMap;

use crate::config::fault::{Fault, Faults};
use crate::config::tables::config::Config;

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let mut names = BTreeMap::new();
    for schedule in &config.schedules {
        let locations = &schedule.locations;
        let has = |key: &str| locations.has(key);
        if schedule.to.function.is_none() {
            let message = format!("\"{0}\" names no function: write \"{0}/<function>\"", schedule.to.deployment);
            faults.push(Fault::new(locations.of("to"), message));
        }
        match (has("cron"), has("every")) {
            (true, true) => {
                let message = "a schedule has either \"cron\" or \"every\", not both";
                faults.push(Fault::new(locations.of("every"), message));
            }
            (false, false) => {
                let message = "a schedule needs \"cron\", such as \"0 3 * * *\", or \"every\", such as \"15m\"";
                faults.push(Fault::new(locations.of("to"), message));
            }
            (true, false) | (false, true) => {}
        }
        if schedule.name.as_ref().is_some_and(String::is_empty) {
            faults.push(Fault::new(locations.of("name"), "the name is empty"));
        }
        if let Some(first) = names.insert(schedule.known_as(), locations) {
            let line = first.of("to").map_or(0, |location| location.line);
            let message = format!("the schedule of line {line} is the same: give each a \"name\" of its own");
            let key = if has("name") { "name" } else { "to" };
            faults.push(Fault::new(locations.of(key), message));
        }
    }
}

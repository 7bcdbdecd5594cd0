//! What `metagate explain` says of the asynchronous calls of a deployment: limits and schedules.

use std::io::Write;

use crate::config::{AsyncLimit, Config, DeploymentConfig};
use crate::queue;

/// The limits of its asynchronous calls, and which table sets them.
pub(super) fn show_limits(config: &Config, deployment: &DeploymentConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let limits = deployment.async_calls.described(&config.async_calls);
    let (own, others): (Vec<_>, Vec<_>) = limits.iter().partition(|limit| limit.is_own);
    let texts = |limits: &[&AsyncLimit]| {
        limits.iter().map(|limit| format!("{} {}", limit.key, limit.value)).collect::<Vec<_>>().join(", ")
    };
    let own = if own.is_empty() { String::new() } else { format!("{} ([deployment.async]); ", texts(&own)) };
    let others = if others.is_empty() { String::new() } else { format!("{} ([async])", texts(&others)) };
    writeln!(out, "  async        {}", format!("{own}{others}").trim_end_matches("; "))?;
    Ok(())
}

/// When the configuration calls its functions.
pub(super) fn show_schedules(
    config: &Config,
    deployment: &DeploymentConfig,
    function: Option<&str>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let own = config.schedules.iter().filter(|schedule| schedule.to.deployment == deployment.name);
    let asked = own.filter(|schedule| function.is_none() || schedule.to.function.as_deref() == function);
    for schedule in asked {
        let next: Vec<String> = schedule.next_times(queue::now()).map(|time| time.to_string()).collect();
        let (name, times) = (schedule.known_as(), schedule.times());
        writeln!(out, "  schedule     {name:?}: {} {times}; next {}", schedule.to, next.join(", "))?;
    }
    Ok(())
}

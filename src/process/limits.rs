//! Limits of the kernel on the resources of a process.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets a limit of this process. It cannot be raised again.
pub(super) fn set_limit(resource: Resource, value: u64) -> anyhow::Result<()> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
        .with_context(|| format!("limiting {resource:?} to {value}"))
}

/// Sets a limit of this process, or keeps the one that it has if that is lower.
pub(super) fn lower_limit(resource: Resource, value: u64) -> anyhow::Result<()> {
    set_limit(resource, getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value)))
}

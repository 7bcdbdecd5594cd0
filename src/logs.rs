//! The logs of deployments: what their workers and installers print, and the gateway's notes about them. [`book`]
//! keeps the recent lines in memory, [`files`] writes all of them to disk, both within `limits`. The gateway's own log
//! is left to `telemetry`.

pub mod book;
pub mod files;
mod limits;

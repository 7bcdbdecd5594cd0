//! The tables of a configuration file: one struct per table, one field per key.

pub(super) mod access_log;
pub(super) mod admin;
pub(super) mod async_calls;
pub(super) mod callbacks;
pub(super) mod cluster;
pub(super) mod config;
pub(super) mod cors;
pub(super) mod dashboard;
pub(super) mod deploy;
pub(super) mod deployment;
pub(super) mod grants;
pub(super) mod mcp;
pub(super) mod metrics;
pub(super) mod plugin;
pub(super) mod plugins;
pub(super) mod route;
pub(super) mod schedule;
pub(super) mod server;
pub(super) mod tls;
pub(super) mod traces;
pub(super) mod wasm_functions;

//! Everything but calls and files, on axum: health, inspection, logs, metrics, MetaCall's deploy API and the gateway's
//! own.

pub mod access;
pub mod async_calls;
pub mod async_request;
pub mod audited;
pub mod call_from_page;
pub mod call_selection;
pub mod caller;
mod cluster;
pub mod deploy;
pub mod descriptions;
pub mod event_query;
pub mod events;
pub mod failures;
pub mod following;
pub mod foreign_page;
pub mod inspect;
pub mod json_body;
mod log_lines;
pub mod logs;
pub mod metacall;
pub mod metrics;
pub mod overview;
pub mod packages;
pub mod plugins;
pub mod recent_calls;
pub mod reload;
pub mod reply;
pub mod router;
pub mod unread_body;
pub mod upgrade;
pub mod upload;
pub mod variables;
pub mod wiring;
pub mod wrong_tokens;

//! The values that keys take, as checked types, and the functions that read them.

pub(super) mod bytes_rule;
pub(super) mod choice;
pub(super) mod cors_origin;
pub(super) mod delay;
pub(super) mod endpoint;
pub(super) mod field;
pub(super) mod http_grant;
pub(super) mod http_words;
pub(super) mod json_table;
pub(super) mod pattern;
pub(super) mod plugin_name;
pub(super) mod repository_prefix;
pub(super) mod run_as;
pub(super) mod runtime_kind;
pub(super) mod scope;
pub(super) mod secret;
pub(super) mod sha256;
pub(super) mod size;
pub(super) mod static_files;
pub(super) mod timeout;
pub(super) mod trusted_proxy;
pub(super) mod units;
pub(super) mod variable;
pub(super) mod workers;
mod written_as_text;

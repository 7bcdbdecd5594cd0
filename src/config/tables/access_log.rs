//! The table `[access_log]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::choice::AccessLogFormat;
use crate::config::values::field;
use crate::config::values::size::Size;
use crate::config::values::timeout::Timeout;

/// `[access_log]`: a line for each call. Without this table there is none.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct AccessLogConfig {
    /// The file that lines are appended to. Default: standard error, with the gateway's own log.
    #[serde(deserialize_with = "field::path")]
    pub file: Option<PathBuf>,
    /// The form of a line: "json", or "combined" as web servers write it, with the times of the parts at its end.
    /// Default "json".
    pub format: AccessLogFormat,
    /// One call in so many has a line, 1 to 1000000. Calls that failed or were slow always have one. Default 1.
    #[serde(deserialize_with = "field::within::<1, 1000000, _, _>")]
    #[schemars(range(min = 1, max = 1000000))]
    pub sample: u32,
    /// Calls that take longer are slow. "1ms" to "1h". Default "1s".
    pub slow: Timeout,
    /// Parameters of the query whose values are written. Those of others are replaced by `*`, since they may be
    /// secrets. Default: none.
    pub query: Vec<String>,
    /// Size from which on the file is renamed to `<file>.1`, that to `<file>.2`, and so on. At least "64KiB". Default
    /// "64MiB".
    pub max_size: Size,
    /// How many renamed files are kept, 0 to 1000. Default 5.
    #[serde(deserialize_with = "field::within::<0, 1000, _, _>")]
    #[schemars(range(max = 1000))]
    pub keep: u32,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            file: None,
            format: AccessLogFormat::Json,
            sample: 1,
            slow: Timeout::seconds(1),
            query: Vec::new(),
            max_size: Size::mebibytes(64),
            keep: 5,
        }
    }
}

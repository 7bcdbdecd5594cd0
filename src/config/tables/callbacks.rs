//! The table `[async.callbacks]`: where the ends of asynchronous calls are reported to.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::addresses::Reach;
use crate::config::values::callback_url::CallbackUrl;
use crate::config::values::http_grant::HttpGrant;
use crate::config::values::period::Period;
use crate::config::values::signing_secret::SigningSecret;
use crate::config::values::timeout::Timeout;

/// `[async.callbacks]`: requests that report the ends of asynchronous calls to those who ask for it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct CallbacksConfig {
    /// Origins that callbacks may go to, such as `https://hooks.example.com`. Addresses in private networks are
    /// refused, unless the origin names the address itself or the list has its network, such as "10.0.0.0/8". Default:
    /// none.
    pub http: Vec<HttpGrant>,
    /// The key of their signatures, which receivers need to check them: 24 to 64 bytes in base64, with or without
    /// "whsec_" before them. Required if `http` has origins. The gateway never prints it.
    pub secret: Option<SigningSecret>,
    /// How long a receiver has for its answer. "1ms" to "1h". Default "10s".
    pub timeout: Timeout,
    /// How long a callback is tried. "1ms" to "365d". Default "24h".
    pub max_age: Period,
}

impl Default for CallbacksConfig {
    fn default() -> Self {
        Self { http: Vec::new(), secret: None, timeout: Timeout::seconds(10), max_age: Period::hours(24) }
    }
}

impl CallbacksConfig {
    /// Whether callbacks may go to this URL.
    #[must_use]
    pub fn permits(&self, url: &CallbackUrl) -> bool {
        self.http.allows_url(url.get())
    }
}

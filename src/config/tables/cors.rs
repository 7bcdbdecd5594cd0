//! The tables `[server.cors]`, `[deployment.cors]` and `[route.cors]`: which web pages may call functions.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::cors_origin::CorsOrigin;
use crate::config::values::delay::Delay;
use crate::config::values::http_words::{HeaderWord, MethodName};

/// Which web pages of other origins may call functions and read the answers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct CorsConfig {
    /// Origins of the pages: `"https://app.example.com"`, `"https://*.example.com"`, `"http://localhost:*"`, or `"*"`
    /// for all. Default: none.
    pub origins: Vec<CorsOrigin>,
    /// Methods that pages may use. Default: GET, HEAD, POST, PUT, PATCH and DELETE.
    pub methods: Option<Vec<MethodName>>,
    /// Headers that pages may send; `"*"` for all. Default `["*"]`.
    pub headers: Vec<HeaderWord>,
    /// Headers of answers that pages may read, in addition to those that browsers always show; `"*"` for all, which has
    /// no effect with credentials. Default `["x-request-id", "x-metagate-error", "location", "preference-applied",
    /// "retry-after", "idempotency-replayed"]`.
    pub expose: Vec<HeaderWord>,
    /// Whether pages may send cookies and HTTP authentication. Not with the origin `"*"`. Default false.
    pub credentials: bool,
    /// Time for which browsers may keep the answer to a preflight. "0s" to "1h". Default "10m".
    pub max_age: Delay,
}

impl Default for CorsConfig {
    fn default() -> Self {
        let name = |name| HeaderWord::Name(http::HeaderName::from_static(name));
        let exposed = [
            "x-request-id",
            "x-metagate-error",
            "location",
            "preference-applied",
            "retry-after",
            "idempotency-replayed",
        ];
        Self {
            origins: Vec::new(),
            methods: None,
            headers: vec![HeaderWord::Any],
            expose: exposed.map(name).into(),
            credentials: false,
            max_age: Delay::minutes(10),
        }
    }
}

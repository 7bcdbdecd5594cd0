//! Where spans go, and which.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that they are posted to.
    pub url: Url,
    /// Headers of the requests.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The part of the traces that begin here, 0 to 1.
    pub sample: f64,
    /// The name of this gateway.
    pub service_name: String,
    /// The most spans that wait.
    pub queue: usize,
    /// How long they wait for others.
    pub interval: Duration,
    /// How long the collector has to answer.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub compresses: bool,
}

//! The tables `[async]` and `[deployment.async]`: calls that nobody waits for.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::tables::callbacks::CallbacksConfig;
use crate::config::values::callback_url::CallbackUrl;
use crate::config::values::delay::Delay;
use crate::config::values::field;
use crate::config::values::period::Period;
use crate::config::values::rate::Rate;
use crate::config::values::size::Size;

/// `[async]`: asynchronous calls. What decides about tries can be set for each deployment as well.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct AsyncConfig {
    /// Whether callers may ask for it. Default true.
    pub enabled: bool,
    /// Tries of a call that may fail; after that it is dead. 1 to 100. Default 5.
    #[serde(deserialize_with = "field::within::<1, 100, _, _>")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// Delay before the second try, half of it at random; it doubles with each further one. "0s" to "1h". Default
    /// "1s".
    pub backoff: Delay,
    /// The longest delay between two tries. "0s" to "1h". Default "5m".
    pub max_backoff: Delay,
    /// A call that has waited for so long is dead. "1ms" to "365d". Default "24h".
    pub max_age: Period,
    /// How long a call and its result are kept after its end. "1ms" to "365d". Default "24h".
    pub keep: Period,
    /// How long a dead call is kept, which somebody may want to try again. "1ms" to "365d". Default "7d".
    pub keep_dead: Period,
    /// Maximum number of calls of a deployment that are tried at a time. 1 to 4096. Default 16.
    #[serde(deserialize_with = "field::within::<1, 4096, _, _>")]
    #[schemars(range(min = 1, max = 4096))]
    pub concurrency: u32,
    /// Maximum number of calls that wait or are tried, of all deployments. At least 1. Default 1000000.
    #[serde(deserialize_with = "field::within::<1, { u32::MAX }, _, _>")]
    #[schemars(range(min = 1))]
    pub max_waiting: u32,
    /// Maximum size of all requests and results that are kept. The oldest results make room for new ones; calls that
    /// have not ended never do. At least 1 byte. Default "2GiB".
    pub max_bytes: Size,
    /// Requests that report the ends of calls. Default: none.
    #[serde(deserialize_with = "field::table")]
    pub callbacks: CallbacksConfig,
}

impl Default for AsyncConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            attempts: 5,
            backoff: Delay::seconds(1),
            max_backoff: Delay::minutes(5),
            max_age: Period::hours(24),
            keep: Period::hours(24),
            keep_dead: Period::hours(7 * 24),
            concurrency: 16,
            max_waiting: 1_000_000,
            max_bytes: Size::mebibytes(2048),
            callbacks: CallbacksConfig::default(),
        }
    }
}

/// `[deployment.async]`: asynchronous calls of this deployment. What is not set is as in `[async]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct DeploymentAsyncConfig {
    /// Whether callers may ask for it.
    pub enabled: Option<bool>,
    /// Tries of a call that may fail; after that it is dead. 1 to 100.
    #[serde(deserialize_with = "field::within::<1, 100, _, _>")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// Delay before the second try, half of it at random; it doubles with each further one. "0s" to "1h".
    pub backoff: Option<Delay>,
    /// The longest delay between two tries. "0s" to "1h".
    pub max_backoff: Option<Delay>,
    /// A call that has waited for so long is dead. "1ms" to "365d".
    pub max_age: Option<Period>,
    /// How long a call and its result are kept after its end. "1ms" to "365d".
    pub keep: Option<Period>,
    /// How long a dead call is kept. "1ms" to "365d".
    pub keep_dead: Option<Period>,
    /// Maximum number of calls that are tried at a time. 1 to 4096.
    #[serde(deserialize_with = "field::within::<1, 4096, _, _>")]
    #[schemars(range(min = 1, max = 4096))]
    pub concurrency: Option<u32>,
    /// Maximum number of tries in a time, such as "10/s" or "100/m". Default: no limit.
    pub rate: Option<Rate>,
    /// Where the end of a call is reported to that asks for no other place. `[async.callbacks]` has to permit it.
    /// Default: nowhere.
    pub callback: Option<CallbackUrl>,
}

/// A limit in force of the asynchronous calls of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncLimit {
    /// Its key.
    pub key: &'static str,
    /// Its value, as it is written.
    pub value: String,
    /// Whether it is the deployment's own; otherwise it is that of `[async]`.
    pub is_own: bool,
}

impl DeploymentAsyncConfig {
    /// The limits in force, where `all` is the table `[async]`.
    #[must_use]
    pub fn described(&self, all: &AsyncConfig) -> Vec<AsyncLimit> {
        fn limit<T: ToString>(key: &'static str, own: Option<T>, all: &dyn ToString) -> AsyncLimit {
            let is_own = own.is_some();
            AsyncLimit { key, value: own.map_or_else(|| all.to_string(), |own| own.to_string()), is_own }
        }
        vec![
            limit("enabled", self.enabled, &all.enabled),
            limit("attempts", self.attempts, &all.attempts),
            limit("backoff", self.backoff, &all.backoff),
            limit("max_backoff", self.max_backoff, &all.max_backoff),
            limit("max_age", self.max_age, &all.max_age),
            limit("keep", self.keep, &all.keep),
            limit("keep_dead", self.keep_dead, &all.keep_dead),
            limit("concurrency", self.concurrency, &all.concurrency),
            limit("rate", self.rate, &"none"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_where_it_comes_from() {
        let own = DeploymentAsyncConfig { attempts: Some(2), ..DeploymentAsyncConfig::default() };
        let limits = own.described(&AsyncConfig::default());
        let of = |key| limits.iter().find(|limit| limit.key == key).map(|limit| (limit.value.as_str(), limit.is_own));
        assert_eq!((of("attempts"), of("concurrency")), (Some(("2", true)), Some(("16", false))));
        assert_eq!(of("rate"), Some(("none", false)));
    }
}

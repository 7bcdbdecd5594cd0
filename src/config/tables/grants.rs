//! The table `[plugin.grants]`: what a plugin may reach.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::values::field;
use crate::config::values::http_grant::HttpGrant;
use crate::config::values::scope::InvokeGrant;
use crate::config::values::secret::Secret;
use crate::config::values::variable::is_variable_name;

const VARIABLE_WORDS: &str = "the name of an environment variable: letters, digits and _, not begun by a digit";

/// `[plugin.grants]`: what a plugin may reach beside log, config, clock and random. Each is an import that it has only if
/// it is granted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Grants {
    /// Values kept between calls, for all instances of this plugin and no other. Default false.
    pub store: bool,
    /// Origins that it may send requests to, such as `https://auth.example.com`. No addresses of private networks, unless
    /// the origin names the address itself or the list has its network, such as "10.0.0.0/8". Default: none.
    pub http: Vec<HttpGrant>,
    /// Variables of the gateway's environment, by name. Default: none.
    #[serde(deserialize_with = "variables")]
    pub env: Vec<String>,
    /// Values that no log and no answer of the gateway shows, by the names that the plugin asks for. Default: none.
    pub secrets: BTreeMap<String, Secret>,
    /// Counters of its own in /metrics. Default false.
    pub metrics: bool,
    /// Functions that it may call, as "deployment/function", each with * for any text. Default: none.
    pub invoke: Vec<InvokeGrant>,
}

fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let variables = Vec::<Variable>::deserialize(deserializer)?;
    Ok(variables.into_iter().map(|variable| variable.0).collect())
}

/// The name of an environment variable.
struct Variable(String);

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer, VARIABLE_WORDS, |text| {
            let named = is_variable_name(text).then(|| Self(text.to_owned()));
            named.ok_or_else(|| format!("{text:?} is not {VARIABLE_WORDS}"))
        })
    }
}

//! The table `[plugin.grants]`: the permissions of a plugin.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::values::field;
use crate::config::values::http_grant::HttpGrant;
use crate::config::values::scope::InvokeGrant;
use crate::config::values::secret::Secret;
use crate::config::values::variable::is_variable_name;

const VARIABLE_WORDS: &str =
    "the name of an environment variable: letters, digits and _; it must not begin with a digit";

/// `[plugin.grants]`: permissions of a plugin, in addition to log, config, clock and random. A plugin can import only
/// the interfaces that are granted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Grants {
    /// Key-value store, shared by the instances of this plugin and not visible to others. Default false.
    pub store: bool,
    /// Origins that the plugin may send requests to, such as `https://auth.example.com`. Addresses in private networks
    /// are refused, unless the origin names the address itself or the list has its network, such as "10.0.0.0/8".
    /// Default: none.
    pub http: Vec<HttpGrant>,
    /// Variables of the gateway's environment that the plugin may read, by name. Default: none.
    #[serde(deserialize_with = "variables")]
    pub env: Vec<String>,
    /// Secret values by name. The gateway never prints them, in no log and no answer. Default: none.
    pub secrets: BTreeMap<String, Secret>,
    /// Counters of the plugin in /metrics. Default false.
    pub metrics: bool,
    /// Functions that the plugin may call, as "deployment/function", each with * for any text. Default: none.
    pub invoke: Vec<InvokeGrant>,
}

impl Grants {
    /// Each permission in words, such as `http https://auth.example.com`; of secrets the names.
    #[must_use]
    pub fn described(&self) -> Vec<String> {
        let Self { store, http, env, secrets, metrics, invoke } = self;
        let plain = [(*store, "store"), (*metrics, "metrics")];
        let mut texts: Vec<String> =
            plain.iter().filter(|(is_granted, _)| *is_granted).map(|(_, name)| (*name).to_owned()).collect();
        texts.extend(http.iter().map(|grant| format!("http {grant}")));
        texts.extend(env.iter().map(|name| format!("env {name}")));
        texts.extend(secrets.keys().map(|name| format!("secret {name}")));
        texts.extend(invoke.iter().map(|grant| format!("invoke {grant}")));
        texts
    }
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

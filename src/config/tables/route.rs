//! The table `[[route]]`: an address of one's own for a function or an app.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::locations::Locations;
use crate::config::tables::cors::CorsConfig;
use crate::config::values::field;
use crate::config::values::http_words::MethodName;
use crate::config::values::route_host::RouteHost;
use crate::config::values::route_path::RoutePath;
use crate::config::values::route_target::RouteTarget;

/// `[[route]]`: an address for a function, or for a deployment that takes whole requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RouteConfig {
    /// The path: `"/orders"`, `"/orders/{id}"` with a parameter, `"/files/{path...}"` with all further parts as one.
    pub path: RoutePath,
    /// The methods; HEAD comes with GET, but not to asynchronous calls. Default: GET and POST for a function, all for a
    /// deployment.
    #[serde(default, deserialize_with = "methods")]
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<MethodName>>,
    /// The host that requests are for, without a port: `"shop.example.com"`, or `"*.example.com"` for all below it.
    /// Routes with a host come before those without. Default: every host.
    #[serde(default)]
    pub host: Option<RouteHost>,
    /// The function, as `"<deployment>/<function>"`, or `"<deployment>"`, whose function for whole requests gets them.
    pub to: RouteTarget,
    /// Whether nobody waits for its calls: they are answered with 202 and the address of the call. Only for functions.
    /// Default false.
    #[serde(default, rename = "async")]
    pub is_async: bool,
    /// Which web pages of other origins may use it, in place of the deployment's `cors` and `[server.cors]`. Default:
    /// those of these.
    #[serde(default, deserialize_with = "field::some_table")]
    pub cors: Option<CorsConfig>,
    /// The locations of this table and its keys.
    #[serde(skip)]
    pub locations: Locations,
}

impl RouteConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["path", "to"];

    /// The methods that it takes, HEAD included unless its calls are asynchronous; none if it takes all.
    #[must_use]
    pub fn accepted(&self) -> Option<Vec<&str>> {
        let listed: Option<Vec<&str>> =
            self.methods.as_ref().map(|methods| methods.iter().map(MethodName::as_str).collect());
        let mut methods = match (listed, &self.to.function) {
            (Some(listed), _) => listed,
            (None, Some(_)) => vec!["GET", "POST"],
            (None, None) => return None,
        };
        if self.is_async {
            methods.retain(|method| *method != "HEAD");
            return Some(methods);
        }
        if let Some(get) = methods.iter().position(|method| *method == "GET")
            && !methods.contains(&"HEAD")
        {
            methods.insert(get + 1, "HEAD");
        }
        Some(methods)
    }
}

fn methods<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<MethodName>>, D::Error> {
    field::filled(deserializer, "a list of methods such as [\"GET\"]").map(Some)
}

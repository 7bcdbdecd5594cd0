//! A function of a deployment: `"shop/order"`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::route_target::RouteTarget;
use crate::config::values::written_as_text::written_as_text;
use crate::deployment::DeploymentName;

const WORDS: &str = "\"<deployment>/<function>\"";

/// A function and its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionTarget {
    /// The deployment.
    pub deployment: DeploymentName,
    /// The function.
    pub function: String,
}

impl FunctionTarget {
    /// Whether it is this function.
    #[must_use]
    pub fn is(&self, deployment: &DeploymentName, function: &str) -> bool {
        self.deployment == *deployment && self.function == function
    }
}

impl FromStr for FunctionTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |_| format!("{text:?} is not {WORDS}");
        let RouteTarget { deployment, function } = text.parse().map_err(refused)?;
        function.map(|function| Self { deployment, function }).ok_or_else(|| format!("{text:?} is not {WORDS}"))
    }
}

impl fmt::Display for FunctionTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.deployment, self.function)
    }
}

written_as_text!(FunctionTarget, WORDS, json_schema!({ "type": "string", "pattern": "^[^/]+/.+$" }));

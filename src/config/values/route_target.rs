//! Where a route leads: `"shop/order"`, a function of a deployment, or `"shop"`, whole requests to a deployment.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;
use crate::deployment::DeploymentName;

const WORDS: &str = "\"<deployment>/<function>\", or \"<deployment>\" for one that takes whole requests";
const FUNCTION_LIMIT: usize = 256;

/// The value of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTarget {
    /// The deployment.
    pub deployment: DeploymentName,
    /// The function; none for whole requests.
    pub function: Option<String>,
}

impl FromStr for RouteTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (deployment, function) = match text.split_once('/') {
            Some((deployment, function)) => (deployment, Some(function)),
            None => (text, None),
        };
        let deployment = DeploymentName::new(deployment).map_err(|error| format!("{deployment:?}: {error}"))?;
        let is_name = |part: &str| {
            !part.is_empty()
                && !part.contains("..")
                && part != "."
                && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "%?#\\{}*".contains(c))
        };
        match function {
            Some(function) if function.len() > FUNCTION_LIMIT || !function.split('/').all(is_name) => {
                Err(format!("{text:?} is not {WORDS}"))
            }
            function => Ok(Self { deployment, function: function.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.deployment.as_str())?;
        self.function.iter().try_for_each(|function| write!(f, "/{function}"))
    }
}

written_as_text!(RouteTarget, WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_function_or_a_deployment() {
        for good in ["shop", "shop/order", "shop/orders/create", "shop/example:calc/add@0.1.0/add", "shop/größe"] {
            assert_eq!(good.parse::<RouteTarget>().unwrap().to_string(), good);
        }
        for bad in
            ["", "/", "shop/", "/order", "shop//order", "shop/..", "shop/a b", "a b", "api", "api/f", "shop/{id}"]
        {
            assert!(bad.parse::<RouteTarget>().is_err(), "{bad:?}");
        }
    }
}

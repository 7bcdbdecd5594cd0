//! Functions together with their deployment: exceptions from the scope of a plugin, and the functions that it may call.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::pattern::{BadPattern, Pattern};
use crate::config::values::written_as_text::written_as_text;

const EXCLUSION_WORDS: &str = "\"deployment\" or \"deployment/function\", each with * for any text";
const INVOKE_WORDS: &str = "\"deployment/function\", each with * for any text";

/// An exception from the scope of a plugin: `"math"`, `"math/sum"`, `"*/health"`.
#[derive(Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// The deployments.
    pub deployment: Pattern,
    /// Their functions; `None` covers all of them, and loads.
    pub function: Option<Pattern>,
}

impl Exclusion {
    /// Whether it covers all of this deployment: its loads and every call.
    #[must_use]
    pub fn covers_deployment(&self, deployment: &str) -> bool {
        self.function.is_none() && self.deployment.matches(deployment)
    }

    /// Whether it covers calls of this function.
    #[must_use]
    pub fn covers(&self, deployment: &str, function: &str) -> bool {
        self.deployment.matches(deployment) && self.function.as_ref().is_none_or(|pattern| pattern.matches(function))
    }
}

impl FromStr for Exclusion {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (deployment, function) = halves(text)?;
        Ok(Self { deployment, function })
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => write!(f, "{}/{function}", self.deployment),
            None => fmt::Display::fmt(&self.deployment, f),
        }
    }
}

/// Functions that a plugin may call: `"auth/check"`, `"auth/*"`.
#[derive(Clone, PartialEq, Eq)]
pub struct InvokeGrant {
    /// The deployments.
    pub deployment: Pattern,
    /// Their functions.
    pub function: Pattern,
}

impl InvokeGrant {
    /// Whether it covers this function.
    #[must_use]
    pub fn covers(&self, deployment: &str, function: &str) -> bool {
        self.deployment.matches(deployment) && self.function.matches(function)
    }
}

impl FromStr for InvokeGrant {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        match halves(text)? {
            (deployment, Some(function)) => Ok(Self { deployment, function }),
            (_, None) => Err(BadPattern(format!("{text:?} names no function; \"{text}/*\" means all"))),
        }
    }
}

impl fmt::Display for InvokeGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.deployment, self.function)
    }
}

impl fmt::Debug for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl fmt::Debug for InvokeGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

written_as_text!(
    Exclusion,
    EXCLUSION_WORDS,
    json_schema!({ "type": "string", "pattern": "^[ -.0-~]{1,128}(/[ -~]{1,128})?$" })
);
written_as_text!(
    InvokeGrant,
    INVOKE_WORDS,
    json_schema!({ "type": "string", "pattern": "^[ -.0-~]{1,128}/[ -~]{1,128}$" })
);

fn halves(text: &str) -> Result<(Pattern, Option<Pattern>), BadPattern> {
    let Some((deployment, function)) = text.split_once('/') else {
        return Ok((text.parse()?, None));
    };
    if deployment.is_empty() || function.is_empty() {
        return Err(BadPattern(format!("{text:?} has nothing on one side of the \"/\"; \"*\" means all")));
    }
    Ok((deployment.parse()?, Some(function.parse()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_covers_a_deployment_or_some_of_its_functions() {
        let whole: Exclusion = "rep*".parse().unwrap();
        assert!(whole.covers_deployment("report") && whole.covers("report", "sum") && !whole.covers("math", "report"));
        let part: Exclusion = "*/health*".parse().unwrap();
        assert!(part.covers("math", "healthz") && !part.covers("math", "sum") && !part.covers_deployment("health"));
        // A star on one side does not reach over to the other.
        let end: Exclusion = "*m".parse().unwrap();
        assert!(end.covers("farm", "x") && !end.covers("math", "sum"));
    }

    #[test]
    fn a_grant_to_call_names_both_halves() {
        let grant: InvokeGrant = "auth/che*".parse().unwrap();
        assert!(grant.covers("auth", "check") && !grant.covers("auth", "sum") && !grant.covers("auth2", "check"));
        assert_eq!(grant.to_string(), "auth/che*");
        let of_interface: InvokeGrant = "calc/operations/add".parse().unwrap();
        assert!(of_interface.covers("calc", "operations/add") && !of_interface.covers("calc", "add"));
        for (bad, reason) in [
            ("auth", "\"auth\" names no function; \"auth/*\" means all"),
            ("auth/", "nothing on one side"),
            ("/check", "nothing on one side"),
            ("", "the name is empty"),
            ("ä/b", "not printable ASCII"),
        ] {
            let message = bad.parse::<InvokeGrant>().unwrap_err().to_string();
            assert!(message.contains(reason), "{bad}: {message}");
        }
    }
}

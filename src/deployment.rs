//! The parts of a deployment that every layer knows: its checked name, the functions that its release exports, and the
//! shape of the `metacall.json` files that list its scripts.

mod schema;
mod signature;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use signature::{Parameter, ParameterKind, Signature, is_left_out};

const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const NAME_LIMIT: usize = 64;

/// Names that deployments and prefixes cannot have, because the gateway's own addresses begin with them.
pub const RESERVED_NAMES: [&str; 7] = ["api", "validate", "admin", "metrics", "healthz", "readyz", ".well-known"];

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It does not match the pattern of names.
    #[error("a name is 1 to 64 of A-Z a-z 0-9 . _ -, begins with a letter or digit and has no \"..\"")]
    Form,
    /// One of [`RESERVED_NAMES`].
    #[error("{0:?} is reserved for the gateway's own addresses, as are {list}", list = RESERVED_NAMES.join(", "))]
    Reserved(String),
}

/// Checks whether a text is a valid name of a deployment or a prefix.
///
/// # Errors
///
/// It does not match the pattern, or it is reserved.
pub fn check_name(text: &str) -> Result<(), BadName> {
    let form = text.len() <= NAME_LIMIT
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !text.contains("..");
    if !form {
        return Err(BadName::Form);
    }
    if RESERVED_NAMES.iter().any(|reserved| text.eq_ignore_ascii_case(reserved)) {
        return Err(BadName::Reserved(text.to_owned()));
    }
    Ok(())
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $description:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes a name of a text.
            ///
            /// # Errors
            ///
            /// The text is not a valid name.
            pub fn new(text: &str) -> Result<Self, BadName> {
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                Self::new(&text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": NAME_PATTERN, "description": $description })
            }
        }
    };
}

checked_name!(
    /// The name of a deployment, also called its suffix: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, no `..`, not reserved.
    DeploymentName,
    "The name of a deployment: letters, digits, '.', '_' and '-'."
);
checked_name!(
    /// The first part of call addresses, of the same form as a deployment's name.
    Prefix,
    "The first part of call addresses: letters, digits, '.', '_' and '-'."
);

/// A `metacall.json`: the scripts of one language, relative to `path` inside the deployment's folder.
/// Format: MetaCall's configuration file, for example `{"language_id":"node","path":".","scripts":["index.js"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaCallJson {
    /// The language, by MetaCall's names: `node`, `py`, `ts`, `rb`, …
    pub language_id: String,
    /// The folder of the scripts, relative to the deployment's folder.
    #[serde(default = "here")]
    pub path: String,
    /// The scripts, relative to `path`.
    pub scripts: Vec<String>,
    /// No file lists the scripts: they were found by their names, and some of them may not be meant to be served.
    #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
}

fn here() -> String {
    ".".to_owned()
}

/// The state of a folder's files. If two fingerprints are equal, no file was added, removed or written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

/// The name of the function that takes whole HTTP requests, in every deployment that has one.
pub const HTTP_FUNCTION: &str = "http";

/// What a function is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// The arguments of the caller.
    Arguments,
    /// A whole HTTP request. The function's result is the answer to it.
    Request,
}

/// A function of a release.
#[derive(Debug)]
pub struct Function {
    /// Its name, as the release exports it.
    pub name: Box<str>,
    /// Its name as a JSON string, made once for the messages of all calls.
    pub quoted: Box<str>,
    /// What it is called with.
    pub takes: Takes,
    /// Whether the body of a whole HTTP request may follow the call piece by piece.
    pub streams_body: bool,
    /// The path at which the web app behind it answers with an OpenAPI document of its own.
    pub openapi: Option<Box<str>>,
    /// Its parameters, result and description.
    pub signature: Signature,
}

impl Function {
    /// A function of this name.
    #[must_use]
    pub fn new(name: &str, takes: Takes, signature: Signature) -> Self {
        let quoted = serde_json::Value::from(name).to_string().into_boxed_str();
        Self { name: name.into(), quoted, takes, streams_body: false, openapi: None, signature }
    }
}

/// What a worker accepts with each call in addition to the arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepts {
    /// The names of the arguments, if the caller gave them.
    pub names: bool,
    /// The time that is left for the call.
    pub timeout: bool,
    /// The head of the HTTP request.
    pub request: bool,
    /// Arguments that are bytes or files.
    pub files: bool,
    /// That the caller has left, or that the time is over.
    pub cancel: bool,
}

/// The exports of a loaded release: its functions by name, and its packages as the worker sent them.
#[derive(Debug)]
pub struct Exports {
    /// The functions by name.
    pub functions: HashMap<Box<str>, Arc<Function>>,
    /// Aliases with the names of their functions. No alias is the name of a function.
    pub aliases: HashMap<Box<str>, Box<str>>,
    /// What its workers accept with each call.
    pub accepts: Accepts,
    /// Languages with their handles, as in MetaCall's MetaData; only handles of the deployment's own scripts.
    pub packages: serde_json::Value,
    /// What is odd about the release although it serves, for people: a script that is left out, no function at all.
    pub warnings: Vec<String>,
}

impl Exports {
    /// The function that callers reach by this name or alias.
    #[must_use]
    pub fn function(&self, called: &str) -> Option<&Arc<Function>> {
        self.functions.get(self.aliases.get(called).map_or(called, AsRef::as_ref))
    }

    /// The full names of the functions that have this name behind the name of their script or interface, sorted, if
    /// there are several: none of them is called by the bare name.
    #[must_use]
    pub fn namesakes(&self, bare: &str) -> Option<Vec<String>> {
        let is_namesake = |name: &&str| name.strip_suffix(bare).is_some_and(|before| before.ends_with('/'));
        let mut found: Vec<String> =
            self.functions.keys().map(AsRef::as_ref).filter(is_namesake).map(str::to_owned).collect();
        found.sort();
        (found.len() > 1).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_pattern() {
        for good in ["a", "math", "A-b_c.d", "0", &"x".repeat(64)] {
            assert!(DeploymentName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a..b", ".a", "-a", "a/b", "a b", "ä", "a\0", &"x".repeat(65), "a;b"] {
            assert_eq!(DeploymentName::new(bad), Err(BadName::Form), "{bad:?}");
        }
    }

    #[test]
    fn the_gateways_own_addresses_are_not_names() {
        assert_eq!(DeploymentName::new("api"), Err(BadName::Reserved("api".into())));
        assert!(Prefix::new("Metrics").is_err());
    }
}

//! The table `[mcp]`.

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;
use crate::config::values::function_target::FunctionTarget;
use crate::config::values::pattern::{self, Pattern};
use crate::config::values::resource_uri::ResourceUri;
use crate::deployment::DeploymentName;

/// `[mcp]`: functions as tools of the Model Context Protocol, at `/mcp` and at the address of each deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct McpConfig {
    /// Whether functions are tools. Default false.
    pub enabled: bool,
    /// Deployments whose functions are tools; `*` stands for any text. Default: all.
    #[serde(deserialize_with = "pattern::names")]
    #[schemars(length(min = 1))]
    pub deployments: Vec<Pattern>,
    /// What models should know about these tools, such as which to use first. Default: nothing.
    #[serde(deserialize_with = "instructions")]
    #[schemars(length(max = 16384))]
    pub instructions: Option<String>,
    /// Parameters that clients repeat in the headers `Mcp-Param-<name>` of the calls of all tools that have them as a
    /// text, a whole number or a boolean, so that proxies can route by them. A call whose headers say something else
    /// than its arguments is refused. Default: none.
    #[serde(deserialize_with = "headers")]
    pub headers: Vec<String>,
    /// Functions that write prompts for users to choose from, and are no tools: `["shop/review"]`. Default: none.
    #[serde(deserialize_with = "prompts")]
    pub prompts: Vec<FunctionTarget>,
    /// Resources that clients read: tables `[[mcp.resource]]`, each with `uri` (`"orders://open"`, or
    /// `"orders://{id}"`, whose variables are arguments) and `to`, the function that answers with the content.
    /// Default: none.
    #[serde(deserialize_with = "field::tables")]
    pub resource: Vec<McpResource>,
    /// Maximum number of tools, prompts or resources in one answer; clients ask for the rest. 1 to 1000. Default 250.
    #[serde(deserialize_with = "field::within::<1, 1000, _, _>")]
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: u32,
}

/// `[[mcp.resource]]`: what clients read at a URI.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct McpResource {
    /// The URI: `"orders://open"`, or `"orders://{id}"`, whose variables are arguments of the function. A variable
    /// stands for a text without `/`.
    pub uri: ResourceUri,
    /// The function that answers with the content, as `"<deployment>/<function>"`.
    pub to: FunctionTarget,
}

impl McpResource {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["uri", "to"];
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            deployments: vec![Pattern::any()],
            instructions: None,
            headers: Vec::new(),
            prompts: Vec::new(),
            resource: Vec::new(),
            page_size: 250,
        }
    }
}

impl McpConfig {
    /// Whether a function is a prompt.
    #[must_use]
    pub fn is_prompt(&self, deployment: &DeploymentName, function: &str) -> bool {
        self.prompts.iter().any(|prompt| prompt.is(deployment, function))
    }

    /// Whether the functions of a deployment are tools.
    #[must_use]
    pub fn offers(&self, deployment: &str) -> bool {
        self.enabled && self.deployments.iter().any(|pattern| pattern.matches(deployment))
    }
}

/// Most bytes of the instructions: models read them with each conversation.
const INSTRUCTIONS_LIMIT: usize = 16 * 1024;

fn headers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names: Vec<HeaderParameter> =
        field::filled(deserializer, "a list of names of parameters such as [\"region\"]")?;
    Ok(names.into_iter().map(|name| name.0).collect())
}

fn prompts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<FunctionTarget>, D::Error> {
    field::filled(deserializer, "a list of functions such as [\"shop/review\"]")
}

/// One item of [`headers`].
struct HeaderParameter(String);

impl<'de> Deserialize<'de> for HeaderParameter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer, "the name of a parameter", |text| {
            if (1..=64).contains(&text.len()) && HeaderName::from_bytes(text.as_bytes()).is_ok() {
                Ok(Self(text.to_owned()))
            } else {
                Err(format!("{text:?} cannot be a part of the name of a header: 1 to 64 letters, digits, - or _"))
            }
        })
    }
}

fn instructions<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    field::text(deserializer, "a text of 1 to 16384 bytes", |text| {
        let fits = (1..=INSTRUCTIONS_LIMIT).contains(&text.len());
        if fits {
            Ok(Some(text.to_owned()))
        } else {
            Err(format!("expected 1 to {INSTRUCTIONS_LIMIT} bytes, found {}", text.len()))
        }
    })
}

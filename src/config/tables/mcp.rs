//! The table `[mcp]`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;
use crate::config::values::pattern::{self, Pattern};

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
    /// Maximum number of tools in one answer; clients ask for the rest. 1 to 1000. Default 250.
    #[serde(deserialize_with = "field::within::<1, 1000, _, _>")]
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: u32,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self { enabled: false, deployments: vec![Pattern::any()], instructions: None, page_size: 250 }
    }
}

impl McpConfig {
    /// Whether the functions of a deployment are tools.
    #[must_use]
    pub fn offers(&self, deployment: &str) -> bool {
        self.enabled && self.deployments.iter().any(|pattern| pattern.matches(deployment))
    }
}

/// Most bytes of the instructions: models read them with each conversation.
const INSTRUCTIONS_LIMIT: usize = 16 * 1024;

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

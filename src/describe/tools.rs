//! Functions as tools of the Model Context Protocol. Shape of a tool:
//! <https://modelcontextprotocol.io/specification/2026-07-28/server/tools#tool>.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::deployment::{DeploymentName, Exports, Function, Takes};
use crate::describe::declared;
use crate::describe::mirrored::{self, MirroredParameter};
use crate::describe::schema::has_files;
use crate::describe::tool_input::ToolInput;
use crate::describe::tool_names;
use crate::describe::tool_output::ToolOutput;

/// The tools of one release.
#[derive(Debug)]
pub struct ReleaseTools {
    /// The deployment.
    pub deployment: DeploymentName,
    /// What they were made of.
    pub exports: Arc<Exports>,
    /// The tools, by their names.
    pub tools: Vec<Tool>,
}

/// A function as a tool.
#[derive(Debug)]
pub struct Tool {
    /// Its name among the tools of its deployment.
    pub name: String,
    /// Its name among the tools of all deployments.
    pub full_name: String,
    /// The function.
    pub function: Box<str>,
    /// Its arguments.
    pub input: ToolInput,
    /// Its result.
    pub output: ToolOutput,
    /// What clients repeat of its arguments in headers.
    pub mirrored: Vec<MirroredParameter>,
    /// What follows its name in the list of tools: the members of a JSON object, without its braces.
    pub members: String,
}

/// What the configuration says about tools.
#[derive(Clone, Copy)]
pub struct ToolRules<'a> {
    /// Clients repeat the parameters of these names in headers.
    pub headers: &'a [String],
    /// Whether a function of a deployment is something else than a tool.
    pub is_other: &'a dyn Fn(&DeploymentName, &str) -> bool,
}

impl ReleaseTools {
    /// The tools of a release. Takes time for many functions.
    #[must_use]
    pub fn of(deployment: &DeploymentName, exports: Arc<Exports>, rules: &ToolRules<'_>) -> Self {
        let are_called = exports.functions.values().filter(|function| function.takes == Takes::Arguments);
        let may_be_tools = are_called.filter(|function| !(rules.is_other)(deployment, &function.name));
        // Arguments of tools are JSON, and no JSON is a file.
        let needs_file = |function: &Function| {
            function.signature.parameters.iter().any(|one| one.required && has_files(&one.schema))
        };
        let are_tools = may_be_tools.filter(|function| !needs_file(function));
        let mut tools: Vec<Tool> = are_tools.map(|function| Tool::of(deployment, function, rules.headers)).collect();
        tools.sort_by(|one, other| one.name.cmp(&other.name));
        Self { deployment: deployment.clone(), exports, tools }
    }

    /// The place of the tool of this name among those of the deployment.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.tools.binary_search_by(|tool| tool.name.as_str().cmp(name)).ok()
    }
}

impl Tool {
    fn of(deployment: &DeploymentName, function: &Function, headers: &[String]) -> Self {
        let (mut input, output) = (ToolInput::of(&function.signature), ToolOutput::of(&function.signature));
        let mirrored = mirrored::mirror(&mut input.schema, headers);
        let name = tool_names::of_function(&function.name);
        let mut members = Map::new();
        if name != *function.name {
            members.insert("title".to_owned(), Value::from(&*function.name));
        }
        let description = function.signature.description.as_deref().filter(|text| !text.trim().is_empty());
        // Clients want one of every tool.
        let description =
            description.map_or_else(|| format!("{} of {deployment}", function.name), declared::without_indentation);
        members.insert("description".to_owned(), Value::from(description));
        members.insert("inputSchema".to_owned(), input.schema.clone());
        if let Some(schema) = output.schema() {
            members.insert("outputSchema".to_owned(), schema.clone());
        }
        let members = Value::Object(members).to_string();
        Self {
            full_name: tool_names::of_deployment(deployment.as_str(), &function.name),
            name,
            function: function.name.clone(),
            input,
            output,
            mirrored,
            members: members[1..members.len() - 1].to_owned(),
        }
    }
}

//! `completion/complete`: what an argument of a prompt or resource may be, where the type of the parameter lists it.

use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::describe::prompt;
use crate::http::mcp::asked::Asked;
use crate::http::mcp::params::Params;
use crate::http::mcp::rpc_error::RpcError;

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

/// The members of the answer.
///
/// # Errors
///
/// The parameters are malformed, there is no such prompt or resource, or the client may not read its description.
pub async fn complete(asked: &Asked<'_>, params: &Params, head: &Parts) -> Result<String, RpcError> {
    let read = || {
        let reference: Reference = serde_json::from_str(params.reference.as_deref()?).ok()?;
        let argument: Argument = serde_json::from_str(params.argument.as_deref()?).ok()?;
        Some((reference, argument))
    };
    let (reference, argument) = read().ok_or_else(|| {
        RpcError::invalid_params("\"ref\" is a prompt or a resource, and \"argument\" has a name and a value")
    })?;
    let found = match &reference {
        Reference::Prompt { name } => asked.prompt(name),
        Reference::Resource { uri } => {
            asked.resources().find(|(template, _)| template.as_str() == uri).map(|(_, resource)| resource)
        }
    };
    let found = found.ok_or_else(|| RpcError::invalid_params("there is no such prompt or resource"))?;
    // What a type lists is part of a description, as in lists.
    asked.offer.check(found.deployment.name.as_str(), head).await.map_err(|problem| RpcError::of_problem(&problem))?;
    let values = prompt::choices(&found.function, &argument.name, &argument.value);
    let completion: Value = json!({"values": values, "total": values.len(), "hasMore": false});
    Ok(format!(r#""completion":{completion}"#))
}

//! Lists of tools, prompts and resources, page by page, for those who may read the descriptions of their deployments.

use std::sync::Arc;

use http::request::Parts;
use serde_json::{Map, Value};

use crate::describe::prompt;
use crate::describe::tools::ReleaseTools;
use crate::http::mcp::answers::{kept, not_loaded};
use crate::http::mcp::asked::{Asked, Named};
use crate::http::mcp::pages::{Item, page};
use crate::http::mcp::params::Params;
use crate::http::mcp::revision::Revision;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::problem::Problem;

/// What resources are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resources {
    /// Those of one URI.
    Single,
    /// Templates.
    Templates,
}

/// The members of the answer to `tools/list`.
///
/// # Errors
///
/// `draining` if the gateway stops.
pub async fn tools(
    asked: &Asked<'_>,
    revision: Revision,
    params: &Params,
    head: &Parts,
) -> Result<Result<String, RpcError>, Problem> {
    let catalog = asked.catalog().await?;
    let releases: Vec<&Arc<ReleaseTools>> = match &asked.deployment {
        Some(deployment) => match catalog.of(deployment.name.as_str()) {
            Some(release) => vec![release],
            None => return Ok(Err(not_loaded(deployment))),
        },
        None => {
            let all = catalog.releases().iter();
            all.filter(|release| asked.settings.offers(release.deployment.as_str())).collect()
        }
    };
    let names: Vec<&str> = releases.iter().map(|release| release.deployment.as_str()).collect();
    let readable = match asked.offer.readable(&names, head).await {
        Ok(readable) => readable,
        Err(problem) => return Ok(Err(RpcError::of_problem(&problem))),
    };
    let shown = releases.iter().zip(readable).filter_map(|(release, is_readable)| is_readable.then_some(release));
    let tools = shown.flat_map(|release| &release.tools);
    let is_one = asked.deployment.is_some();
    let items =
        tools.map(|tool| Item { name: if is_one { &tool.name } else { &tool.full_name }, members: &tool.members });
    Ok(listed(asked, revision, params, items.collect(), ("tools", "name")))
}

/// The members of the answer to `prompts/list`.
pub async fn prompts(asked: &Asked<'_>, revision: Revision, params: &Params, head: &Parts) -> Result<String, RpcError> {
    let described = |named: &Named| prompt::of_function(&named.function, &named.name);
    let all = asked.prompts().map(|named| (named.name.clone(), described(&named), named)).collect();
    of_functions(asked, revision, params, head, all, ("prompts", "name")).await
}

/// The members of the answer to `resources/list` or `resources/templates/list`.
pub async fn resources(
    asked: &Asked<'_>,
    revision: Revision,
    params: &Params,
    head: &Parts,
    which: Resources,
) -> Result<String, RpcError> {
    let is_wanted = |is_template: bool| is_template == (which == Resources::Templates);
    let all = asked.resources().filter(|(uri, _)| is_wanted(uri.is_template())).map(|(uri, named)| {
        let mut members = Map::from_iter([("name".to_owned(), Value::from(&*named.name))]);
        members.extend(prompt::about(&named.function, &named.name));
        (uri.as_str().to_owned(), members, named)
    });
    let keys = match which {
        Resources::Single => ("resources", "uri"),
        Resources::Templates => ("resourceTemplates", "uriTemplate"),
    };
    of_functions(asked, revision, params, head, all.collect(), keys).await
}

/// A list of functions: the name of each item, its members, and the function.
async fn of_functions(
    asked: &Asked<'_>,
    revision: Revision,
    params: &Params,
    head: &Parts,
    all: Vec<(String, Map<String, Value>, Named)>,
    keys: (&str, &str),
) -> Result<String, RpcError> {
    let deployments: Vec<&str> = all.iter().map(|(_, _, named)| named.deployment.name.as_str()).collect();
    let readable = asked.offer.readable(&deployments, head).await.map_err(|problem| RpcError::of_problem(&problem))?;
    let readable = all.into_iter().zip(readable).filter(|(_, is_readable)| *is_readable);
    let texts: Vec<(String, String)> = readable
        .map(|((name, members, _), _)| {
            let members = Value::Object(members).to_string();
            (name, members[1..members.len() - 1].to_owned())
        })
        .collect();
    let items = texts.iter().map(|(name, members)| Item { name, members }).collect();
    listed(asked, revision, params, items, keys)
}

/// The members of the answer with a list. `keys`: of the list, and of the names in it.
fn listed(
    asked: &Asked<'_>,
    revision: Revision,
    params: &Params,
    items: Vec<Item<'_>>,
    (list, key): (&str, &str),
) -> Result<String, RpcError> {
    let size = usize::try_from(asked.settings.page_size).unwrap_or(usize::MAX);
    let page = page(items, key, params.cursor.as_deref(), size)?;
    // Cursors need no escapes.
    let next = page.next.map_or_else(String::new, |next| format!(r#","nextCursor":"{next}""#));
    Ok(format!(r#""{list}":{}{next}{}"#, page.items, kept(revision, "private")))
}

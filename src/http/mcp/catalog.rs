//! The tools of all deployments. Those of a release are made once, on another thread, when a client first asks for
//! them; they are dropped with the release.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use crate::deployment::{DeploymentName, Exports};
use crate::describe::tools::{ReleaseTools, Tool};
use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::problem::Problem;

/// Most bytes of the tools on one page, unless one tool has more.
const PAGE_BYTES: usize = 1 << 20;

/// The tools of the releases that have loaded, by deployment.
#[derive(Debug, Default)]
pub struct Catalog {
    releases: Vec<Arc<ReleaseTools>>,
    /// Where each tool is, by its full name.
    by_full_name: HashMap<String, (usize, usize)>,
}

/// The current catalog.
#[derive(Debug, Default)]
pub struct Catalogs(Mutex<Arc<Catalog>>);

/// A tool of a release.
#[derive(Debug, Clone)]
pub struct Found {
    release: Arc<ReleaseTools>,
    at: usize,
}

impl Found {
    /// Its deployment.
    #[must_use]
    pub fn deployment(&self) -> &DeploymentName {
        &self.release.deployment
    }

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.release.tools[self.at]
    }
}

/// A page of a list of tools.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The tools: a JSON array.
    pub tools: String,
    /// Where the list goes on, if it does.
    pub next: Option<String>,
}

impl Catalogs {
    /// The tools of what is deployed now.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn current(&self, gateway: &Gateway, bodies: &Bodies) -> Result<Arc<Catalog>, Problem> {
        let known = Arc::clone(&*self.0.lock());
        let mut loaded: Vec<(DeploymentName, Arc<Exports>)> = gateway
            .deployments()
            .iter()
            .filter_map(|deployment| Some((deployment.name.clone(), deployment.pool()?.exports()?)))
            .collect();
        loaded.sort_by(|(one, _), (other, _)| one.cmp(other));
        if known.is_of(&loaded) {
            return Ok(known);
        }
        let made = bodies.elsewhere(move || Ok(Arc::new(known.updated(loaded)))).await?;
        *self.0.lock() = Arc::clone(&made);
        Ok(made)
    }
}

impl Catalog {
    fn is_of(&self, loaded: &[(DeploymentName, Arc<Exports>)]) -> bool {
        let is_same = |(release, (name, exports)): (&Arc<ReleaseTools>, &(DeploymentName, Arc<Exports>))| {
            release.deployment == *name && Arc::ptr_eq(&release.exports, exports)
        };
        self.releases.len() == loaded.len() && self.releases.iter().zip(loaded).all(is_same)
    }

    /// That of these releases, with what is known of some of them.
    fn updated(&self, loaded: Vec<(DeploymentName, Arc<Exports>)>) -> Self {
        let known = |name: &DeploymentName, exports: &Arc<Exports>| {
            let at = self.releases.binary_search_by(|release| release.deployment.cmp(name)).ok()?;
            Some(&self.releases[at]).filter(|release| Arc::ptr_eq(&release.exports, exports)).cloned()
        };
        let made = |(name, exports): (DeploymentName, Arc<Exports>)| {
            known(&name, &exports).unwrap_or_else(|| Arc::new(ReleaseTools::of(&name, exports)))
        };
        let releases: Vec<Arc<ReleaseTools>> = loaded.into_iter().map(made).collect();
        let mut by_full_name = HashMap::new();
        for (at, release) in releases.iter().enumerate() {
            for (tool_at, tool) in release.tools.iter().enumerate() {
                by_full_name.entry(tool.full_name.clone()).or_insert((at, tool_at));
            }
        }
        Self { releases, by_full_name }
    }

    /// The tools of a deployment, if it has loaded.
    #[must_use]
    pub fn of(&self, deployment: &str) -> Option<&Arc<ReleaseTools>> {
        let at = self.releases.binary_search_by(|release| release.deployment.as_str().cmp(deployment)).ok()?;
        Some(&self.releases[at])
    }

    /// The tools of all deployments.
    #[must_use]
    pub fn releases(&self) -> &[Arc<ReleaseTools>] {
        &self.releases
    }

    /// The tool of this full name.
    #[must_use]
    pub fn find(&self, full_name: &str) -> Option<Found> {
        let (release, at) = self.by_full_name.get(full_name)?;
        Some(Found { release: Arc::clone(&self.releases[*release]), at: *at })
    }

    /// The tool of a deployment; none if there is none, or the deployment has not loaded.
    #[must_use]
    pub fn find_in(&self, deployment: &str, name: &str) -> Option<Found> {
        let release = self.of(deployment)?;
        Some(Found { at: release.find(name)?, release: Arc::clone(release) })
    }
}

/// The page of `size` tools that begins after a cursor. `tools` have their names.
///
/// # Errors
///
/// The cursor is none of ours.
pub fn page(mut tools: Vec<(&str, &Tool)>, cursor: Option<&str>, size: usize) -> Result<Page, RpcError> {
    tools.sort_unstable_by_key(|(name, _)| *name);
    let after = cursor.map(last_name).transpose()?;
    // A cursor holds the last name instead of a number: tools that come and go shift nothing.
    let first = after.map_or(0, |after| tools.partition_point(|(name, _)| *name <= after.as_str()));
    let mut listed = String::from("[");
    let mut end = first;
    for (name, tool) in tools[first..].iter().take(size) {
        if end > first {
            if listed.len() + tool.members.len() > PAGE_BYTES {
                break;
            }
            listed.push(',');
        }
        // Names of tools need no escapes.
        for part in ["{\"name\":\"", *name, "\",", tool.members.as_str(), "}"] {
            listed.push_str(part);
        }
        end += 1;
    }
    listed.push(']');
    let last = tools[first..end].last().filter(|_| end < tools.len());
    Ok(Page { tools: listed, next: last.map(|(name, _)| URL_SAFE_NO_PAD.encode(name)) })
}

fn last_name(cursor: &str) -> Result<String, RpcError> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.filter(|name| !name.is_empty()).ok_or_else(|| RpcError::invalid_params("the cursor is not one of this list"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::deployment::{Accepts, Function, Signature, Takes};

    fn release(count: usize) -> ReleaseTools {
        let function = |at: usize| {
            let name = format!("f{at:04}");
            let signature = Signature { parameters: Vec::new(), returns: Value::Null, items: None, description: None };
            (name.as_str().into(), Arc::new(Function::new(&name, Takes::Arguments, signature)))
        };
        let exports = Exports {
            functions: (0..count).map(function).collect(),
            aliases: HashMap::new(),
            accepts: Accepts::default(),
            packages: Value::Null,
            warnings: Vec::new(),
        };
        ReleaseTools::of(&DeploymentName::new("many").unwrap(), Arc::new(exports))
    }

    #[test]
    fn pages_have_each_tool_once() {
        let release = release(1050);
        let listed = || release.tools.iter().map(|tool| (tool.name.as_str(), tool)).collect::<Vec<_>>();
        let (mut names, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(listed(), cursor.as_deref(), 100).unwrap();
            let tools: Vec<Value> = serde_json::from_str(&page.tools).unwrap();
            names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..1050).map(|at| format!("f{at:04}")).collect();
        assert_eq!((names, pages), (expected, 11));
        for cursor in ["", "!", "//", "w6Q"] {
            assert!(page(listed(), Some(cursor), 100).is_err() || cursor == "w6Q", "{cursor}");
        }
        assert_eq!(page(Vec::new(), None, 10).unwrap(), Page { tools: "[]".to_owned(), next: None });
    }
}

//! What a request is about: the tools of one deployment, or of all, and what the gateway says about them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::{FunctionTarget, McpConfig, ResourceUri};
use crate::deployment::Function;
use crate::describe::tool_names;
use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::buffers::Held;
use crate::http::call::lookup::Client;
use crate::http::mcp::answers::{kept, server_info};
use crate::http::mcp::catalog::{Catalog, Found};
use crate::http::mcp::offer::Offer;
use crate::http::mcp::params::Params;
use crate::http::mcp::revision::{self, Revision};
use crate::http::mcp::rpc_error::RpcError;
use crate::http::problem::Problem;
use crate::registry::Deployment;

/// Longest name of a function.
const NAME_LIMIT: usize = 256;

/// A function that is a prompt or a resource.
#[derive(Clone)]
pub struct Named {
    /// Its name for the client.
    pub name: String,
    /// Its deployment.
    pub deployment: Arc<Deployment>,
    /// The function.
    pub function: Arc<Function>,
}

/// A request to the tools of one deployment, or of all.
pub struct Asked<'a> {
    /// What there is.
    pub offer: &'a Offer,
    /// The gateway.
    pub gateway: &'a Arc<Gateway>,
    /// None: all deployments.
    pub deployment: Option<Arc<Deployment>>,
    /// Which functions are tools.
    pub settings: Arc<McpConfig>,
    /// Who asks.
    pub client: Client<'a>,
    /// What counts the body of the request in the budgets.
    pub held: Arc<Held>,
    /// Where large bodies are worked on.
    pub bodies: &'a Arc<Bodies>,
}

impl Asked<'_> {
    /// The tools of what is deployed now.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Problem> {
        self.offer.catalogs.current(self.gateway, &self.settings, self.bodies).await
    }

    /// The tool of this name and its deployment. Of a release that has not loaded nothing is known: the call waits for
    /// it, as any other does.
    #[must_use]
    pub fn find(&self, catalog: &Catalog, name: &str) -> Option<(Arc<Deployment>, Option<Found>)> {
        let Some(deployment) = &self.deployment else {
            let found = catalog.find(name).filter(|found| self.settings.offers(found.deployment().as_str()))?;
            return Some((self.gateway.deployment(found.deployment().as_str())?, Some(found)));
        };
        let found = catalog.find_in(deployment.name.as_str(), name);
        let may_come = catalog.of(deployment.name.as_str()).is_none() && (1..=NAME_LIMIT).contains(&name.len());
        (found.is_some() || may_come).then(|| (Arc::clone(deployment), found))
    }

    /// The functions that are prompts.
    pub fn prompts(&self) -> impl Iterator<Item = Named> {
        self.settings.prompts.iter().filter_map(|target| self.named(target))
    }

    /// The functions that are resources.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceUri, Named)> {
        self.settings.resource.iter().filter_map(|one| Some((&one.uri, self.named(&one.to)?)))
    }

    /// The prompt of this name.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<Named> {
        let target =
            self.settings.prompts.iter().find(|target| self.is_here(target) && self.name_of(target) == name)?;
        self.named(target)
    }

    /// The resource at a URI, and the values of the variables in it.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<(Vec<(&str, String)>, Named)> {
        let mut all = self.settings.resource.iter();
        all.find_map(|one| Some((one.uri.values(uri)?, self.named(&one.to)?)))
    }

    /// A function that a prompt or resource leads to, if it is offered here and its release has loaded.
    fn named(&self, target: &FunctionTarget) -> Option<Named> {
        let deployment = self.gateway.deployment(target.deployment.as_str()).filter(|_| self.is_here(target))?;
        let function = deployment.pool()?.exports()?.function(&target.function).cloned()?;
        Some(Named { name: self.name_of(target), deployment, function })
    }

    fn name_of(&self, target: &FunctionTarget) -> String {
        match &self.deployment {
            Some(_) => tool_names::of_function(&target.function),
            None => tool_names::of_deployment(target.deployment.as_str(), &target.function),
        }
    }

    fn is_here(&self, target: &FunctionTarget) -> bool {
        let name = target.deployment.as_str();
        self.deployment.as_ref().is_none_or(|here| here.name.as_str() == name) && self.settings.offers(name)
    }

    /// Whether there are prompts at this address, loaded or not.
    #[must_use]
    pub fn has_prompts(&self) -> bool {
        self.settings.prompts.iter().any(|target| self.is_here(target))
    }

    /// Whether there are resources at this address, loaded or not.
    #[must_use]
    pub fn has_resources(&self) -> bool {
        self.settings.resource.iter().any(|one| self.is_here(&one.to))
    }

    /// The members of the answer to `server/discover`.
    #[must_use]
    pub fn discovered(&self) -> String {
        let versions: Vec<&str> = revision::supported().collect();
        let kept = kept(Revision::Stateless, "public");
        format!(r#""supportedVersions":{},{}{kept}"#, json!(versions), self.abilities())
    }

    /// The members of the answer to `initialize`.
    ///
    /// # Errors
    ///
    /// The client names no revision.
    pub fn initialized(&self, params: &Params) -> Result<String, RpcError> {
        let Some(asked) = params.protocol_version.as_deref() else {
            return Err(RpcError::invalid_params("\"protocolVersion\" is the revision that the client wants"));
        };
        let version =
            revision::WITH_HANDSHAKE.iter().find(|known| **known == asked).unwrap_or(&revision::WITH_HANDSHAKE[0]);
        let server = server_info();
        Ok(format!(r#""protocolVersion":"{version}","serverInfo":{server},{}"#, self.abilities()))
    }

    fn abilities(&self) -> String {
        let instructions = self.settings.instructions.as_deref();
        let instructions = instructions.map(|text| format!(r#","instructions":{}"#, Value::from(text)));
        let mut capabilities = Map::from_iter([("tools".to_owned(), json!({}))]);
        let (prompts, resources) = (self.has_prompts(), self.has_resources());
        let others = [("prompts", prompts), ("resources", resources), ("completions", prompts || resources)];
        capabilities.extend(others.into_iter().filter(|(_, is)| *is).map(|(name, _)| (name.to_owned(), json!({}))));
        format!(r#""capabilities":{}{}"#, Value::Object(capabilities), instructions.unwrap_or_default())
    }
}

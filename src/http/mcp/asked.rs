//! What a request is about: the tools of one deployment, or of all, and what the gateway says about them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::McpConfig;
use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::call::lookup::Client;
use crate::http::mcp::answers::{kept, server_info};
use crate::http::mcp::catalog::{Catalog, Found};
use crate::http::mcp::message::Params;
use crate::http::mcp::revision::{self, Revision};
use crate::http::mcp::rpc_error::RpcError;
use crate::registry::Deployment;

/// Longest name of a function.
const NAME_LIMIT: usize = 256;

/// A request to the tools of one deployment, or of all.
pub struct Asked<'a> {
    /// The gateway.
    pub gateway: &'a Arc<Gateway>,
    /// None: all deployments.
    pub deployment: Option<Arc<Deployment>>,
    /// Which functions are tools.
    pub settings: Arc<McpConfig>,
    /// Who asks.
    pub client: Client<'a>,
    /// Where large bodies are worked on.
    pub bodies: &'a Bodies,
}

impl Asked<'_> {
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
        format!(r#""capabilities":{{"tools":{{}}}}{}"#, instructions.unwrap_or_default())
    }
}

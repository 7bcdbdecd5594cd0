//! The tools of all deployments. Those of a release are made once, on another thread, when a client first asks for
//! them; they are dropped with the release.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::McpConfig;
use crate::deployment::{DeploymentName, Exports};
use crate::describe::tools::{ReleaseTools, Tool, ToolRules};
use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::problem::Problem;

/// The tools of the releases that have loaded, by deployment.
#[derive(Debug, Default)]
pub struct Catalog {
    /// What they were made by.
    settings: Arc<McpConfig>,
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

impl Catalogs {
    /// The tools of what is deployed now.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn current(
        &self,
        gateway: &Gateway,
        settings: &Arc<McpConfig>,
        bodies: &Bodies,
    ) -> Result<Arc<Catalog>, Problem> {
        let known = Arc::clone(&*self.0.lock());
        let mut loaded: Vec<(DeploymentName, Arc<Exports>)> = gateway
            .deployments()
            .iter()
            .filter_map(|deployment| Some((deployment.name.clone(), deployment.pool()?.exports()?)))
            .collect();
        loaded.sort_by(|(one, _), (other, _)| one.cmp(other));
        if known.is_of(&loaded) && known.settings == *settings {
            return Ok(known);
        }
        let settings = Arc::clone(settings);
        let made = bodies.elsewhere(move || Ok(Arc::new(known.updated(loaded, settings)))).await?;
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
    fn updated(&self, loaded: Vec<(DeploymentName, Arc<Exports>)>, settings: Arc<McpConfig>) -> Self {
        let rules = ToolRules {
            headers: &settings.headers,
            is_other: &|deployment, name| settings.is_prompt(deployment, name),
        };
        let known = |name: &DeploymentName, exports: &Arc<Exports>| {
            if self.settings != settings {
                return None;
            }
            let at = self.releases.binary_search_by(|release| release.deployment.cmp(name)).ok()?;
            Some(&self.releases[at]).filter(|release| Arc::ptr_eq(&release.exports, exports)).cloned()
        };
        let made = |(name, exports): (DeploymentName, Arc<Exports>)| {
            known(&name, &exports).unwrap_or_else(|| Arc::new(ReleaseTools::of(&name, exports, &rules)))
        };
        let releases: Vec<Arc<ReleaseTools>> = loaded.into_iter().map(made).collect();
        let mut by_full_name = HashMap::new();
        for (at, release) in releases.iter().enumerate() {
            for (tool_at, tool) in release.tools.iter().enumerate() {
                by_full_name.entry(tool.full_name.clone()).or_insert((at, tool_at));
            }
        }
        Self { settings, releases, by_full_name }
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

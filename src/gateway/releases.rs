//! The releases of a deployment that are kept.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::deployment::DeploymentName;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::registry::record::{Origin, Release};

/// The releases of a deployment.
#[derive(Debug, Serialize)]
pub struct Releases {
    /// The deployment.
    pub name: String,
    /// The number of the release in service; none if no release serves.
    pub live: Option<u64>,
    /// The releases that are kept, the newest first.
    pub releases: Vec<KeptRelease>,
    /// Whether there is an upload that has not been deployed.
    pub pending: bool,
    /// Why the last deploy failed; none if it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// One release.
#[derive(Debug, Serialize)]
pub struct KeptRelease {
    /// Its number.
    pub release: u64,
    /// When it was made: `2026-01-31T12:00:00Z`.
    pub created: String,
    /// `package` or `repository`.
    pub origin: &'static str,
    /// The repository: `<url>#<branch>@<commit>`.
    pub source: Option<String>,
    /// Whether it is in service.
    pub live: bool,
    /// The names of the variables that it was deployed with. Their values may be secrets.
    pub env: Vec<String>,
}

impl Deployer {
    /// Every deployment that was made over HTTP and has a release in service, with the time when that release was made
    /// in seconds since 1970.
    #[must_use]
    pub fn stored_names(&self) -> Vec<(DeploymentName, u64)> {
        let records = self.store.records().into_iter();
        records.filter_map(|record| Some((record.name.clone(), record.live_release()?.created))).collect()
    }

    /// The releases of a deployment that was made over HTTP.
    ///
    /// # Errors
    ///
    /// There is no such deployment, or the configuration defines it.
    pub fn releases(&self, name: &str) -> Result<Releases, DeployError> {
        self.check_not_configured(name)?;
        let record = self.store.record(name).ok_or_else(|| DeployError::NotFound(name.to_owned()))?;
        let releases = record.releases.iter().rev().map(|release| kept(release, record.live)).collect();
        Ok(Releases {
            name: name.to_owned(),
            live: record.live,
            releases,
            pending: record.upload.is_some(),
            failure: record.failure.map(|failure| failure.message),
        })
    }
}

fn kept(release: &Release, live: Option<u64>) -> KeptRelease {
    let source = match &release.origin {
        Origin::Package => None,
        Origin::Repository { url, branch, commit } => Some(format!("{url}#{branch}@{commit}")),
    };
    KeptRelease {
        release: release.number,
        created: humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(release.created)).to_string(),
        origin: release.origin.kind(),
        source,
        live: live == Some(release.number),
        env: release.env.names().map(str::to_owned).collect(),
    }
}

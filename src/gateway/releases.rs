//! The releases of a deployment that are kept, for people and programs.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::gateway::deploy_error::DeployError;
use crate::registry::record::{Origin, Release};

/// The releases of a deployment.
#[derive(Debug, Serialize)]
pub struct Releases {
    /// The deployment.
    pub name: String,
    /// The number of the release that serves, if one does.
    pub live: Option<u64>,
    /// Those that are kept, the newest first.
    pub releases: Vec<KeptRelease>,
    /// An upload is there that was not deployed yet.
    pub pending: bool,
    /// Why the last deploy failed, unless one succeeded since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// One release.
#[derive(Debug, Serialize)]
pub struct KeptRelease {
    /// Its number.
    pub release: u64,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// `package` or `repository`.
    pub origin: &'static str,
    /// The repository, as `<address>#<branch>@<commit>`.
    pub source: Option<String>,
    /// Whether it serves.
    pub live: bool,
    /// Names of the variables that it was deployed with; their values are not told.
    pub env: Vec<String>,
}

impl Gateway {
    /// Every deployment that was made over HTTP and serves, with the time of its release in seconds since 1970.
    #[must_use]
    pub fn stored_names(&self) -> Vec<(DeploymentName, u64)> {
        let records = self.store.records().into_iter();
        records.filter_map(|record| Some((record.name.clone(), record.live_release()?.created))).collect()
    }

    /// The releases of a deployment that was made over HTTP.
    pub fn releases(&self, name: &str) -> Result<Releases, DeployError> {
        self.check_of_api(name)?;
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

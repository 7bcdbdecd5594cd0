//! What the commands that talk to a running gateway share: its address, the token, and its words when it refuses.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Which gateway to talk to.
#[derive(Debug, Args)]
pub(super) struct Client {
    /// The gateway's address.
    #[arg(long, default_value = "http://localhost:9000", env = "METAGATE_URL", global = true)]
    url: String,
    /// The admin token.
    #[arg(long, env = "METAGATE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Words,
}

#[derive(Deserialize)]
struct Words {
    code: String,
    message: String,
}

/// A deployment as `GET /api/inspect` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Deployment {
    pub(super) status: String,
    pub(super) prefix: String,
    pub(super) suffix: String,
    pub(super) version: String,
    pub(super) packages: serde_json::Value,
    #[serde(default)]
    pub(super) error: Option<DeploymentError>,
}

#[derive(Deserialize)]
struct Readiness {
    prefix: String,
    deployments: Vec<ReadyDeployment>,
}

#[derive(Deserialize)]
struct ReadyDeployment {
    name: String,
    status: String,
}

/// Why a deployment failed.
#[derive(Debug, Deserialize)]
pub(super) struct DeploymentError {
    pub(super) message: String,
    #[serde(default)]
    pub(super) stderr: String,
}

impl Client {
    fn agent() -> Agent {
        let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(Duration::from_secs(5)));
        config.build().into()
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    fn authorization(&self) -> Option<String> {
        self.token.as_ref().filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"))
    }

    /// GETs an address of the gateway.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Response<Body>> {
        let mut request = Self::agent().get(self.address(path));
        if let Some(value) = self.authorization() {
            request = request.header("authorization", value);
        }
        self.checked(request.call())
    }

    /// POSTs JSON to an address of the gateway.
    pub(super) fn post(&self, path: &str, json: &str) -> anyhow::Result<Response<Body>> {
        let mut request = Self::agent().post(self.address(path)).header("content-type", "application/json");
        if let Some(value) = self.authorization() {
            request = request.header("authorization", value);
        }
        self.checked(request.send(json))
    }

    /// Every deployment, the newest first; those that are still starting last, without functions.
    pub(super) fn deployments(&self) -> anyhow::Result<Vec<Deployment>> {
        const READING: &str = "reading the gateway's answer";
        let text = self.get("/api/inspect")?.body_mut().read_to_string().context(READING)?;
        let mut deployments: Vec<Deployment> = serde_json::from_str(&text).context(READING)?;
        // Its status is 503 while something is not ready, and that is what is asked for here.
        let text = Self::agent().get(self.address("/readyz")).call()?.body_mut().read_to_string().context(READING)?;
        let readiness: Readiness = serde_json::from_str(&text).context(READING)?;
        for ReadyDeployment { name, status } in readiness.deployments {
            if deployments.iter().all(|deployment| deployment.suffix != name) {
                let prefix = readiness.prefix.clone();
                let packages = serde_json::Value::Null;
                deployments.push(Deployment {
                    status,
                    prefix,
                    suffix: name,
                    version: "v1".to_owned(),
                    packages,
                    error: None,
                });
            }
        }
        Ok(deployments)
    }

    fn checked(&self, answer: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Response<Body>> {
        let mut response = answer.with_context(|| {
            format!("no gateway at {}: start one with \"metagate serve\", or name it with --url", self.url)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        match serde_json::from_str::<Refusal>(&text) {
            Ok(Refusal { error }) => bail!("{} ({}, status {})", error.message, error.code, status.as_u16()),
            Err(_) => bail!("the gateway answered with status {status}"),
        }
    }
}

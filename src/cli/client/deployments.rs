//! The deployments of a gateway: those of `GET /api/inspect`, and those of `GET /readyz` that are still starting.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::client::Client;

/// One deployment of `GET /api/inspect`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Deployment {
    /// In the words of `/readyz`: `ready`, `starting` or `failed`.
    pub(crate) status: String,
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    pub(crate) version: String,
    pub(crate) packages: Value,
    #[serde(default)]
    pub(crate) release: Option<u64>,
    /// `toml`, `package` or `repository`.
    #[serde(default)]
    pub(crate) origin: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) schedules: Vec<Schedule>,
    #[serde(default, rename = "async")]
    pub(crate) async_limits: Option<AsyncLimits>,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    #[serde(default)]
    pub(crate) error: Option<DeploymentError>,
}

/// When the configuration calls a function.
#[derive(Debug, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    pub(crate) function: String,
    pub(crate) times: String,
    pub(crate) next: Vec<String>,
}

/// The limits of its own that a deployment has for asynchronous calls.
#[derive(Debug, Deserialize)]
pub(crate) struct AsyncLimits {
    pub(crate) table: String,
    pub(crate) limits: BTreeMap<String, String>,
}

/// Why a deployment failed.
#[derive(Debug, Deserialize)]
pub(crate) struct DeploymentError {
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) stderr: String,
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

/// One function of a deployment.
pub(crate) struct Function<'a> {
    /// Its language, as MetaCall names it.
    pub(crate) language: &'a str,
    /// The script that it is in.
    pub(crate) script: &'a str,
    /// Name, arguments and types in MetaCall's form.
    pub(crate) function: &'a Value,
}

impl Function<'_> {
    /// Whether it takes whole HTTP requests.
    pub(crate) fn takes_requests(&self) -> bool {
        self.function["http"] == Value::Bool(true)
    }
}

impl Deployment {
    /// The common first part of the addresses of its functions.
    pub(crate) fn calls(&self) -> String {
        format!("/{}/{}/{}/call/", self.prefix, self.suffix, self.version)
    }

    /// The address of the function that takes whole HTTP requests, if it has one.
    pub(crate) fn requests(&self) -> String {
        format!("/{}/{}/{}/http/", self.prefix, self.suffix, self.version)
    }

    /// Where its functions are called; of one that only serves whole requests, where they go.
    pub(crate) fn main_address(&self) -> String {
        let is_app = self.functions().next().is_some() && self.functions().all(|function| function.takes_requests());
        if is_app { self.requests() } else { self.calls() }
    }

    /// Its functions in the order of the answer.
    pub(crate) fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        self.packages.as_object().into_iter().flatten().flat_map(|(language, handles)| {
            handles.as_array().into_iter().flatten().flat_map(move |handle| {
                let script = handle["name"].as_str().unwrap_or_default();
                let functions = handle["scope"]["funcs"].as_array().into_iter().flatten();
                functions.map(move |function| Function { language, script, function })
            })
        })
    }
}

impl Client {
    /// Every deployment, the newest first; those that are still starting last, without functions.
    pub(crate) fn deployments(&self) -> anyhow::Result<Vec<Deployment>> {
        const READING: &str = "reading the gateway's answer";
        let text = self.get("/api/inspect")?.body_mut().read_to_string().context(READING)?;
        let mut deployments: Vec<Deployment> = serde_json::from_str(&text).context(READING)?;
        deployments.sort_by(|one, other| one.suffix.cmp(&other.suffix));
        for deployment in &mut deployments {
            // The gateway gives the origin of deployments that were made over HTTP only.
            deployment.origin.get_or_insert_with(|| "toml".to_owned());
            // MetaCall's protocol has its own words for the states.
            match deployment.status.as_str() {
                "fail" => "failed".clone_into(&mut deployment.status),
                "create" => "starting".clone_into(&mut deployment.status),
                _ => {}
            }
        }
        // Not through `get`: the status is 503 while a deployment is not ready, and the body is wanted then as well.
        let text =
            self.agent("/readyz")?.get(self.url("/readyz")).call()?.body_mut().read_to_string().context(READING)?;
        let readiness: Readiness = serde_json::from_str(&text).context(READING)?;
        // One that is ready and not listed is not for this token.
        for ReadyDeployment { name, status } in readiness.deployments.into_iter().filter(|one| one.status != "ready") {
            if deployments.iter().all(|deployment| deployment.suffix != name) {
                deployments.push(Deployment {
                    status,
                    prefix: readiness.prefix.clone(),
                    suffix: name,
                    version: "v1".to_owned(),
                    ..Deployment::default()
                });
            }
        }
        Ok(deployments)
    }

    /// The deployment of this name.
    ///
    /// # Errors
    /// The gateway is not reachable, or has no such deployment; the error lists those that it has.
    pub(crate) fn deployment(&self, name: &str) -> anyhow::Result<Deployment> {
        let mut deployments = self.deployments()?;
        if let Some(at) = deployments.iter().position(|deployment| deployment.suffix == name) {
            return Ok(deployments.swap_remove(at));
        }
        bail!("{}", unknown(name, deployments.iter().map(|deployment| deployment.suffix.as_str())))
    }
}

/// The message for an unknown name; it lists the names that exist.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match known.as_slice() {
        [] => format!("no deployment {name:?}: nothing is deployed"),
        [only] => format!("no deployment {name:?}: there is only {only}"),
        known => format!("no deployment {name:?}: there are {}", known.join(", ")),
    }
}

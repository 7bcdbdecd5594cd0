//! What the commands that talk to a running gateway share: its address, the token, and its words when it refuses.

mod deployments;
mod events;

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::http::Response;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use ureq::typestate::{WithBody, WithoutBody};
use ureq::{Agent, Body, RequestBuilder, SendBody};

pub(super) use crate::cli::client::deployments::{Deployment, DeploymentError, unknown};
pub(super) use crate::cli::client::events::{EVENT_STREAM, Events, is_event_stream};

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

/// Why the gateway did not do what it was asked for.
#[derive(Deserialize)]
pub(super) struct Words {
    pub(super) code: String,
    pub(super) message: String,
    /// The function's own value of its error.
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

/// A body that is read as it is sent.
pub(super) struct Upload<'a> {
    pub(super) content_type: &'a str,
    pub(super) length: u64,
    pub(super) body: &'a mut dyn Read,
}

impl Client {
    fn agent() -> Agent {
        let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(Duration::from_secs(5)));
        config.build().into()
    }

    /// An address of the gateway in full.
    pub(super) fn address(&self, path: &str) -> String {
        let scheme = if self.url.contains("://") { "" } else { "http://" };
        format!("{scheme}{}{path}", self.url.trim_end_matches('/'))
    }

    fn authorization(&self) -> Option<String> {
        self.token.as_ref().filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"))
    }

    fn get_request(&self, path: &str) -> RequestBuilder<WithoutBody> {
        let request = Self::agent().get(self.address(path));
        match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    fn post_request(&self, path: &str, content_type: &str) -> RequestBuilder<WithBody> {
        let request = Self::agent().post(self.address(path)).header(CONTENT_TYPE, content_type);
        match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// GETs an address of the gateway.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Response<Body>> {
        self.checked(self.get_request(path).call())
    }

    /// POSTs JSON to an address of the gateway.
    pub(super) fn post(&self, path: &str, json: &str) -> anyhow::Result<Response<Body>> {
        self.checked(self.post_request(path, "application/json").send(json))
    }

    /// POSTs JSON for an answer that comes as events.
    pub(super) fn post_for_events(&self, path: &str, json: &str) -> anyhow::Result<Response<Body>> {
        self.checked(self.post_request(path, "application/json").header(ACCEPT, EVENT_STREAM).send(json))
    }

    /// POSTs what is read while it is sent; nothing of it goes out before the gateway has said that it wants it.
    pub(super) fn upload(&self, path: &str, upload: &mut Upload<'_>) -> anyhow::Result<Response<Body>> {
        let request = self.post_request(path, upload.content_type).header(CONTENT_LENGTH, upload.length);
        self.checked(request.header(EXPECT, "100-continue").send(SendBody::from_reader(upload.body)))
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
            Ok(Refusal { error }) if status.as_u16() == 401 => {
                let given = if self.token.is_some() { "it is not the one given" } else { "none was given" };
                bail!(
                    "the gateway wants its admin token, and {given}: --token or METAGATE_TOKEN ({}, status 401)",
                    error.code
                )
            }
            Ok(Refusal { error }) => {
                let payload = error.payload.map_or_else(String::new, |payload| format!("\n{payload}"));
                bail!("{} ({}, status {}){payload}", error.message, error.code, status.as_u16())
            }
            Err(_) => bail!("the gateway answered with status {status}"),
        }
    }
}

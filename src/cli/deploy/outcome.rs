//! What the gateway says while it brings a release up, and what comes of it. Events: `log` (a line), then one of
//! `deployed` and `failed`.

use anyhow::{Context, bail};
use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use crate::cli::client::{Events, Words, is_event_stream};
use crate::cli::deploy::progress::{Progress, plain};
use crate::deployment::DeploymentName;

/// What came of it.
pub(in crate::cli) enum Outcome {
    /// The release serves.
    Deployed(Deployed),
    /// It does not; what served before goes on.
    Failed(Failed),
    /// The gateway went away before it said.
    Unknown,
}

/// A release that serves: `{"prefix":"local","suffix":"math","version":"v1","release":3}`.
#[derive(Deserialize)]
pub(in crate::cli) struct Deployed {
    /// Its number.
    #[serde(default)]
    pub(in crate::cli) release: Option<u64>,
}

/// Why a release does not serve: `{"status":422,"error":{"code":"load_failed","message":"…"}}`.
#[derive(Deserialize)]
pub(in crate::cli) struct Failed {
    status: u16,
    error: Words,
}

/// Shows what the gateway says until it says what came of it.
pub(in crate::cli) fn follow(mut answer: Response<Body>, progress: &Progress) -> anyhow::Result<Outcome> {
    const READING: &str = "reading the gateway's answer";
    if !is_event_stream(&answer) {
        let text = answer.body_mut().read_to_string().context(READING)?;
        return Ok(Outcome::Deployed(serde_json::from_str(&text).context(READING)?));
    }
    progress.waiting("the gateway installs and loads it");
    for event in Events::new(answer.into_body().into_reader()) {
        let event = event.context(READING)?;
        match event.name.as_str() {
            "log" => event.data.lines().for_each(|line| progress.log(line)),
            "deployed" => return Ok(Outcome::Deployed(serde_json::from_str(&event.data).context(READING)?)),
            "failed" => return Ok(Outcome::Failed(serde_json::from_str(&event.data).context(READING)?)),
            // A newer gateway may say more.
            _ => {}
        }
    }
    Ok(Outcome::Unknown)
}

impl Outcome {
    /// The release, or nothing after the gateway's words were printed as an error.
    pub(in crate::cli) fn report(self, name: &DeploymentName) -> anyhow::Result<Option<Deployed>> {
        match self {
            Self::Deployed(deployed) => Ok(Some(deployed)),
            Self::Failed(Failed { status, error: Words { code, message, .. } }) => {
                let mut lines = message.lines().map(plain);
                eprintln!("error: {} ({code}, status {status})", lines.next().unwrap_or_default());
                lines.for_each(|line| eprintln!("  | {line}"));
                Ok(None)
            }
            Self::Unknown => bail!(
                "the gateway went away before it said what came of it: \"metagate inspect {name}\" tells once it is back"
            ),
        }
    }
}

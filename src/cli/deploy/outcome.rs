//! The answer of the gateway to a deploy or rollback: a stream of `log` events (one line each), then `deployed` or
//! `failed`.

use anyhow::{Context, bail};
use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use crate::cli::client::GatewayError;
use crate::cli::client::events::{Events, is_event_stream};
use crate::cli::deploy::progress::{Progress, plain};
use crate::cli::stderr;
use crate::deployment::DeploymentName;

/// The result of a deploy or rollback.
pub(crate) enum Outcome {
    /// The release is in service.
    Deployed(Deployed),
    /// The release was refused; the previous one stays in service.
    Failed(Failed),
    /// The connection ended before the result.
    Unknown,
}

/// A release in service: `{"prefix":"local","suffix":"math","version":"v1","release":3}`.
#[derive(Deserialize)]
pub(crate) struct Deployed {
    /// Its number.
    #[serde(default)]
    pub(crate) release: Option<u64>,
}

/// The reason why a release was refused: `{"status":422,"error":{"code":"load_failed","message":"…"}}`.
#[derive(Deserialize)]
pub(crate) struct Failed {
    status: u16,
    error: GatewayError,
}

/// Shows the log events of an answer until the result arrives.
pub(crate) fn follow(mut answer: Response<Body>, progress: &Progress) -> anyhow::Result<Outcome> {
    const READING: &str = "reading the gateway's answer";
    if !is_event_stream(&answer) {
        let text = answer.body_mut().read_to_string().context(READING)?;
        return Ok(Outcome::Deployed(serde_json::from_str(&text).context(READING)?));
    }
    progress.waiting("the gateway installs and loads the release");
    for event in Events::new(answer.into_body().into_reader()) {
        let event = event.context(READING)?;
        match event.name.as_str() {
            "log" => event.data.lines().for_each(|line| progress.log(line)),
            "deployed" => return Ok(Outcome::Deployed(serde_json::from_str(&event.data).context(READING)?)),
            "failed" => return Ok(Outcome::Failed(serde_json::from_str(&event.data).context(READING)?)),
            // A newer gateway may send other events.
            _ => {}
        }
    }
    Ok(Outcome::Unknown)
}

impl Outcome {
    /// The release in service; `None` after the gateway's error was printed.
    ///
    /// # Errors
    /// The result is unknown.
    pub(crate) fn report(self, name: &DeploymentName) -> anyhow::Result<Option<Deployed>> {
        match self {
            Self::Deployed(deployed) => Ok(Some(deployed)),
            Self::Failed(Failed { status, error: GatewayError { code, message, .. } }) => {
                let mut lines = message.lines().map(plain);
                stderr::print_line(format_args!(
                    "error: {} ({code}, status {status})",
                    lines.next().unwrap_or_default()
                ));
                lines.for_each(|line| stderr::print_line(format_args!("  | {line}")));
                Ok(None)
            }
            Self::Unknown => bail!(
                "the connection ended before the result; \"metagate inspect {name}\" shows it once the gateway is back"
            ),
        }
    }
}

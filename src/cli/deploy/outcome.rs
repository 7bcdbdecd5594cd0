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
    /// The release was not put in service; the previous one, if any, stays. Lines of the log that were shown are not
    /// repeated in the report.
    Failed {
        /// The gateway's answer.
        failed: Failed,
        /// The lines of the log that were shown.
        shown: Vec<String>,
    },
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

/// The reason why a release was not put in service: `{"status":422,"error":{"code":"load_failed","message":"…"}}`.
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
    let mut shown = Vec::new();
    for event in Events::new(answer.into_body().into_reader()) {
        let event = event.context(READING)?;
        match event.name.as_str() {
            "log" => shown.extend(event.data.lines().map(|line| progress.log(line))),
            "deployed" => return Ok(Outcome::Deployed(serde_json::from_str(&event.data).context(READING)?)),
            "failed" => {
                let failed = serde_json::from_str(&event.data).context(READING)?;
                return Ok(Outcome::Failed { failed, shown });
            }
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
            Self::Failed { failed: Failed { status, error: GatewayError { code, message, .. } }, shown } => {
                let (reason, output) = not_shown(&message, &shown);
                let reason = reason
                    .unwrap_or_else(|| format!("the release of {name:?} is not in service, for the reason above"));
                stderr::print_line(format_args!("error: {reason} ({code}, status {status})"));
                output.iter().for_each(|line| stderr::print_line(format_args!("  | {line}")));
                Ok(None)
            }
            Self::Unknown => bail!(
                "the connection ended before the result; \"metagate inspect {name}\" shows it once the gateway is back"
            ),
        }
    }
}

/// The first line of the message and the lines after it, without those that are the end of a line in `shown`.
fn not_shown(message: &str, shown: &[String]) -> (Option<String>, Vec<String>) {
    let is_new = |line: &String| !shown.iter().any(|shown| shown.ends_with(line.as_str()));
    let mut lines = message.lines().map(plain);
    let reason = lines.next().filter(is_new);
    (reason, lines.filter(is_new).collect())
}

#[cfg(test)]
mod tests {
    use super::not_shown;

    #[test]
    fn lines_of_the_log_are_not_repeated() {
        let shown = ["gateway release not put in service: npm failed", "err Error: x", "err     at f"];
        let shown = shown.map(str::to_owned);
        assert_eq!(not_shown("npm failed\nError: x\n    at f\n", &shown), (None, vec![]));
        let (reason, output) = not_shown("worker exited\nError: x\n    at g", &shown);
        assert_eq!((reason.as_deref(), output), (Some("worker exited"), vec!["    at g".to_owned()]));
        assert_eq!(not_shown("a\n\nb", &[]).1, ["", "b"]);
    }
}

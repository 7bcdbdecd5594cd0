//! The answer of the gateway to a deploy or rollback: a stream of `log` events (one line each), then `deployed` or
//! `failed`.

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::Response;

use crate::cli::client::GatewayError;
use crate::cli::client::events::{Events, is_event_stream};
use crate::cli::deploy::progress::{Progress, plain};
use crate::cli::stderr;
use crate::deployment::DeploymentName;

/// The last event of a deploy or rollback that succeeds.
pub(crate) const DEPLOYED: &str = "deployed";

/// The result of a deploy, a rollback or a comparison.
pub(crate) enum Outcome<T = Deployed> {
    /// It succeeded: the release is in service, or was compared.
    Done(T),
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

/// Shows the log events of an answer until the result arrives. `success` is the event of the one that is wanted.
pub(crate) fn follow<T: DeserializeOwned>(
    mut answer: Response<Body>,
    success: &str,
    progress: &Progress,
) -> anyhow::Result<Outcome<T>> {
    const READING: &str = "reading the gateway's answer";
    if !is_event_stream(&answer) {
        let text = answer.body_mut().read_to_string().context(READING)?;
        return Ok(Outcome::Done(serde_json::from_str(&text).context(READING)?));
    }
    progress.waiting("the gateway installs and loads the release");
    let mut shown = Vec::new();
    for event in Events::new(answer.into_body().into_reader()) {
        let event = event.context(READING)?;
        match event.name.as_str() {
            "log" => shown.extend(event.data.lines().map(|line| progress.log(line))),
            name if name == success => return Ok(Outcome::Done(serde_json::from_str(&event.data).context(READING)?)),
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
            Self::Done(deployed) => Ok(Some(deployed)),
            Self::Failed { failed, shown } => {
                print_failure(&failed, &shown, &format!("the release of {name:?} is not in service"));
                Ok(None)
            }
            Self::Unknown => bail!(
                "the connection ended before the result; \"metagate inspect {name}\" shows it once the gateway is back"
            ),
        }
    }
}

/// Prints why it failed, without what was shown: then that is what `failure` says.
pub(crate) fn print_failure(failed: &Failed, shown: &[String], failure: &str) {
    let Failed { status, error: GatewayError { code, message, .. } } = failed;
    let (reason, output) = not_shown(message, shown);
    let reason = reason.unwrap_or_else(|| format!("{failure}, for the reason above"));
    stderr::print_line(format_args!("error: {reason} ({code}, status {status})"));
    output.iter().for_each(|line| stderr::print_line(format_args!("  | {line}")));
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

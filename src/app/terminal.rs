//! What `serve` shows on a terminal besides the gateway's log: the addresses of what is deployed, and what functions
//! print, as it comes. Where standard error is no terminal, or the log is JSON, nothing is shown.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::deployment::{DeploymentName, Takes};
use crate::gateway::{Gateway, VERSION};
use crate::logs::book::{Echo, LogSource};
use crate::registry::Deployment;
use crate::supervise;
use crate::telemetry::writer::LogWriter;
use crate::telemetry::{self, LogFormat};

/// The name under which the task is supervised.
pub(super) const TASK: &str = "terminal";
/// How often the task looks for releases that have loaded.
const INTERVAL: Duration = Duration::from_millis(200);
/// Addresses of one deployment that are shown.
const SHOWN: usize = 8;
/// Deployments whose addresses are shown when they load; a terminal full of them helps nobody.
const DEPLOYMENTS_SHOWN: usize = 30;
/// Colours of the names of deployments. Red and yellow are left to errors and warnings.
const COLOURS: [AnsiColor; 4] = [AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::Green, AnsiColor::Blue];

/// A terminal that people read.
#[derive(Debug, Clone)]
pub(super) struct Terminal {
    writer: LogWriter,
    coloured: bool,
}

impl Terminal {
    /// The terminal at standard error; none if that is a file or a pipe, or if the log is for programs.
    pub(super) fn of_standard_error(format: LogFormat) -> io::Result<Option<Self>> {
        if format == LogFormat::Json || !io::stderr().is_terminal() {
            return Ok(None);
        }
        Ok(Some(Self { writer: telemetry::standard_error()?, coloured: telemetry::is_coloured() }))
    }

    /// Shows the logs of deployments.
    pub(super) fn echo(&self) -> Echo {
        let terminal = self.clone();
        Echo(Arc::new(move |deployment, source, line| {
            let text = terminal.log_line(deployment, source, line);
            terminal.writer.append(text.as_bytes());
        }))
    }

    /// Shows the addresses of each release once it has loaded, below the address of a listener such as
    /// `http://127.0.0.1:9000`. Ends with the gateway.
    pub(super) async fn show_addresses(self, gateway: Arc<Gateway>, listener: Arc<str>) {
        let mut shown: HashMap<DeploymentName, u64> = HashMap::new();
        while !gateway.is_draining() {
            supervise::panic_point(TASK);
            let deployments = gateway.deployments();
            shown.retain(|name, _| deployments.iter().any(|deployment| deployment.name == *name));
            for deployment in deployments.iter().rev().filter(|deployment| deployment.has_loaded()) {
                let before = shown.insert(deployment.name.clone(), deployment.sequence);
                if before != Some(deployment.sequence) && shown.len() <= DEPLOYMENTS_SHOWN {
                    let text = self.addresses(deployment, &format!("{listener}/{}", gateway.prefix));
                    self.writer.append(text.as_bytes());
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// `math  http://127.0.0.1:9000/local/math/v1/call/add`, a line for each function.
    fn addresses(&self, deployment: &Deployment, prefix: &str) -> String {
        let Some(exports) = deployment.pool().and_then(|pool| pool.exports()) else { return String::new() };
        let name = self.painted(deployment.name.as_str(), colour_of(&deployment.name).bold());
        let base = format!("{prefix}/{}/{VERSION}", deployment.name);
        let mut paths: Vec<String> = Vec::new();
        if deployment.has_app() {
            paths.push("http/".to_owned());
        }
        let functions = exports.functions.iter().filter(|(_, function)| function.takes == Takes::Arguments);
        let mut functions: Vec<String> = functions.map(|(function, _)| format!("call/{function}")).collect();
        functions.sort_unstable();
        paths.extend(functions);
        let mut text = String::new();
        for path in paths.iter().take(SHOWN) {
            let address = self.painted(&format!("{base}/{path}"), Style::new().underline());
            let _infallible = writeln!(text, "{name}  {address}");
        }
        if paths.len() > SHOWN {
            let _infallible = writeln!(text, "{name}  and {} more functions", paths.len() - SHOWN);
        }
        text
    }

    /// A line such as `math │ hello`, of a line of a log: `2026-11-22T13:05:42.123Z out hello`.
    fn log_line(&self, deployment: &DeploymentName, source: LogSource, line: &str) -> String {
        let text = line.splitn(3, ' ').nth(2).unwrap_or_default();
        let style = match source {
            LogSource::Stdout => Style::new(),
            LogSource::Stderr => AnsiColor::Yellow.on_default(),
            LogSource::Gateway | LogSource::Install => Style::new().dimmed(),
        };
        let name = self.painted(deployment.as_str(), colour_of(deployment));
        format!("{name} │ {}\n", self.painted(text, style))
    }

    fn painted(&self, text: &str, style: Style) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// The same colour for a name at every start.
fn colour_of(name: &DeploymentName) -> Style {
    let sum: usize = name.as_str().bytes().map(usize::from).sum();
    COLOURS[sum % COLOURS.len()].on_default()
}

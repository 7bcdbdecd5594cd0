//! `metagate reload`: has a running gateway read its configuration again.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::cli::client::Client;

/// Have a running gateway read its configuration again.
#[derive(Debug, Args)]
#[command(
    long_about = "Have a running gateway read its configuration again, and the files of its functions. A file with \
    faults changes nothing, and the faults are printed. [server], [admin], [metrics], [access_log], [traces], \
    [cluster] and [deploy] take effect after a restart.\n\n\
    Example:\n  metagate check && metagate reload"
)]
pub(super) struct Reload {
    #[command(flatten)]
    client: Client,
}

/// The answer of `POST /api/reload`.
#[derive(Debug, Deserialize)]
struct Reloaded {
    plugins: Vec<String>,
    deployed: Vec<String>,
    removed: Vec<String>,
    #[serde(default)]
    needs_restart: Vec<String>,
}

impl Reload {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let text = self.client.post("/api/reload", "")?.body_mut().read_to_string()?;
        let Reloaded { plugins, deployed, removed, needs_restart } = serde_json::from_str(&text)?;
        if deployed.is_empty() && removed.is_empty() {
            writeln!(out, "no deployment has changed")?;
        }
        for (what, names) in [("deployed", deployed), ("removed", removed), ("plugins in service", plugins)] {
            if !names.is_empty() {
                writeln!(out, "{what}: {}", names.join(", "))?;
            }
        }
        if !needs_restart.is_empty() {
            let tables: Vec<String> = needs_restart.iter().map(|table| format!("[{table}]")).collect();
            writeln!(out, "needs a restart, or `metagate upgrade`: {}", tables.join(", "))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

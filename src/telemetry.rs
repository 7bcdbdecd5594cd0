//! The gateway's own log, on standard error: for people on a terminal, JSON lines where a program reads.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `METAGATE_LOG` sets what is logged, as `info` (the default), `debug` or `metagate::worker=debug`.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_env_var("METAGATE_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => {
            let on_terminal = io::IsTerminal::is_terminal(&io::stderr());
            lines.with_ansi(on_terminal).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started already");
    }
}

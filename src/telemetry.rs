//! The gateway's own log: its form, its filter, and what a panic leaves in it. The lines reach standard error through
//! [`writer`], which never blocks the thread that logs.

pub mod audit;
pub mod rotating;
pub mod writer;

use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::telemetry::writer::LogWriter;

/// The client of NATS, as its log lines name it.
const NATS_CLIENT: &str = "async_nats";
/// Shows the report of lost lines, which `writer` logs.
const LOST_LINES: &str = "metagate::telemetry::writer=warn";

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes to standard error, once logging has been started.
static STANDARD_ERROR: OnceLock<LogWriter> = OnceLock::new();

/// What lines for standard error are given to.
///
/// # Errors
///
/// Logging was not started, and the thread that writes cannot be started.
pub fn standard_error() -> io::Result<LogWriter> {
    match STANDARD_ERROR.get() {
        Some(writer) => Ok(writer.clone()),
        None => LogWriter::start(Box::new(io::stderr()), "standard error"),
    }
}

/// Starts logging to standard error; dropping the guard writes the lines that wait. `METAGATE_LOG` sets what is
/// logged, as `info` (the default), `debug` or `metagate::worker=debug`. A panic of any thread becomes a log line.
///
/// # Errors
///
/// The thread that writes cannot be started.
pub fn start(format: LogFormat) -> io::Result<FlushGuard> {
    let filter = filter(&std::env::var("METAGATE_LOG").unwrap_or_default());
    let writer = LogWriter::start(Box::new(io::stderr()), "standard error")?;
    let _started_before = STANDARD_ERROR.set(writer.clone());
    let guard = FlushGuard { writer: writer.clone() };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // Its own reports go to standard error with `eprintln!`, which panics when standard error is closed or full.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => lines.with_ansi(is_coloured()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started already");
    }
    // The default hook writes to standard error on the thread that panicked, and blocks it where nothing reads the
    // pipe.
    std::panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

/// Whether lines for standard error are coloured: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
#[must_use]
pub fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The filter of these directives. It always lets the report of lost lines pass: a reader of errors only must see that
/// the log has a gap. What the client of NATS notes, the gateway says in words of its own, unless it is asked for.
fn filter(directives: &str) -> EnvFilter {
    let client = if directives.contains(NATS_CLIENT) { None } else { format!("{NATS_CLIENT}=warn").parse().ok() };
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(directives);
    let filter = client.into_iter().fold(filter, EnvFilter::add_directive);
    filter.add_directive(LOST_LINES.parse().expect("the directive is well formed"))
}

/// Writes the log lines that still wait when it is dropped, for at most one second.
#[must_use]
pub struct FlushGuard {
    writer: LogWriter,
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.writer.flush();
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("the panic carries no text");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    tracing::error!(reason, location, thread, "panic");
}

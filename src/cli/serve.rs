//! `metagate serve`: run the gateway.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::app::{self, RunError};
use crate::cli::EXIT_CONFIG;
use crate::config;
use crate::telemetry::{self, LogFormat};

/// Run the gateway.
#[derive(Debug, Args)]
#[command(
    long_about = "Run the gateway: start the workers of every deployment in the configuration and take calls.\n\n\
    Prints one line on standard output when calls are taken: listening on http://127.0.0.1:9000. Everything else is log, \
    on standard error. SIGTERM or SIGINT (Ctrl-C) ends it after the calls in flight; a second one ends it at once.\n\n\
    Example:\n  metagate serve examples/quickstart/metagate.toml\n  \
    curl -d '[\"Hello, World\"]' http://localhost:9000/local/text/v1/call/slugify\n\n\
    Exit codes: 0 ended by a signal, 1 failure, 2 wrong usage, 78 configuration or data folder refused."
)]
pub(super) struct Serve {
    /// The configuration.
    #[arg(default_value = "metagate.toml")]
    config: PathBuf,
    /// Deploy a deployment of the configuration again when its files change. Without it, SIGHUP and POST /api/reload do.
    #[arg(long)]
    watch: bool,
    /// Threads for work that blocks: with one, its steps are always in the same order.
    #[arg(long, hide = true)]
    blocking_threads: Option<usize>,
    /// The form of the log on standard error: text unless json is asked for.
    #[arg(long, value_enum, env = "METAGATE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl Serve {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let _flushed_at_the_end =
            telemetry::start(self.log_format.unwrap_or(LogFormat::Text)).context("starting the log writer")?;
        let config = match config::load(&self.config) {
            Ok(config) => config,
            Err(faults) => {
                eprintln!("{faults}");
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        };
        // Descriptors that whoever started us left open are not for the workers.
        close_fds::set_fds_cloexec(3, &[]);
        // One thread serves: two that share a worker's channel cost more than they give. It also starts the workers, which
        // end with it.
        let mut builder = tokio::runtime::Builder::new_current_thread();
        if let Some(threads) = self.blocking_threads {
            builder.max_blocking_threads(threads.max(1));
        }
        let runtime = builder.enable_all().build().context("starting the runtime")?;
        let ended = runtime.block_on(app::run(config, self.watch, out));
        // Blocking tasks that still look for processes must not hold the exit up.
        runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        match ended {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ RunError::DataDir { .. }) => {
                eprintln!("error: {error}");
                Ok(ExitCode::from(EXIT_CONFIG))
            }
            Err(RunError::Plugins(faults)) => {
                eprintln!("{faults}");
                Ok(ExitCode::from(EXIT_CONFIG))
            }
            Err(RunError::Other(error)) => Err(error),
        }
    }
}

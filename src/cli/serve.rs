//! `metagate serve`: run the gateway.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use rustix::process::DumpableBehavior;

use crate::app::predecessor::Predecessor;
use crate::app::{self, Options, RunError};
use crate::cli::exit::EXIT_CONFIG;
use crate::cli::stderr;
use crate::config;
use crate::telemetry::{self, LogFormat};

/// Run the gateway.
#[derive(Debug, Args)]
#[command(
    long_about = "Run the gateway: start the workers of every deployment in the configuration and serve calls.\n\n\
    Prints a line for each address on standard output when it accepts calls: listening on http://127.0.0.1:9000. The \
    log goes to standard error; on a terminal with the addresses of functions and what they print, in colour unless \
    NO_COLOR is set. SIGTERM or SIGINT (Ctrl-C) stops the gateway when the calls in flight have finished, at the \
    latest after \"drain\"; a second signal stops it at once. SIGHUP reloads the configuration.\n\n\
    Example:\n  metagate serve examples/quickstart/metagate.toml\n  \
    curl -d '[\"Hello, World\"]' http://localhost:9000/local/text/v1/call/slugify\n\n\
    Exit codes: 0 stopped by a signal, 1 failure, 2 wrong usage, 78 configuration or data folder refused."
)]
pub(super) struct Serve {
    /// The configuration file.
    #[arg(default_value = "metagate.toml")]
    config: PathBuf,
    /// Load functions of the configuration again whenever their files change. Without --watch, SIGHUP and POST
    /// /api/reload check for changes.
    #[arg(long)]
    watch: bool,
    /// Number of threads for blocking work. With one thread its order is deterministic.
    #[arg(long, hide = true)]
    blocking_threads: Option<usize>,
    /// Format of the log on standard error. Default: text.
    #[arg(long, value_enum, env = "METAGATE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl Serve {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let log_format = self.log_format.unwrap_or(LogFormat::Text);
        let _flushed_at_the_end = telemetry::start(log_format).context("starting the log writer")?;
        let predecessor = Predecessor::of_this_process()?;
        let reporter = predecessor.as_ref().map(Predecessor::reporter);
        let report = |reason: &dyn std::fmt::Display| {
            if let Some(reporter) = &reporter {
                reporter.report_failure(&reason.to_string());
            }
        };
        let config = match config::load(&self.config) {
            Ok(config) => config,
            Err(faults) => {
                report(&faults);
                stderr::print_line(&faults);
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        };
        // Its memory and its environment, with the secrets of the configuration, are closed to other processes of its
        // user.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).context("closing the memory")?;
        // Workers must not inherit descriptors that the parent process left open.
        close_fds::set_fds_cloexec(3, &[]);
        // One thread serves: threads that share the channel of a worker cost more CPU and latency than they save. The
        // same thread starts the workers, because the kernel kills a worker when the thread that started it ends.
        let mut builder = tokio::runtime::Builder::new_current_thread();
        if let Some(threads) = self.blocking_threads {
            builder.max_blocking_threads(threads.max(1));
        }
        let runtime = builder.enable_all().build().context("starting the runtime")?;
        let options = Options { watches_functions: self.watch, log_format };
        let ended = runtime.block_on(app::run(config, options, out, predecessor));
        // A blocking task that is still searching for processes must not delay the exit.
        runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        if let Err(error) = &ended {
            report(&format_args!("{error:#}"));
        }
        match ended {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ RunError::DataDir { .. }) => {
                stderr::print_line(format_args!("error: {error}"));
                Ok(ExitCode::from(EXIT_CONFIG))
            }
            Err(RunError::Plugins(faults)) => {
                stderr::print_line(&faults);
                Ok(ExitCode::from(EXIT_CONFIG))
            }
            Err(RunError::Other(error)) => Err(error),
        }
    }
}

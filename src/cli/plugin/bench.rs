//! `metagate plugin bench`: measures how long a plugin's hooks take.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::plugin::subject::Subject;
use crate::cli::stderr;
use crate::config::{HookName, Instances};
use crate::plugin::cases::{self, Case, Cases, Hook, Timing};

/// Measure how long a plugin's hooks take.
#[derive(Debug, Args)]
#[command(
    long_about = "Measure how long each hook of a plugin takes. The hook calls run one after the other, through the \
    gateway's own code: first with warm instances, which are reused, then with fresh ones, each created for one \
    call.\n\n\
    The input of a hook is its first case in --cases, or else a minimal call or release. HTTP requests and function \
    calls of the plugin get the answers that the case contains. Times are in microseconds and include the gateway's \
    own work for a hook call. MiB is the memory of an instance.\n\n\
    Example:\n  metagate plugin bench plugins/api-key/api-key.wasm --cases plugins/api-key/cases.toml\n\n\
    Exit codes: 0 all hooks are measured, 1 a file is invalid or the plugin does not load."
)]
pub(super) struct Bench {
    #[command(flatten)]
    subject: Subject,
    /// The cases file that has the input.
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Duration of each measurement, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

impl Bench {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let read = self.cases.as_deref().map_or_else(|| Ok(Cases::default()), cases::read);
        let (cases, settings) = match read.and_then(|cases| Ok((cases, self.subject.settings()?))) {
            Ok(read) => read,
            Err(faults) => {
                stderr::print_line(&faults);
                return Ok(ExitCode::FAILURE);
            }
        };
        let Cases { cases, common } = cases;
        let runner = self.subject.runner(settings, common)?;
        writeln!(
            out,
            "{:<14} {:<9} {:>10} {:>10} {:>10} {:>10} {:>8}",
            "hook", "instances", "calls/s", "mean", "p50", "p99", "MiB"
        )?;
        for &hook in &runner.surface().hooks {
            let case = input(&cases, hook);
            for &instances in Instances::ALL {
                let timing = runner.bench(&case, instances, Duration::from_secs(self.seconds))?;
                show(hook, instances, &case, &timing, out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The first case of a hook, or a minimal one.
fn input(cases: &[Case], hook: HookName) -> Case {
    cases.iter().find(|case| case.hook == Hook::At(hook)).cloned().unwrap_or_else(|| Case::plain(hook))
}

fn show(
    hook: HookName,
    instances: Instances,
    case: &Case,
    timing: &Timing,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let Timing { calls, per_second, mean, p50, p99, faults, fault, memory } = timing;
    let memory = memory.map_or_else(String::new, |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
    writeln!(
        out,
        "{:<14} {:<9} {per_second:>10.0} {mean:>10.1} {p50:>10.1} {p99:>10.1} {memory:>8}",
        hook.as_str(),
        instances.as_str(),
    )?;
    if let Some(fault) = fault {
        writeln!(out, "  {faults} of {calls} hook calls of the case {:?} failed: the last one {fault}", case.name)?;
    }
    out.flush()
}

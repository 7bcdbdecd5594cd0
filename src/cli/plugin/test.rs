//! `metagate plugin test`: run a plugin's cases.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::cli::plugin::subject::Subject;
use crate::cli::stderr;
use crate::plugin::cases::{self, Case, Report};

/// Run a plugin's cases.
#[derive(Debug, Args)]
#[command(
    long_about = "Run a plugin's cases: hook calls with what is expected of them, by the code that the gateway runs \
    hooks by. The plugin is granted everything that it imports.\n\n\
    CASES is TOML, a recording (`record = \"FILE\"` in a [[plugin]] table makes one) or a JSON array. Cases run in \
    order and \
    share a store, counters and instances; `reset = true` starts afresh. Time advances only with `wait = \"1s\"`. \
    Requests \
    and calls of functions get the answers in the case. A recording holds no configuration: give the one that it was \
    made with by --config.\n\n\
    A hook may take 500ms, ten times a gateway's default, because a test machine may be busy; a timeout in --config \
    counts as it stands.\n\n\
    Example:\n  metagate plugin test plugins/api-key/api-key.wasm plugins/api-key/cases.toml\n\n  [config]\n  \
    keys = { alice = \"secret\" }\n\n  [[case]]\n  name   = \"a call without a key is refused\"\n  hook   = \
    \"before-invoke\"\n  expect = { verdict = \"reject\", status = 401, code = \"unauthorized\" }\n\n\
    Exit codes: 0 every case passes, 1 one does not or cannot be run."
)]
pub(super) struct Test {
    #[command(flatten)]
    subject: Subject,
    /// The cases.
    cases: PathBuf,
    /// Only cases with this text in their names; the others are left out, also for what they would leave behind.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print one JSON object a case, and one with the sums.
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Sums {
    passed: usize,
    failed: usize,
}

impl Test {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let read = cases::read(&self.cases).and_then(|cases| Ok((cases, self.subject.settings()?)));
        let (cases, settings) = match read {
            Ok(read) => read,
            Err(faults) => {
                stderr::print_line(&faults);
                return Ok(ExitCode::FAILURE);
            }
        };
        let is_meant = |case: &&Case| self.filter.as_ref().is_none_or(|text| case.name.contains(text));
        let meant: Vec<&Case> = cases.cases.iter().filter(is_meant).collect();
        if meant.is_empty() {
            let all = cases.cases.len();
            bail!("none of the {all} cases has {:?} in its name", self.filter.as_deref().unwrap_or_default());
        }
        let mut runner = self.subject.runner(settings, cases.common)?;
        let mut sums = Sums::default();
        for case in meant {
            let report = runner.run(case);
            *(if report.passes() { &mut sums.passed } else { &mut sums.failed }) += 1;
            if self.json { show_json(case, &report, out)? } else { show(case, &report, out)? }
        }
        let Sums { passed, failed } = sums;
        let time = began.elapsed();
        if self.json {
            writeln!(out, "{}", json!({ "passed": passed, "failed": failed, "milliseconds": milliseconds(time) }))?;
        } else {
            writeln!(out, "{passed} passed, {failed} failed, {:.0} ms", milliseconds(time))?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn show(case: &Case, report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let hook = case.hook.as_str();
    if report.passes() {
        return writeln!(out, "ok      {}  ({hook})", case.name);
    }
    writeln!(out, "FAILED  {}  ({hook})", case.name)?;
    for difference in &report.differences {
        writeln!(out, "        {difference}")?;
    }
    for missed in &report.missed {
        writeln!(out, "        note: {missed}")?;
    }
    for line in &report.log {
        writeln!(out, "        log: {line}")?;
    }
    Ok(())
}

fn show_json(case: &Case, report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let differences = report
        .differences
        .iter()
        .map(|difference| json!({ "what": difference.what, "expected": difference.expected, "got": difference.got }));
    let line = json!({
        "case": case.name, "hook": case.hook.as_str(), "ok": report.passes(),
        "differences": differences.collect::<Vec<_>>(), "notes": report.missed, "log": report.log,
        "milliseconds": milliseconds(report.time),
    });
    writeln!(out, "{line}")
}

/// With one digit after the point.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

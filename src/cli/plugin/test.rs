//! `metagate plugin test`: runs a plugin's cases.

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
    long_about = "Run a plugin's cases: hook calls with their expected results. They run through the gateway's own \
    code, and the plugin is granted everything that it imports.\n\n\
    CASES is a TOML file, a recording (set `record = \"FILE\"` in a [[plugin]] table to make one) or a JSON array. \
    Cases run in order and share a store, counters and instances; `reset = true` starts a case without them. Time \
    advances only with `wait = \"1s\"` and `now`. HTTP requests and function calls of the plugin get the answers that \
    the case contains. A recording has no configuration: pass the one that it was recorded with in --config.\n\n\
    The timeout of a hook is 500ms, ten times the gateway's default, because a test machine may be busy. A timeout in \
    --config is used unchanged.\n\n\
    Example:\n  metagate plugin test plugins/api-key/api-key.wasm plugins/api-key/cases.toml\n\n  [config]\n  \
    keys = { alice = \"secret\" }\n\n  [[case]]\n  name   = \"a call without a key is refused\"\n  hook   = \
    \"before-invoke\"\n  expect = { verdict = \"reject\", status = 401, code = \"unauthorized\" }\n\n\
    Exit codes: 0 all cases pass, 1 a case fails, or the cases cannot be run."
)]
pub(super) struct Test {
    #[command(flatten)]
    subject: Subject,
    /// The file of cases.
    cases: PathBuf,
    /// Run only the cases whose names contain this text. The effects of the others, such as values in the store, are
    /// missing.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print one JSON object for each case, and one with the totals.
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Totals {
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
        let is_selected = |case: &&Case| self.filter.as_ref().is_none_or(|text| case.name.contains(text));
        let selected: Vec<&Case> = cases.cases.iter().filter(is_selected).collect();
        if selected.is_empty() {
            let all = cases.cases.len();
            bail!("none of the {all} cases has a name that contains {:?}", self.filter.as_deref().unwrap_or_default());
        }
        let mut runner = self.subject.runner(settings, cases.common)?;
        let mut totals = Totals::default();
        for case in selected {
            let report = runner.run(case);
            *(if report.passes() { &mut totals.passed } else { &mut totals.failed }) += 1;
            if self.json { show_json(case, &report, out)? } else { show(case, &report, out)? }
        }
        let Totals { passed, failed } = totals;
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
    for function in &report.stack {
        writeln!(out, "        in: {function}")?;
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
        "stack": report.stack,
        "milliseconds": milliseconds(report.time),
    });
    writeln!(out, "{line}")
}

/// A time in milliseconds, rounded to one decimal place.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

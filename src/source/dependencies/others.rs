//! Bundler and dotnet, for languages that only the MetaCall runtime runs; so only if it is installed.

use std::path::Path;

use crate::logs::book::{LogBook, LogSource};
use crate::process::utility;
use crate::runtime::metacall;
use crate::source::dependencies::runner::Runner;
use crate::source::dependencies::search::Found;
use crate::source::dependencies::step::{Step, place};

/// One step for each file.
pub(super) fn steps(release: &Path, found: &Found) -> Vec<Step> {
    let gemfiles = found.gemfiles.iter().map(|file| Step {
        env: vec![("BUNDLE_PATH", release.join(metacall::GEMS).into())],
        ..step(release, file, Runner::Ruby, "bundle install", "bundle", &["install", "--no-color"])
    });
    let projects =
        found.projects.iter().map(|file| step(release, file, Runner::Csharp, "dotnet restore", "dotnet", &["restore"]));
    gemfiles.chain(projects).collect()
}

fn step(
    release: &Path,
    file: &Path,
    runner: Runner,
    command: &'static str,
    program: &'static str,
    args: &[&str],
) -> Step {
    let folder = file.parent().map_or_else(|| release.to_owned(), Path::to_owned);
    Step {
        runner,
        command,
        program,
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        place: place(release, &folder),
        folder,
        needed_for: place(release, file),
        missing_words: None,
    }
}

/// The steps if the MetaCall runtime is installed; else none, and a line in the log for each.
pub(super) fn with_metacall<'a>(steps: impl Iterator<Item = &'a Step>, book: &LogBook) -> Vec<Step> {
    if utility::find(metacall::PROGRAM).is_ok() {
        return steps.cloned().collect();
    }
    for step in steps {
        let why = "only the MetaCall runtime uses it, and \"metacall\" is not on the gateway's PATH";
        book.print(LogSource::Install, &format!("{}: skipped {}: {why}", step.needed_for, step.command));
    }
    Vec::new()
}

//! `metagate launch`: the short step between the gateway and a program. It joins the program's control groups, sets its
//! limits, puts its walls up, ties its life to the gateway's, closes every descriptor except 0 to 2 and the channel,
//! and then becomes the program. It is a program of its own because all of this must happen in the new process, before
//! the program runs, and because doing it between `fork` and `exec` would need unsafe code.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::process::{Pid, Resource, Signal};

use crate::process::limits::set_limit;
use crate::process::walls::namespaces::{self, Watcher};
use crate::process::walls::{Building, Hidden, Walls};

/// The command that asks for this step.
pub const WORD: &str = namespaces::LAUNCHER;
/// Exit code when the program could not be run, as in shells; standard error then starts with [`COMPLAINT`].
pub const EXIT_NOT_RUN: u8 = 127;
/// The start of the line about a program that could not be run.
pub const COMPLAINT: &str = "metagate launch: ";

/// What to do before becoming the program.
#[derive(Debug, Default)]
pub struct Orders {
    /// The gateway's process. If it is no longer the parent, the gateway has ended, and the program is not run.
    pub parent: i32,
    /// Control groups to join.
    pub join: Vec<PathBuf>,
    /// Limit of private memory in bytes, where no control group bounds it.
    pub max_data: Option<u64>,
    /// Size of the largest file that may be written, in bytes.
    pub max_file: Option<u64>,
    /// Whether descriptor 3 is a channel, to be kept.
    pub channel: bool,
    /// What the program may reach, if it is restricted, and what of this gateway is hidden from it.
    pub walls: Option<(Walls, Arc<Hidden>)>,
}

impl Orders {
    /// The arguments that [`run`] reads back, up to and with the `--` before the program.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![WORD.into(), self.parent.to_string().into()];
        for path in &self.join {
            args.extend(["join".into(), path.into()]);
        }
        if let Some(bytes) = self.max_data {
            args.extend(["max-data".into(), bytes.to_string().into()]);
        }
        if let Some(bytes) = self.max_file {
            args.extend(["max-file".into(), bytes.to_string().into()]);
        }
        if self.channel {
            args.push("channel".into());
        }
        if let Some((walls, hidden)) = &self.walls {
            args.push("walls".into());
            walls.add_args(hidden, &mut args);
        }
        args.push("--".into());
        args
    }
}

/// Carries out the arguments after [`WORD`]. Returns only if the program could not be run, or after waiting for it.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let done = match args.first().and_then(|word| word.to_str()) {
        Some(namespaces::WATCH) => namespaces::watch(args.get(1).map(OsString::as_os_str)),
        Some(namespaces::TRY) => namespaces::try_out(),
        _ => become_program(&args).map(|never| match never {}),
    };
    done.unwrap_or_else(|error| {
        // `eprintln!` panics when standard error is closed; the exit code must still say what happened.
        let _closed = writeln!(io::stderr(), "{COMPLAINT}{error:#}");
        ExitCode::from(EXIT_NOT_RUN)
    })
}

fn become_program(all: &[OsString]) -> anyhow::Result<Infallible> {
    let mut args = all.iter().cloned();
    let mut first_closed = 3;
    let mut walls: Option<Building> = None;
    let mut watcher = None;
    let parent = number(args.next().as_deref(), "the gateway's process")?;
    loop {
        let word = args.next().context("no program named")?;
        match word.to_str() {
            Some("--") => break,
            Some(namespaces::INSIDE) => watcher = Some(Watcher::new(parent).context("looking for the watcher")?),
            Some("join") => {
                let group = PathBuf::from(args.next().context("join without a group")?).join("cgroup.procs");
                // A process inside is in its groups from the start.
                if watcher.is_none() {
                    std::fs::write(&group, "0").with_context(|| format!("joining {}", group.display()))?;
                }
            }
            Some("max-data") => set_limit(Resource::Data, number(args.next().as_deref(), "max-data")?)?,
            Some("max-file") => set_limit(Resource::Fsize, number(args.next().as_deref(), "max-file")?)?,
            Some("channel") => first_closed = 4,
            Some("walls") => walls = Some(Building::default()),
            Some(word) if let Some(walls) = &mut walls => walls.take(word, &args.next().context("no value")?)?,
            _ => bail!("unknown order {:?}", word.display().to_string()),
        }
    }
    if walls.as_ref().is_some_and(Building::needs_namespaces) && watcher.is_none() {
        tie_to_parent(|| is_parent(parent))?;
        return namespaces::start_inside(all.get(1..).unwrap_or_default());
    }
    close_fds::set_fds_cloexec(first_closed, &[]);
    set_limit(Resource::Core, 0)?;
    // The gateway's allocator disables huge pages for its own process, and children inherit that.
    rustix::thread::disable_transparent_huge_pages(false).context("enabling huge pages")?;
    rustix::thread::set_no_new_privs(true).context("giving up new privileges")?;
    if let Some(walls) = walls {
        walls.put_up()?;
    }
    // After the walls: giving up privileges may undo it.
    tie_to_parent(|| watcher.as_mut().map_or_else(|| is_parent(parent), Watcher::is_there))?;
    let program = args.next().context("no program named")?;
    let error = Command::new(&program).args(args).exec();
    Err(error).with_context(|| format!("running {}", quoted(&program)))
}

/// Has the kernel end this process with its parent.
fn tie_to_parent(is_there: impl FnOnce() -> bool) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("setting the parent death signal")?;
    // The parent may have ended before the line above: the signal would never come.
    if is_there() { Ok(()) } else { bail!("the gateway has ended") }
}

fn is_parent(process: i32) -> bool {
    rustix::process::getppid().map(Pid::as_raw_nonzero).map(i32::from) == Some(process)
}

fn quoted(program: &OsStr) -> String {
    format!("\"{}\"", program.display())
}

fn number<T: std::str::FromStr>(arg: Option<&OsStr>, what: &str) -> anyhow::Result<T> {
    arg.and_then(OsStr::to_str).and_then(|text| text.parse().ok()).with_context(|| format!("{what} is not a number"))
}

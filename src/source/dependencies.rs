//! Installs the dependencies of a release: runs npm, pip and similar programs in its folders within one timeout.
//! `search` and a file for each runner decide which commands run.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deployment::DeploymentName;
use crate::logs::book::{LogBook, LogSource};
use crate::process::spawner::Spawner;
use crate::process::utility::{self, Utility, UtilityError, UtilityLimits};
use crate::process::walls::Walls;
use crate::process::walls::level::Level;
use crate::process::walls::user::User;
use crate::runtime;
use crate::source::dependencies::environment::environment;
use crate::source::dependencies::search::Found;
use crate::source::dependencies::step::Step;
use crate::source::network;
use crate::source::size;

mod environment;
mod node;
mod others;
mod python;
mod requirement_files;
mod runner;
mod search;
mod step;
mod yarn;

pub use runner::Runner;

/// Ports that installers need under strict isolation, in addition to those of the servers that are configured.
const HTTPS: u16 = 443;
/// Bytes of memory that an installer may use.
const MEMORY: u64 = 2 << 30;
/// Most bytes of a release with its dependencies, and how often its size is measured.
const RELEASE: u64 = 1 << 30;
const PACE: Duration = Duration::from_secs(1);
/// Bytes of the largest file that an installer may write.
const FILE: u64 = 1 << 30;

/// Why dependencies could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A command failed.
    #[error("{command} in {folder:?} {how}")]
    Failed {
        /// The command, such as `npm install`.
        command: &'static str,
        /// The folder in which it ran, relative to the release.
        folder: String,
        /// How it ended, such as `exited with code 1`.
        how: String,
        /// The last 4 KiB of its output.
        output: String,
    },
    /// The timeout for all dependencies has passed.
    #[error("{command} in {folder:?} exceeds the time for all dependencies ({limit:?})")]
    TimedOut {
        /// The command.
        command: &'static str,
        /// The folder in which it ran.
        folder: String,
        /// The timeout.
        limit: Duration,
        /// The last 4 KiB of its output.
        output: String,
    },
    /// The release with its dependencies is too large.
    #[error("the release with its dependencies exceeds {limit} bytes")]
    TooLarge {
        /// Most bytes that it may have.
        limit: u64,
    },
    /// A program is not installed.
    #[error("{needed_for} needs {program:?}, which is not on the gateway's PATH: install it")]
    NotThere {
        /// The program.
        program: &'static str,
        /// The file with the dependencies.
        needed_for: String,
    },
    /// The release cannot be read.
    #[error("looking for dependencies: {0}")]
    Disk(#[from] io::Error),
}

impl InstallError {
    /// The last output of the installer.
    #[must_use]
    pub fn output(&self) -> &str {
        match self {
            Self::Failed { output, .. } | Self::TimedOut { output, .. } => output,
            Self::TooLarge { .. } | Self::NotThere { .. } | Self::Disk(_) => "",
        }
    }
}

/// Installs dependencies of releases.
#[derive(Debug)]
pub struct Installer {
    spawner: Arc<Spawner>,
    timeout: Duration,
    extra_env: Vec<String>,
    walls: Option<InstallerWalls>,
}

/// What installers may change besides the release.
#[derive(Debug, Clone)]
pub struct InstallerWalls {
    /// The parent of their temporary files and caches, one folder a deployment: a package that one of them has prepared
    /// must not be installed for another.
    pub caches: PathBuf,
    /// Files and folders that the configuration names.
    pub write: Vec<PathBuf>,
    /// How much of the machine they may reach.
    pub level: Level,
}

impl Installer {
    /// All dependencies of a release together have `timeout`. `extra_env` names further variables of the gateway that
    /// installers get.
    #[must_use]
    pub fn new(spawner: Arc<Spawner>, timeout: Duration, extra_env: Vec<String>) -> Self {
        Self { spawner, timeout, extra_env, walls: None }
    }

    /// The same with walls around the installers.
    #[must_use]
    pub fn with_walls(self, walls: Option<InstallerWalls>) -> Self {
        Self { walls, ..self }
    }

    /// Installs the dependencies that the files of a release of `name` list, with the given runners or all; as `user`,
    /// or else as the gateway's user. The output of the installers goes to the log line by line. Dropping the future
    /// ends the installers.
    pub async fn install(
        &self,
        name: &DeploymentName,
        user: Option<User>,
        release: &Path,
        runners: Option<&[String]>,
        book: &LogBook,
    ) -> Result<(), InstallError> {
        let runners = wanted(runners, book);
        if runners.is_empty() {
            return Ok(());
        }
        let walls = self.walls.as_ref().map(|walls| walls.of(name, user, release));
        let installing = self.install_all(release, walls.as_ref(), runners, book);
        let installed = size::within(RELEASE, release, PACE, installing).await;
        installed.unwrap_or(Err(InstallError::TooLarge { limit: RELEASE }))
    }

    async fn install_all(
        &self,
        release: &Path,
        walls: Option<&Walls>,
        runners: Vec<Runner>,
        book: &LogBook,
    ) -> Result<(), InstallError> {
        let begun = Instant::now();
        for step in self.steps(release, runners, book).await? {
            let started = Instant::now();
            book.print(LogSource::Install, &format!("{} in {:?}", step.command, step.place));
            self.run(&step, walls, begun, book)
                .await
                .inspect_err(|error| book.print(LogSource::Install, &error.to_string()))?;
            let took = started.elapsed().as_secs_f64();
            book.print(LogSource::Install, &format!("{} in {:?} took {took:.1} s", step.command, step.place));
        }
        Ok(())
    }

    async fn steps(&self, release: &Path, runners: Vec<Runner>, book: &LogBook) -> Result<Vec<Step>, InstallError> {
        let root = release.to_owned();
        let searching = tokio::task::spawn_blocking(move || {
            let found = Found::look(&root)?;
            let find = |program: &str| utility::find(program).ok();
            let is_followed = |lock: &PathBuf| node::is_followed(lock, &find) || python::is_followed(lock, &find);
            let unread = found.locks.iter().filter(|lock| !is_followed(lock));
            let unread: Vec<String> = unread.map(|lock| step::place(&root, lock)).collect();
            let python = python::steps(&root, &found, &find);
            let steps = (node::steps(&root, &found, &find), python, others::steps(&root, &found));
            Ok::<_, io::Error>((steps, unread))
        });
        let ((node, python, others), unread) = searching.await.map_err(io::Error::other)??;
        for lock in unread {
            let warning = format!(
                "warning: {lock} is not followed: npm and pip install what they find newest that fits (pnpm, yarn and \
                 uv follow their own where they are on the gateway's PATH; yarn 1 and yarn 2 or later each their own)"
            );
            book.print(LogSource::Install, &warning);
        }
        let mut steps = Vec::new();
        for runner in runners {
            match runner {
                Runner::Nodejs => steps.extend(node.iter().cloned()),
                Runner::Python => steps.extend(python.iter().cloned()),
                Runner::Ruby | Runner::Csharp => {
                    steps.extend(others::with_metacall(others.iter().filter(|step| step.runner == runner), book));
                }
            }
        }
        Ok(steps)
    }

    async fn run(
        &self,
        step: &Step,
        walls: Option<&Walls>,
        begun: Instant,
        book: &LogBook,
    ) -> Result<(), InstallError> {
        let missing = || InstallError::NotThere { program: step.program, needed_for: step.needed_for.clone() };
        let timed_out = |output| InstallError::TimedOut {
            command: step.command,
            folder: step.place.clone(),
            limit: self.timeout,
            output,
        };
        let time = self.timeout.saturating_sub(begun.elapsed());
        if time.is_zero() {
            return Err(timed_out(String::new()));
        }
        let program = find(step.program).await.map_err(|_| missing())?;
        let mut own = step.env.clone();
        own.extend(walls.into_iter().flat_map(variables));
        let env = environment(&self.extra_env, walls.and_then(|walls| walls.temp.as_deref()), &own);
        let walls = walls.cloned().map(|mut walls| {
            walls.allow_program(&program);
            walls.ports = network::ports(&env);
            walls.ports.extend([HTTPS, network::NAME_SERVER]);
            walls
        });
        let utility = Utility {
            program,
            args: step.args.clone(),
            env,
            folder: step.folder.clone(),
            limits: UtilityLimits { time, memory: Some(MEMORY), file: Some(FILE) },
            walls,
        };
        let failed =
            |how, output| InstallError::Failed { command: step.command, folder: step.place.clone(), how, output };
        let ended = utility::run(&self.spawner, &utility, &mut |_, line| book.print(LogSource::Install, line)).await;
        match ended {
            Ok(finished) if finished.succeeded() => Ok(()),
            Ok(finished) if step.is_missing(&finished.last_output) => Err(missing()),
            Ok(finished) => Err(failed(finished.how(), finished.last_output)),
            Err(UtilityError::TimedOut { last_output, .. }) => Err(timed_out(last_output)),
            Err(error) => Err(failed("could not be started".to_owned(), error.to_string())),
        }
    }
}

/// Finds an installer. Python is run without a version manager's script, which would write to the manager's own folder
/// after pip has run.
async fn find(program: &'static str) -> Result<PathBuf, UtilityError> {
    let found = utility::find(program)?;
    if program != python::PROGRAM {
        return Ok(found);
    }
    // The script may have to be run.
    let looking = tokio::task::spawn_blocking(move || runtime::python::behind_script(found));
    looking.await.map_err(|error| UtilityError::Spawn(error.to_string()))
}

impl InstallerWalls {
    /// The walls around the installers of one release.
    fn of(&self, name: &DeploymentName, user: Option<User>, release: &Path) -> Walls {
        let mut write = self.write.clone();
        write.push(release.to_owned());
        Walls {
            level: self.level,
            user,
            own: Some(release.to_owned()),
            temp: Some(self.caches.join(name.as_str())),
            write,
            ..Walls::default()
        }
    }
}

/// The variables of an installer that must not use the home folder of the gateway's user, or reaches name servers over
/// TCP only.
fn variables(walls: &Walls) -> Vec<(&'static str, OsString)> {
    let is_strict = walls.level == Level::Strict;
    let home = walls.temp.as_ref().filter(|_| is_strict || walls.user.is_some());
    let names = is_strict.then(|| (network::NAMES_OVER_TCP.0, network::NAMES_OVER_TCP.1.into()));
    home.map(|home| ("HOME", home.into())).into_iter().chain(names).collect()
}

/// The runners with the names that a client has sent; all of them if it has sent none.
fn wanted(names: Option<&[String]>, book: &LogBook) -> Vec<Runner> {
    let Some(names) = names else { return Runner::ALL.to_vec() };
    for name in names.iter().filter(|name| Runner::from_name(name).is_none()) {
        book.print(
            LogSource::Install,
            &format!("ignored the unknown runner {name:?} (known: nodejs, python, ruby, csharp)"),
        );
    }
    Runner::ALL.into_iter().filter(|runner| names.iter().any(|name| name == runner.name())).collect()
}

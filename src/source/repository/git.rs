//! Runs git without any settings of the machine or of users: one protocol, no redirects, prompts, hooks or filters, and
//! limits of time, memory and size.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::process::spawner::Spawner;
use crate::process::utility::{self, Finished, Utility, UtilityError, UtilityLimits};
use crate::process::walls::Walls;
use crate::process::walls::level::Level;
use crate::source::network;
use crate::source::repository::address::Address;
use crate::source::repository::error::RepositoryError;
use crate::source::repository::reason;

/// Bytes of memory that git may use.
const MEMORY: u64 = 1 << 30;
/// Variables that git gets from the gateway's environment: PATH and the certificates of this machine.
const INHERITED: [&str; 4] = ["PATH", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// A path without a repository: git must not find one around the folder in which it runs and read its settings.
const NO_REPOSITORY: &str = "/dev/null/none";
/// git refuses to fetch from a folder of another user. Here the configuration has allowed the folder.
const UPLOAD_PACK: &str = "--upload-pack=git -c safe.directory=* upload-pack";
const SETTINGS: [&str; 23] = [
    "protocol.allow=never",
    "http.followRedirects=false",
    "http.sslVerify=true",
    "credential.helper=",
    "transfer.credentialsInUrl=die",
    "transfer.fsckObjects=true",
    // Faults that old repositories have and that are harmless.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    // No downloads from other addresses.
    "transfer.bundleURI=false",
    "fetch.uriProtocols=",
    "submodule.recurse=false",
    // No hooks, filters or files of the machine.
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.symlinks=false",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    // Large files are streamed instead of held in memory.
    "core.bigFileThreshold=16m",
    "pack.windowMemory=64m",
    "pack.threads=1",
    "advice.defaultBranchName=false",
];

/// git for one address and with one deadline.
pub(super) struct Git {
    spawner: Arc<Spawner>,
    program: PathBuf,
    settings: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
    is_folder: bool,
    limit: Duration,
    deadline: Instant,
    size_limit: u64,
    walls: Option<Walls>,
}

impl Git {
    /// git for a checked address. `pin` is the value of `http.curloptResolve`; `home` is the folder that git may write
    /// to.
    pub(super) fn new(
        spawner: Arc<Spawner>,
        address: &Address,
        pin: Option<String>,
        home: Option<&Path>,
        (limit, deadline): (Duration, Instant),
        size_limit: u64,
    ) -> Result<Self, RepositoryError> {
        let allowed = format!("protocol.{}.allow=always", address.scheme());
        let pin = pin.map(|pin| format!("http.curloptResolve={pin}"));
        let settings = SETTINGS.iter().map(|setting| (*setting).to_owned()).chain([allowed]).chain(pin);
        let folder = home.unwrap_or(Path::new("/")).to_owned();
        Ok(Self {
            spawner,
            program: utility::find("git").map_err(|_| RepositoryError::NoGit)?,
            settings: settings.flat_map(|setting| ["-c".into(), setting.into()]).collect(),
            env: environment(address, home),
            folder,
            is_folder: address.scheme() == "file",
            limit,
            deadline,
            size_limit,
            walls: None,
        })
    }

    /// The same with walls, behind which it reaches the server of `address`.
    pub(super) fn with_walls(self, mut walls: Walls, address: &Address) -> Self {
        walls.allow_program(&self.program);
        walls.ports = network::ports(&self.env);
        walls.ports.extend(address.port());
        let mut env = self.env;
        if walls.level == Level::Strict {
            env.push((network::NAMES_OVER_TCP.0.into(), network::NAMES_OVER_TCP.1.into()));
        }
        Self { walls: Some(walls), env, ..self }
    }

    /// Queries the server and returns git's output.
    pub(super) async fn ask(&self, args: &[&str], url: &str, limit: usize) -> Result<Vec<u8>, RepositoryError> {
        let utility = self.utility(None, args.iter().copied().chain(self.upload_pack()).chain(["--", url]));
        self.printed(&utility, limit).await
    }

    /// Clones to `name` in the folder that git may write to.
    pub(super) async fn clone(&self, args: &[&str], url: &str, name: &str) -> Result<(), RepositoryError> {
        let utility = self.utility(None, args.iter().copied().chain(self.upload_pack()).chain(["--", url, name]));
        self.printed(&utility, 4096).await.map(|_| ())
    }

    /// Returns git's output about a fetched repository.
    pub(super) async fn print(
        &self,
        repository: &Path,
        args: &[&str],
        limit: usize,
    ) -> Result<Vec<u8>, RepositoryError> {
        self.printed(&self.utility(Some(repository), args.iter().copied()), limit).await
    }

    /// Writes git's output about a fetched repository to a file.
    pub(super) async fn write(&self, repository: &Path, args: &[&str], file: File) -> Result<(), RepositoryError> {
        let utility = self.utility(Some(repository), args.iter().copied());
        let finished = utility::write_to(&self.spawner, &utility, file).await.map_err(|error| self.error(error))?;
        self.check(&finished)
    }

    async fn printed(&self, utility: &Utility, limit: usize) -> Result<Vec<u8>, RepositoryError> {
        let collected = utility::collect(&self.spawner, utility, limit).await;
        let (finished, printed) = collected.map_err(|error| self.error(error))?;
        self.check(&finished).map(|()| printed)
    }

    fn upload_pack(&self) -> Option<&'static str> {
        self.is_folder.then_some(UPLOAD_PACK)
    }

    fn utility<'a>(&self, repository: Option<&Path>, args: impl Iterator<Item = &'a str>) -> Utility {
        let repository = repository.unwrap_or(Path::new(NO_REPOSITORY));
        let mut env = self.env.clone();
        env.push(("GIT_DIR".into(), repository.into()));
        Utility {
            program: self.program.clone(),
            args: self.settings.iter().cloned().chain(args.map(Into::into)).collect(),
            env,
            folder: self.folder.clone(),
            limits: UtilityLimits {
                time: self.deadline.saturating_duration_since(Instant::now()),
                memory: Some(MEMORY),
                file: Some(self.size_limit),
            },
            walls: self.walls.clone(),
        }
    }

    fn check(&self, finished: &Finished) -> Result<(), RepositoryError> {
        if finished.succeeded() {
            return Ok(());
        }
        let output = finished.last_output.clone();
        let too_large = finished.ended.is_by_file_size() || reason::is_file_too_large(&output);
        if too_large && !finished.out_of_memory {
            return Err(RepositoryError::TooLarge { limit: self.size_limit });
        }
        Err(RepositoryError::Failed { reason: reason::of(&output, &finished.how()), output })
    }

    fn error(&self, error: UtilityError) -> RepositoryError {
        match error {
            UtilityError::TimedOut { last_output, .. } => {
                RepositoryError::TimedOut { limit: self.limit, output: last_output }
            }
            UtilityError::NotThere(_) => RepositoryError::NoGit,
            UtilityError::Spawn(_) | UtilityError::TooMuch { .. } => {
                RepositoryError::Failed { reason: format!("git {error}"), output: String::new() }
            }
        }
    }
}

fn environment(address: &Address, home: Option<&Path>) -> Vec<(OsString, OsString)> {
    let inherited = INHERITED.iter().filter_map(|name| std::env::var_os(name).map(|value| ((*name).into(), value)));
    let own: [(&str, OsString); 10] = [
        ("HOME", home.unwrap_or(Path::new(NO_REPOSITORY)).into()),
        ("TMPDIR", home.unwrap_or(Path::new(NO_REPOSITORY)).into()),
        ("LC_ALL", "C".into()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ("GIT_ATTR_NOSYSTEM", "1".into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
        // Set to nothing, so that git runs no other program to ask for a password.
        ("GIT_ASKPASS", "".into()),
        ("GIT_NO_LAZY_FETCH", "1".into()),
        ("GIT_ALLOW_PROTOCOL", address.scheme().into()),
    ];
    inherited.chain(own.map(|(name, value)| (name.into(), value))).collect()
}

//! Fetches from git repositories: the branches, the list of files, and one commit as an archive, which is unpacked with
//! the checks of an upload. git never writes the repository's files and runs no program from it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::RepositoryPrefix;
use crate::deployment::DeploymentName;
use crate::process::spawner::Spawner;
use crate::process::walls::Walls;
use crate::process::walls::level::Level;
use crate::process::walls::user::User;
use crate::source::repository::address::Address;
use crate::source::repository::branch::Branch;
use crate::source::repository::git::Git;
use crate::source::repository::resolve::{Resolve, SystemResolver};
use crate::source::size;

pub mod address;
pub mod branch;
mod error;
mod git;
mod reason;
pub mod resolve;

pub use error::RepositoryError;

/// Most bytes of a repository, packed, and of its archive.
const SIZE_LIMIT: u64 = 256 << 20;
/// Most bytes of a list of branches or files.
const LIST_LIMIT: usize = 16 << 20;
const CLONE: &str = "repository.git";
/// How often the size of a repository is measured while it is fetched.
const PACE: Duration = Duration::from_millis(200);
const ARCHIVE: &str = "repository.zip";
/// Disables every attribute by which a repository could change or omit files of its archive.
const ATTRIBUTES: &str = "* -export-ignore -export-subst -text -eol -crlf -ident -filter -working-tree-encoding\n";

/// Fetches repositories.
pub struct Repositories {
    spawner: Arc<Spawner>,
    listed: Vec<RepositoryPrefix>,
    timeout: Duration,
    resolver: Arc<dyn Resolve>,
    size_limit: u64,
    walls: Option<GitWalls>,
}

/// How git is isolated: it may change only the folder that it fetches to.
#[derive(Debug, Clone, Copy)]
pub struct GitWalls {
    /// How much of the machine it may reach.
    pub level: Level,
    /// The user that it runs as; the gateway's if there is none.
    pub user: Option<User>,
}

/// One commit of a repository.
#[derive(Debug)]
pub struct Fetched {
    /// The name of a deployment of this repository.
    pub name: DeploymentName,
    /// The address that was fetched.
    pub url: String,
    /// A zip with every file of the commit, in the staging folder.
    pub archive: PathBuf,
    /// The branch.
    pub branch: String,
    /// The id of the commit.
    pub commit: String,
}

impl Repositories {
    /// Fetches from public hosts over https, and from the addresses in `listed`. Each request has `timeout`.
    #[must_use]
    pub fn new(spawner: Arc<Spawner>, listed: Vec<RepositoryPrefix>, timeout: Duration) -> Self {
        let resolver = Arc::new(SystemResolver);
        Self { spawner, listed, timeout, resolver, size_limit: SIZE_LIMIT, walls: None }
    }

    /// Replaces the resolver of host names.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// The same with walls around git.
    #[must_use]
    pub fn with_walls(self, walls: Option<GitWalls>) -> Self {
        Self { walls, ..self }
    }

    /// Replaces the limit for the bytes of a repository and for those of its archive. Default 256 MiB.
    #[must_use]
    pub fn with_size_limit(self, size_limit: u64) -> Self {
        Self { size_limit, ..self }
    }

    /// The branches of a repository, sorted by name.
    pub async fn branches(&self, url: &str) -> Result<Vec<String>, RepositoryError> {
        let address = self.address(url)?;
        let git = self.git(&address, None).await?;
        let printed = git.ask(&["ls-remote", "--heads"], address.as_str(), LIST_LIMIT).await?;
        let printed = String::from_utf8_lossy(&printed);
        let names = printed.lines().filter_map(|line| line.split_once('\t')?.1.strip_prefix("refs/heads/"));
        Ok(names.map(str::to_owned).collect())
    }

    /// The paths of a branch's files, sorted. `staging` is an empty folder.
    pub async fn files(&self, url: &str, branch: &str, staging: &Path) -> Result<Vec<String>, RepositoryError> {
        let address = self.address(url)?;
        let branch = Branch::new(branch).map_err(RepositoryError::BadBranch)?;
        // Only names are needed: servers that support filters leave out the contents.
        let clone = self.clone(&address, Some(&branch), staging, &["--filter=blob:none"]).await?;
        clone.head().await?;
        let printed = clone.print(&["ls-tree", "-r", "-z", "--full-tree", "HEAD"], LIST_LIMIT).await?;
        remove(clone.path).await?;
        let printed = String::from_utf8_lossy(&printed);
        // "<mode> <type> <id>\t<path>", see git-ls-tree(1). A commit is a submodule.
        let entries = printed.split_terminator('\0').filter_map(|entry| entry.split_once('\t'));
        Ok(entries.filter(|(about, _)| about.contains(" blob ")).map(|(_, path)| path.to_owned()).collect())
    }

    /// The files of a branch, or of the repository's default branch, as an archive. `staging` is an empty folder.
    pub async fn fetch(&self, url: &str, branch: Option<&str>, staging: &Path) -> Result<Fetched, RepositoryError> {
        let address = self.address(url)?;
        let name = address.deployment_name().map_err(RepositoryError::BadUrl)?;
        let branch = branch.map(Branch::new).transpose().map_err(RepositoryError::BadBranch)?;
        let clone = self.clone(&address, branch.as_ref(), staging, &[]).await?;
        let commit = clone.head().await?;
        let branch = match branch {
            Some(branch) => branch.to_string(),
            None => clone.line(&["symbolic-ref", "--short", "HEAD"]).await?,
        };
        let archive = self.archive(&clone, staging).await?;
        remove(clone.path).await?;
        Ok(Fetched { name, url: address.as_str().to_owned(), archive, branch, commit })
    }

    fn address(&self, url: &str) -> Result<Address, RepositoryError> {
        Address::parse(url, &self.listed).map_err(RepositoryError::BadUrl)
    }

    /// git for one address; it runs in `home`.
    async fn git(&self, address: &Address, home: Option<&Path>) -> Result<Git, RepositoryError> {
        let deadline = Instant::now() + self.timeout;
        let pin = tokio::time::timeout(self.timeout, address.pin(self.resolver.as_ref()));
        let timed_out = |_| RepositoryError::TimedOut { limit: self.timeout, output: String::new() };
        let pin = pin.await.map_err(timed_out)?.map_err(RepositoryError::BadUrl)?;
        let git = Git::new(Arc::clone(&self.spawner), address, pin, home, (self.timeout, deadline), self.size_limit)?;
        let Some(GitWalls { level, user }) = self.walls else { return Ok(git) };
        let read = address.folder().into_iter().collect();
        Ok(git.with_walls(Walls { level, user, temp: home.map(Path::to_owned), read, ..Walls::default() }, address))
    }

    async fn clone(
        &self,
        address: &Address,
        branch: Option<&Branch>,
        staging: &Path,
        more: &[&str],
    ) -> Result<Clone, RepositoryError> {
        let git = self.git(address, Some(staging)).await?;
        let branch_argument = branch.map(|branch| format!("--branch={branch}"));
        let mut args = vec!["clone", "--quiet", "--bare", "--depth=1", "--single-branch", "--no-tags"];
        args.extend(["--no-recurse-submodules", "--template="]);
        args.extend(more.iter().copied().chain(branch_argument.as_deref()));
        let cloning = git.clone(&args, address.as_str(), CLONE);
        let cloned = size::within(self.size_limit, staging, PACE, cloning).await;
        match (cloned.unwrap_or(Err(RepositoryError::TooLarge { limit: self.size_limit })), branch) {
            (Err(RepositoryError::Failed { output, .. }), Some(branch)) if reason::is_no_such_branch(&output) => {
                Err(RepositoryError::NoSuchBranch(branch.to_string()))
            }
            (Err(error), _) => Err(error),
            (Ok(()), _) => Ok(Clone { git, path: staging.join(CLONE) }),
        }
    }

    async fn archive(&self, clone: &Clone, staging: &Path) -> Result<PathBuf, RepositoryError> {
        // This file takes precedence over attributes in the repository itself.
        fs::create_dir_all(clone.path.join("info"))?;
        fs::write(clone.path.join("info/attributes"), ATTRIBUTES)?;
        let path = staging.join(ARCHIVE);
        let archive = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        clone.git.write(&clone.path, &["archive", "--format=zip", "HEAD"], archive).await?;
        Ok(path)
    }
}

/// A fetched repository without a working tree.
struct Clone {
    git: Git,
    path: PathBuf,
}

impl Clone {
    /// The commit that was fetched.
    async fn head(&self) -> Result<String, RepositoryError> {
        let args = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        match self.line(&args).await {
            Err(RepositoryError::Failed { .. }) => Err(RepositoryError::Empty),
            commit => commit,
        }
    }

    async fn line(&self, args: &[&str]) -> Result<String, RepositoryError> {
        let printed = self.print(args, 4096).await?;
        Ok(String::from_utf8_lossy(&printed).trim().to_owned())
    }

    async fn print(&self, args: &[&str], limit: usize) -> Result<Vec<u8>, RepositoryError> {
        self.git.print(&self.path, args, limit).await
    }
}

/// Removes a folder, off the thread that serves calls.
async fn remove(folder: PathBuf) -> io::Result<()> {
    tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await.map_err(io::Error::other)?
}

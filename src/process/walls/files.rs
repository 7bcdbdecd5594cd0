//! Files that a worker may read and change, by Landlock. Landlock only allows: to hide a file, everything next to it
//! and next to each folder above it is allowed instead. Metadata, names and permission bits stay visible.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, make_bitflags,
};

use crate::process::walls::level::Level;

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// What a rule about a file, instead of a folder, can allow.
const OF_FILE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
/// Devices that every program may use. Others, disks above all, may be opened only if the configuration names them.
const DEVICES: [&str; 9] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"];
/// The same, for reading only, as far as the process's user may.
const READ_DEVICES: [&str; 4] = ["mqueue", "dri", "kfd", "snd"];
/// Devices under strict isolation: those through which nothing is shared.
const STRICT_DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const DEVICE_FOLDER: &str = "/dev";
/// Where runtimes, libraries and settings of the machine are.
const OF_THE_SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/proc",
    // The settings of name resolution are links to here on some machines.
    "/run/systemd/resolve",
    "/sys/devices/system",
    "/sys/fs/cgroup",
];
/// What the dynamic linker reads, and what a process knows about itself.
const LIBRARIES: [&str; 9] =
    ["/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache", "/proc/self"];
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Most entries of one folder that become rules: each takes two microseconds of every start.
const MOST_ENTRIES: usize = 2048;

/// What a process may reach of the file system.
#[derive(Debug, Default)]
pub struct Reach {
    /// The folder of its program, which it may change.
    pub own: Option<PathBuf>,
    /// Further files and folders that it may change.
    pub write: Vec<PathBuf>,
    /// Files and folders that it may read although they lie below a hidden one.
    pub read: Vec<PathBuf>,
    /// Files and folders of its interpreter, which it may read unless they are hidden themselves.
    pub runtime: Vec<PathBuf>,
    /// Files and folders that it must neither read nor change.
    pub secrets: Vec<PathBuf>,
    /// The same, except those that contain `own`, and those that lie in `own` or in what `read` and `write` name.
    pub folders: Vec<PathBuf>,
}

/// Files and folders with what is allowed below them.
pub type Rules = Vec<(PathBuf, BitFlags<AccessFs>)>;

/// Makes a folder that only its user can reach.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The rules for this machine's files as they are now.
pub(super) fn rules(reach: &Reach, level: Level) -> io::Result<Rules> {
    let all = |paths: &[PathBuf]| paths.iter().map(|path| resolved(path)).collect::<Vec<_>>();
    let (own, read) = (all(reach.own.as_slice()), all(&reach.read));
    let (write, runtime) = (all(&reach.write), all(&reach.runtime));
    let is_open = |folder: &PathBuf| {
        own.iter().any(|own| own.starts_with(folder))
            || read.iter().chain(&write).chain(&own).any(|open| folder.starts_with(open))
    };
    let folders = reach.folders.iter().map(|path| resolved(path)).filter(|folder| !is_open(folder));
    let hidden = reach.secrets.iter().map(|path| resolved(path)).chain(folders).collect();
    let mut listing = Listing { hidden, rules: Vec::new() };
    let changes = changes();
    let (readable, changeable) = match level {
        Level::Standard => ([vec!["/".into()], read, runtime].concat(), [own, write].concat()),
        Level::Strict => ([all(&OF_THE_SYSTEM.map(PathBuf::from)), read, runtime, own].concat(), write),
        Level::Sealed => ([all(&LIBRARIES.map(PathBuf::from)), read, runtime].concat(), write),
    };
    for path in &readable {
        listing.allow(path, path.is_dir(), READ)?;
    }
    for path in &changeable {
        listing.allow(path, path.is_dir(), READ | changes)?;
    }
    if level == Level::Sealed {
        // The link itself: it stays valid when an upgrade replaces the file under the same path.
        listing.add(OWN_PROGRAM.into(), false, READ);
    }
    let (devices, read_devices) = match level {
        Level::Standard => (&DEVICES[..], &READ_DEVICES[..]),
        Level::Strict | Level::Sealed => (&STRICT_DEVICES[..], &[][..]),
    };
    let devices = devices.iter().map(|device| (device, READ | changes));
    for (device, access) in devices.chain(read_devices.iter().map(|device| (device, READ))) {
        let path = Path::new(DEVICE_FOLDER).join(device);
        let is_folder = path.is_dir();
        listing.add(path, is_folder, access);
    }
    Ok(listing.rules)
}

/// Everything that changes files. Requests to devices are left out: a device has to be opened first.
fn changes() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V3)
}

/// Opens everything that `rules` are about, for [`restrict`].
pub(super) fn prepare(rules: Rules, level: Level) -> Result<RulesetCreated, RulesetError> {
    let (handled, scope) = match level {
        // Every folder can be listed: programs list folders that something hidden lies below.
        Level::Standard => ((READ | changes()) & !AccessFs::ReadDir, BitFlags::from(Scope::Signal)),
        Level::Strict | Level::Sealed => (READ | changes(), Scope::Signal | Scope::AbstractUnixSocket),
    };
    let mut ruleset = Ruleset::default().handle_access(handled)?.scope(scope)?.create()?;
    for (path, access) in rules {
        // What has gone since it was listed needs no rule.
        let Ok(file) = PathFd::new(&path) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(file, access & handled))?;
    }
    Ok(ruleset)
}

/// Restricts this process and all that it starts to the files of `rules`, and signals to processes that it has started.
/// Under strict isolation also the listing of folders, and abstract sockets. Returns whether this kernel does all of
/// that; what it cannot do is left out.
pub(super) fn restrict(rules: RulesetCreated) -> Result<bool, RulesetError> {
    Ok(rules.restrict_self()?.ruleset == RulesetStatus::FullyEnforced)
}

struct Listing {
    hidden: BTreeSet<PathBuf>,
    rules: Rules,
}

impl Listing {
    /// Allows a file or folder, except what is hidden below it.
    fn allow(&mut self, path: &Path, is_folder: bool, access: BitFlags<AccessFs>) -> io::Result<()> {
        if self.hidden.contains(path) || path == Path::new(DEVICE_FOLDER) {
            return Ok(());
        }
        if path != Path::new("/") && !self.hides_below(path) {
            self.add(path.to_owned(), is_folder, access);
            return Ok(());
        }
        let entries = match fs::read_dir(path) {
            // It may be searched but not listed: what is on the way to something hidden is known by name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.on_the_way(path).iter().try_for_each(|next| self.allow(next, next.is_dir(), access));
            }
            entries => entries?,
        };
        for entry in entries.take(MOST_ENTRIES) {
            let entry = entry?;
            let kind = entry.file_type()?;
            // What a link points to has a rule by its own path, or is hidden.
            if !kind.is_symlink() {
                self.allow(&entry.path(), kind.is_dir(), access)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, is_folder: bool, access: BitFlags<AccessFs>) {
        self.rules.push((path, if is_folder { access } else { access & OF_FILE }));
    }

    /// The entries of a folder with something hidden in or below them.
    fn on_the_way(&self, folder: &Path) -> BTreeSet<PathBuf> {
        let below = self.hidden.iter().filter_map(|hidden| hidden.strip_prefix(folder).ok());
        below.filter_map(|rest| rest.components().next()).map(|name| folder.join(name)).collect()
    }

    fn hides_below(&self, path: &Path) -> bool {
        let mut after = self.hidden.range::<Path, _>((Bound::Excluded(path), Bound::Unbounded));
        after.next().is_some_and(|next| next.starts_with(path))
    }
}

/// The path without symbolic links. Of a file that does not exist, the folder's.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    })
}

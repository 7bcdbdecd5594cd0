//! How the process of a plugin is started: its program, its walls, its limits, and its first message.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;

use crate::config::{Instances, PluginConfig};
use crate::plugin::apart::message::Load;
use crate::plugin::host::granted::Granted;
use crate::process::spawner::Start;
use crate::process::walls::Walls;
use crate::process::walls::level::Level;

/// The words on the command line that start the program.
pub const WORDS: [&str; 2] = ["worker", "plugin"];
/// This program's own file. The link stays valid when an upgrade replaces the file under the same path.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Where it is started: it reads no file below.
const FOLDER: &str = "/";
/// Memory of the process beyond that of its instances: the program, messages in both directions, and the compiled
/// component, which is some times larger than the component.
const BASE_MEMORY: u64 = 192 << 20;
const BODIES: u64 = 8;
const COMPILED: u64 = 8;
/// Descriptors that it may have open, and threads.
const MAX_FILES: u64 = 64;
const MAX_THREADS: u64 = 64;

/// How the process of one plugin is started.
pub(super) struct Program {
    settings: PluginConfig,
    component: Bytes,
    /// Memory of all instances together.
    memory: u64,
    max_memory: u64,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    walls: Walls,
}

impl Program {
    /// The program that runs `component`, whose compiled code is in `cache`. Its instances may use `memory` bytes.
    pub(super) fn new(settings: PluginConfig, component: Bytes, cache: PathBuf, memory: u64, max_body: u64) -> Self {
        let max_memory = memory + BASE_MEMORY + max_body * BODIES + component.len() as u64 * COMPILED;
        let [worker, plugin] = WORDS;
        let args = vec![worker.into(), plugin.into(), cache.clone().into()];
        // The socket activation protocol: descriptor 3 belongs to the process.
        let env = vec![("LISTEN_FDS".into(), "1".into())];
        let walls = Walls {
            level: Level::Sealed,
            read: vec![cache],
            runtime: libraries(),
            max_files: Some(MAX_FILES),
            max_processes: Some(MAX_THREADS),
            ..Walls::default()
        };
        Self { settings, component, memory, max_memory, args, env, walls }
    }

    pub(super) fn name(&self) -> &str {
        self.settings.name.as_str()
    }

    pub(super) fn max_instances(&self) -> u32 {
        self.settings.max_instances
    }

    /// What to start, with this channel.
    pub(super) fn start(&self, channel: UnixStream, stdout: Stdio) -> Start<'_> {
        Start {
            program: Path::new(OWN_PROGRAM),
            args: &self.args,
            env: &self.env,
            folder: Path::new(FOLDER),
            max_memory: Some(self.max_memory),
            cpu_weight: None,
            max_file: None,
            stdout,
            channel: Some(channel),
            walls: Some(&self.walls),
        }
    }

    /// The first message, and its bytes.
    pub(super) fn load(&self, granted: &Granted) -> (Load, Bytes) {
        let PluginConfig {
            name, config, max_memory, max_instances, max_uses, instances, timeout, hooks, grants, ..
        } = &self.settings;
        let secrets = grants.secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned()));
        let milliseconds = u64::try_from(timeout.get().as_millis()).unwrap_or(u64::MAX);
        let load = Load {
            name: name.clone(),
            config: config.clone(),
            max_memory: max_memory.bytes(),
            whole_memory: self.memory,
            max_instances: *max_instances,
            max_uses: *max_uses,
            is_warm: *instances == Instances::Warm,
            timeout: milliseconds,
            max_body: granted.max_body,
            hooks: hooks.clone(),
            invoke: grants.invoke.clone(),
            env: granted.env.clone(),
            secrets: secrets.collect(),
            monotonic: u64::try_from(granted.outside.clock.monotonic().as_nanos()).unwrap_or(u64::MAX),
        };
        (load, self.component.clone())
    }
}

/// The libraries of this program, which is also that of the process. On some machines they are not where the system's
/// are.
fn libraries() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let is_library = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.contains(".so"));
    let libraries: BTreeSet<PathBuf> = paths.filter(is_library).map(PathBuf::from).collect();
    libraries.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_libraries_of_this_program_are_files() {
        let libraries = super::libraries();
        assert!(libraries.iter().all(|library| library.is_file()), "{libraries:?}");
        let has_c_library = libraries.iter().any(|library| library.to_string_lossy().contains("libc"));
        // A program that is linked statically has none.
        assert!(has_c_library || cfg!(target_feature = "crt-static"), "{libraries:?}");
    }
}

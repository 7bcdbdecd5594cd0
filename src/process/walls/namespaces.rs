//! Namespaces of strict isolation. The launcher makes them and starts itself once more as the first process in them,
//! which becomes the worker; it then only waits for that process (`watch`). When the first process of a PID
//! namespace ends, the kernel kills all others of it, whatever they have done to hide.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::unistd::fexecve;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getegid, geteuid, getpid, kill_process, waitpid};
use rustix::thread::{CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities};

use crate::process::stat::Stat;

/// Words after that of the launcher: the second start, in the namespaces; waiting for it; and trying namespaces out.
pub(in crate::process) const INSIDE: &str = "inside";
pub(in crate::process) const WATCH: &str = "watch";
pub(in crate::process) const TRY: &str = "try-namespaces";
/// The command that asks for the launcher.
pub(in crate::process) const LAUNCHER: &str = "launch";
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Shared memory of the worker's own processes.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";
const SHARED_MEMORY_SIZE: &str = "size=64m,mode=1777";

/// Whether this machine lets this user make the namespaces. Starts a process to find out.
#[must_use]
pub(super) fn are_possible() -> bool {
    let mut command = Command::new(OWN_PROGRAM);
    command.args([LAUNCHER, TRY]).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Makes the namespaces, and a process in them. Carries out [`TRY`].
pub(in crate::process) fn try_out() -> anyhow::Result<ExitCode> {
    make()?;
    let status = Command::new(OWN_PROGRAM).arg("--version").stdout(Stdio::null()).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the namespaces, starts this launcher again in them with these arguments, and becomes the process that waits
/// for it.
pub(in crate::process) fn start_inside(args: &[OsString]) -> anyhow::Result<Infallible> {
    make().context("making namespaces")?;
    // Opened now: as soon as the other process mounts its own `/proc`, this one is no longer to be found in it.
    let program = File::open(OWN_PROGRAM).context("opening the launcher")?;
    let inside = Command::new(OWN_PROGRAM)
        .arg(LAUNCHER)
        .arg(std::process::id().to_string())
        .arg(INSIDE)
        .args(args)
        .spawn()
        .context("starting the first process of the namespaces")?;
    // This process stays until that one ends, and holds nothing of it: the gateway would not see its channel close.
    close_fds::set_fds_cloexec(3, &[]);
    let args = [OWN_PROGRAM, LAUNCHER, WATCH, &inside.id().to_string()].map(CString::new);
    let args = args.into_iter().collect::<Result<Vec<_>, _>>()?;
    let variable =
        |(name, value): (OsString, OsString)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat());
    let variables = std::env::vars_os().map(variable).collect::<Result<Vec<_>, _>>()?;
    let never = fexecve(program, &args, &variables).context("waiting for the worker")?;
    Ok(never)
}

/// Makes the namespaces; those of processes are for the next child.
fn make() -> anyhow::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let kinds = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if uid.is_root() {
        unshare(kinds)?;
    } else {
        unshare(kinds | CloneFlags::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        // The next program needs it for its mounts, and an ordinary user keeps no other capabilities over a start.
        let mounts = CapabilitySet::SYS_ADMIN;
        set_capabilities(None, CapabilitySets { effective: mounts, permitted: mounts, inheritable: mounts })?;
        configure_capability_in_ambient_set(mounts, true)?;
    }
    // What is mounted here must not appear outside.
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    Ok(())
}

/// Waits for the process that was started inside, and ends as it does. Carries out [`WATCH`].
pub(in crate::process) fn watch(process: Option<&OsStr>) -> anyhow::Result<ExitCode> {
    // Signals to the whole process group are for that process.
    let all = SigSet::all();
    all.thread_block()?;
    let process = process.and_then(OsStr::to_str).and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
    let process = process.context("no process to wait for")?;
    let status = loop {
        match waitpid(Some(process), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!("waiting for the worker: {error}"),
        }
    };
    if let Some(signal) = status.terminating_signal().and_then(Signal::from_named_raw) {
        all.thread_unblock()?;
        kill_process(getpid(), signal)?;
    }
    let code = exit_code(status);
    Ok(ExitCode::from(code))
}

/// The code as shells have it.
fn exit_code(status: WaitStatus) -> u8 {
    let signalled = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signalled).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// The process that waits for this one, seen from outside: from inside it has no id.
#[derive(Debug)]
pub(in crate::process) struct Watcher {
    pid: i32,
    /// What the kernel says about this process, in the words of the outer namespace.
    own: File,
}

impl Watcher {
    /// The watcher with this id. To be called before [`settle`].
    pub(in crate::process) fn new(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, own: File::open("/proc/self/stat")? })
    }

    /// Whether it has not ended.
    pub(in crate::process) fn is_there(&mut self) -> bool {
        let mut text = String::new();
        let read = self.own.read_to_string(&mut text);
        read.is_ok() && Stat::parse(&text).is_some_and(|own| own.parent == self.pid)
    }
}

/// Mounts what the first process in the namespaces has for itself: `/proc` with its own processes, and shared memory.
/// A machine that hides parts of `/proc`, as containers do, lets no user but root mount another one; it then stays.
/// Returns whether the shared memory is its own.
pub(super) fn settle() -> bool {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none: Option<&str> = None;
    let _stays = mount(Some("proc"), "/proc", Some("proc"), flags, none);
    let options = Some(SHARED_MEMORY_SIZE);
    mount(Some("tmpfs"), SHARED_MEMORY, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, options).is_ok()
}

//! System calls that a worker may not make: those that change the machine, look into other processes, make namespaces
//! or reach large, rarely used parts of the kernel. Each answers EPERM, as for a user without the permission. Node,
//! Python and what runs on them need none of them. Under strict isolation only what is listed in `allowed` may be
//! made.

mod allowed;

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use anyhow::Context;
use libc::c_long;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{self, Eq, MaskedEq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, apply_filter};

use crate::process::walls::level::Level;

/// Denied whatever their arguments.
const DENIED: &[c_long] = &[
    // Other processes: their memory, their descriptors, their course.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_syslog,
    // Keys of the kernel, which users share.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];
/// Calls that start programs and processes, apart from `clone`.
const PROCESSES: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];
/// Denied for other processes than the caller: the first argument is a process, and 0 the caller itself.
const DENIED_FOR_OTHERS: &[c_long] =
    &[libc::SYS_prlimit64, libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_sched_setattr];
/// Flags of `clone` that make namespaces. `clone3` has its flags in memory, where a filter cannot look.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Requests that put characters into a terminal, as if its user had typed them: TIOCSTI and TIOCLINUX.
const TYPING: [u64; 2] = [0x5412, 0x541c];
/// Set in the numbers of the x32 form of every call; some kernels for x86_64 take them.
const X32: i64 = 0x4000_0000;
/// Calls that have another number there: ptrace, kexec_load, move_pages, process_vm_readv, process_vm_writev; and
/// ioctl.
const ONLY_X32: [i64; 5] = [521, 528, 533, 539, 540];
const IOCTL_X32: i64 = 514;

/// The type of a socket without its flags: `SOCK_STREAM`.
const SOCK_STREAM: u64 = 1;
/// The flag of a send that also connects, which Landlock does not see.
const CONNECTING: u64 = 0x2000_0000;
/// Calls with such flags, and the place of the flags among their arguments.
const SENDING: [(c_long, u8); 3] = [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)];

/// Denies them to this process and all that it starts; under strict isolation also every call that [`allowed`] does not
/// list. `has_network`: whether TCP sockets may be made there. Returns whether this kernel has filters of system calls.
pub(super) fn restrict(level: Level, has_network: bool) -> anyhow::Result<bool> {
    for program in programs(level, has_network)? {
        match apply_filter(&program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error)) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Denies this process to start programs and processes. Returns whether this kernel has filters of system calls.
pub(super) fn seal() -> anyhow::Result<bool> {
    let mut rules: Rules = PROCESSES.iter().map(|number| (*number, Vec::new())).collect();
    // Of `clone` only the form that makes a thread.
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    rules.insert(libc::SYS_clone, vec![rule([is(0, MaskedEq(thread), 0)?])?]);
    match apply_filter(&denying(rules, libc::EPERM)?) {
        Ok(()) => Ok(true),
        Err(seccompiler::Error::Seccomp(error)) if is_missing(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether this kernel has no filters of system calls.
pub(super) fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

/// The filters, compiled for this machine.
pub(super) fn programs(level: Level, has_network: bool) -> anyhow::Result<Vec<BpfProgram>> {
    let mut rules: Rules = DENIED.iter().map(|number| (*number, Vec::new())).collect();
    for number in DENIED_FOR_OTHERS {
        rules.insert(*number, vec![rule([is(0, Ne, 0)?])?]);
    }
    let mut of_clone = Vec::new();
    for flag in NAMESPACES {
        let flag = u64::from(flag.cast_unsigned());
        of_clone.push(rule([is(0, MaskedEq(flag), flag)?])?);
    }
    rules.insert(libc::SYS_clone, of_clone);
    let mut of_ioctl = Vec::new();
    for request in TYPING {
        of_ioctl.push(rule([is(1, Eq, request)?])?);
    }
    if cfg!(target_arch = "x86_64") {
        rules.insert(IOCTL_X32, of_ioctl.clone());
    }
    rules.insert(libc::SYS_ioctl, of_ioctl);
    if level != Level::Standard {
        for (number, flags) in SENDING {
            rules.insert(number, vec![rule([is(flags, MaskedEq(CONNECTING), CONNECTING)?])?]);
        }
    }
    if cfg!(target_arch = "x86_64") {
        rules.extend(ONLY_X32.map(|number| (number, Vec::new())));
        let x32: Vec<_> = rules.iter().map(|(number, rules)| (number | X32, rules.clone())).collect();
        rules.extend(x32);
    }
    // A C library that finds no clone3 uses clone.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let mut programs = vec![denying(rules, libc::EPERM)?];
    if level != Level::Standard {
        programs.push(program(strict_rules(has_network)?, errno(libc::EPERM), SeccompAction::Allow)?);
    }
    // Last: of several filters that deny a call, the newest one says with which error.
    programs.push(denying(clone3, libc::ENOSYS)?);
    Ok(programs)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What strict isolation allows. Sockets are pairs for the processes of one worker, or streams over TCP: others lead
/// around the rules for ports.
fn strict_rules(has_network: bool) -> anyhow::Result<Rules> {
    let mut rules: Rules = allowed::CALLS.iter().map(|number| (*number, Vec::new())).collect();
    let stream = || is(1, MaskedEq(0xf), SOCK_STREAM);
    let local = is(0, Eq, u64::from(libc::AF_UNIX.cast_unsigned()))?;
    rules.insert(libc::SYS_socketpair, vec![rule([local, stream()?])?]);
    if has_network {
        let mut of_socket = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            for protocol in [0, libc::IPPROTO_TCP] {
                let family = is(0, Eq, u64::from(family.cast_unsigned()))?;
                of_socket.push(rule([family, stream()?, is(2, Eq, u64::from(protocol.cast_unsigned()))?])?);
            }
        }
        rules.insert(libc::SYS_socket, of_socket);
    }
    Ok(rules)
}

/// A condition about an argument.
fn is(argument: u8, compared: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, Dword, compared, value)
}

/// All of these conditions.
fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions.into())
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.cast_unsigned())
}

fn denying(rules: Rules, error: i32) -> anyhow::Result<BpfProgram> {
    program(rules, SeccompAction::Allow, errno(error))
}

fn program(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> anyhow::Result<BpfProgram> {
    let architecture = ARCH.try_into().context("no filters of system calls for this architecture")?;
    Ok(SeccompFilter::new(rules, otherwise, matching, architecture)?.try_into()?)
}

//! The descriptors and environment that workers get from the gateway, and their end when the gateway stops or dies.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::Signal;

use crate::deploys::package;
use crate::faulty::{
    Faulty, assert_error, assert_ok, hardest_to_find, has_control_group, pid_of_w, recorded, send_signal, timed,
    wait_count, wait_gone, zombies_of,
};
use crate::support::{Gateway, is_alive, wait_for};

#[test]
fn a7_a_worker_has_four_descriptors_even_if_the_gateway_inherits_more() {
    let extra: OwnedFd = fs::File::open("/dev/null").unwrap().into();
    let gateway = Gateway::start_with(&Faulty::functions("python", "python-deaths").toml(), |command| {
        let mapping = FdMapping { parent_fd: extra, child_fd: 9 };
        command.fd_mappings(vec![mapping]).unwrap();
    });
    gateway.wait_ready();
    assert!(fs::exists(format!("/proc/{}/fd/9", gateway.pid())).unwrap(), "the gateway does not have descriptor 9");
    assert_ok(&gateway.call("w", "descriptors", "[]"), "[0,1,2,3]");
    let worker = pid_of_w(&gateway);
    let target = |fd| fs::read_link(format!("/proc/{worker}/fd/{fd}")).unwrap().display().to_string();
    assert_eq!(target(0), "/dev/null");
    assert!(target(1).starts_with("pipe:") && target(2).starts_with("pipe:") && target(3).starts_with("socket:"));
}

#[test]
fn a6_a_workers_environment_has_only_what_is_configured() {
    for (runtime, folder) in [("node", "node-deaths"), ("python", "python-deaths")] {
        let own = ["METAGATE_CHANNEL_FD", "METAGATE_CONCURRENCY", "METAGATE_MAX_MESSAGE", "METAGATE_WORKER"];
        let table = Faulty::functions(runtime, folder).env("GREETING", "hello").env("HOME", "/nowhere").toml();
        let gateway = Gateway::start_with(&table, |command| {
            command.env("SECRET", "canary").env("NODE_OPTIONS", "").env("PYTHONSTARTUP", "/none");
            command.env("LANG", "C.UTF-8").env("HOME", "/home").env_remove("TZ").env("LC_ALL", "C");
        });
        gateway.wait_ready();
        let environment = fs::read(format!("/proc/{}/environ", pid_of_w(&gateway))).unwrap();
        let variables: BTreeMap<&str, &str> = str::from_utf8(&environment)
            .unwrap()
            .split_terminator('\0')
            .map(|variable| variable.split_once('=').unwrap())
            .collect();
        let xdg = ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"];
        let mut expected: Vec<&str> =
            ["GREETING", "HOME", "LANG", "PATH", "TMPDIR"].into_iter().chain(xdg).chain(own).collect();
        expected.sort_unstable();
        assert_eq!(variables.keys().copied().collect::<Vec<_>>(), expected, "{runtime}");
        assert_eq!((variables["GREETING"], variables["HOME"], variables["LANG"]), ("hello", "/nowhere", "C.UTF-8"));
        assert_eq!((variables["METAGATE_CHANNEL_FD"], variables["METAGATE_CONCURRENCY"]), ("3", "64"));
    }
}

#[test]
fn l5_a_call_in_flight_is_answered_before_the_gateway_stops() {
    let mut gateway = Gateway::ready(&Faulty::worker("stubborn").toml());
    let worker = pid_of_w(&gateway);
    thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("w", "nap", "[0.5]"));
        wait_count(&gateway, "w", "in_flight", 1);
        gateway.signal(Signal::TERM);
        assert_ok(&call.join().unwrap(), "0.5");
    });
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert!(!is_alive(worker));
    assert_eq!(gateway.worker_pids(), Vec::<u32>::new());
}

#[test]
fn l5_a_call_that_outlasts_the_drain_fails() {
    let mut gateway = Gateway::ready(&format!("[server]\ndrain = \"300ms\"\n{}", Faulty::worker("stubborn").toml()));
    let worker = pid_of_w(&gateway);
    let time = thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("w", "freeze", "[]"));
        wait_count(&gateway, "w", "in_flight", 1);
        gateway.signal(Signal::TERM);
        let (answer, time) = timed(|| call.join().unwrap());
        assert_error(&answer, 503, "draining");
        time
    });
    assert!((0.3..2.0).contains(&time.as_secs_f64()), "{time:?}");
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert!(!is_alive(worker));
}

#[test]
fn l5_a_second_signal_ends_the_gateway_at_once_even_if_a_worker_ignores_signals() {
    let mut gateway = Gateway::ready(&Faulty::worker("stubborn").toml());
    let worker = pid_of_w(&gateway);
    let grandchild: u32 = gateway.call("w", "start_child", "[]").body.parse().unwrap();
    let time = thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("w", "freeze", "[]"));
        wait_count(&gateway, "w", "in_flight", 1);
        gateway.signal(Signal::TERM);
        wait_for("the drain", || gateway.log().contains("stopping: waiting for calls in flight").then_some(()));
        assert!(!call.is_finished());
        gateway.signal(Signal::TERM);
        let (answer, time) = timed(|| call.join().unwrap());
        assert_error(&answer, 503, "draining");
        time
    });
    let (status, end) = timed(|| gateway.wait_end());
    println!("the call failed after {time:?}, the gateway ended {end:?} later");
    assert_eq!(status.code(), Some(0));
    assert!(time + end < Duration::from_secs(4), "{time:?} {end:?}");
    assert!(!is_alive(worker) && !is_alive(grandchild));
}

#[test]
fn l5_a_stopped_gateway_leaves_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("grandchildren");
    let gateway = Gateway::ready(&Faulty::worker("w14-grandchildren").env("RECORD", &record).toml());
    let worker = pid_of_w(&gateway);
    assert_eq!(gateway.call("w", hardest_to_find(worker), "[]").status, 200);
    assert_eq!(gateway.call("w", "leave_many", "[5]").status, 200);
    let mut pids: Vec<u32> = recorded(&record, 6).iter().map(|pid| pid.parse().unwrap()).collect();
    pids.push(worker);
    assert_eq!(gateway.stop().code(), Some(0));
    assert_eq!(pids.into_iter().filter(|pid| is_alive(*pid)).collect::<Vec<_>>(), Vec::<u32>::new());
}

#[test]
fn a_delete_waits_for_the_end_of_a_worker_whose_supervisor_panicked() {
    let gateway = Gateway::start_with("", |command| {
        command.env("METAGATE_TEST_PANIC", "worker-supervisor");
    });
    // The child keeps the worker's pipes open, so the end of the worker takes a moment.
    let code = "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\n\ndef f():\n    pass\n";
    gateway.ship("app", &package(&[("app.py", code)]));
    wait_for("the panic", || gateway.log().contains("task=worker-supervisor").then_some(()));
    assert_eq!(gateway.delete("app").status, 200);
    assert_eq!(gateway.worker_pids(), Vec::<u32>::new());
}

/// Kills the gateway itself. Its worker must end at once, and the processes of the worker when the next gateway starts.
fn nothing_outlives_a_killed_gateway(change: impl Fn(&mut Command), groups: impl Fn(bool) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("grandchildren");
    let table = Faulty::worker("w14-grandchildren").env("RECORD", &record).toml();
    let mut gateway = Gateway::start_with(&table, &change);
    gateway.wait_ready();
    let worker = pid_of_w(&gateway);
    assert!(groups(has_control_group(worker)));
    assert_eq!(gateway.call("w", hardest_to_find(worker), "[]").status, 200);
    let grandchild: u32 = recorded(&record, 1)[0].parse().unwrap();
    assert!(is_alive(grandchild));
    gateway.signal(Signal::KILL);
    gateway.wait_end();
    let gone = wait_gone(&[worker]);
    assert!(gone < Duration::from_secs(3), "{gone:?}");
    let (next, start) = timed(|| Gateway::start_with("", &change));
    assert!(start < Duration::from_secs(5), "the next gateway listens after {start:?}\n{}", next.log());
    let gone = wait_gone(&[grandchild]);
    assert!(gone < Duration::from_secs(3), "{gone:?}\n{}", next.log());
    assert_eq!(next.stop().code(), Some(0));
}

#[test]
fn l7_workers_end_with_a_killed_gateway_and_the_next_gateway_ends_their_children() {
    nothing_outlives_a_killed_gateway(|_| {}, |_| true);
}

/// Starts the gateway where it cannot use control groups: they are hidden from root, and an ordinary user cannot make
/// any.
pub(crate) fn without_control_groups(command: &mut Command) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (program, folder) = (command.get_program().to_owned(), command.get_current_dir().unwrap().to_owned());
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let stderr = fs::OpenOptions::new().append(true).open(folder.join("stderr.log")).unwrap();
    let hide = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
    *command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide, "sh"]).arg(program).args(args);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
}

#[test]
fn l7_without_control_groups_the_next_gateway_ends_all_that_a_killed_one_leaves() {
    nothing_outlives_a_killed_gateway(without_control_groups, |has_group| !has_group);
}

#[test]
fn w14_without_control_groups_the_children_of_a_dead_worker_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("grandchildren");
    let table = Faulty::worker("w14-grandchildren").env("RECORD", &record).toml();
    let gateway = Gateway::start_with(&table, without_control_groups);
    gateway.wait_ready();
    let worker = pid_of_w(&gateway);
    assert!(!has_control_group(worker));
    assert_eq!(gateway.call("w", "leave_marked", "[]").status, 200);
    assert_eq!(gateway.call("w", "leave_many", "[5]").status, 200);
    let mut pids: Vec<u32> = recorded(&record, 6).iter().map(|pid| pid.parse().unwrap()).collect();
    pids.push(worker);
    send_signal(worker, Signal::KILL);
    let gone = wait_gone(&pids);
    println!("seven processes ended after {gone:?}");
    assert!(gone < Duration::from_secs(3), "{gone:?}");
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    wait_for("the reaping of all seven", || zombies_of(&gateway).is_empty().then_some(()));
}

/// Starts the gateway as the first process of a PID namespace, as in a container: orphans become its children.
fn as_first_process(command: &mut Command) {
    let (program, folder) = (command.get_program().to_owned(), command.get_current_dir().unwrap().to_owned());
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let stderr = fs::OpenOptions::new().append(true).open(folder.join("stderr.log")).unwrap();
    *command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(program).args(args);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
}

#[test]
fn as_the_first_process_of_a_container_the_gateway_reaps_orphans_of_workers() {
    assert_reaps_orphans(as_first_process);
}

#[test]
fn an_orphan_reaper_that_panics_is_started_again() {
    assert_reaps_orphans(|command| {
        as_first_process(command);
        command.env("METAGATE_TEST_PANIC", "orphan-reaper");
    });
}

/// Starts a gateway as the first process of its PID namespace; a worker then leaves a child behind and dies.
#[track_caller]
fn assert_reaps_orphans(configure: impl FnOnce(&mut Command)) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("main.py"),
        "import os, signal\n\n\
         def leave():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            \
         os.execvp('sleep', ['sleep', '1000'])\n        os._exit(0)\n    os.wait()\n\n\
         def die():\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    .unwrap();
    let table = format!("[[deployment]]\nname = \"w\"\npath = {:?}\n", folder.path());
    let mut gateway = Gateway::start_with(&table, configure);
    gateway.wait_ready();
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", gateway.pid());
        let first = fs::read_to_string(path).unwrap().trim().to_owned();
        fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default()
    };
    assert_ok(&gateway.call("w", "leave", "[]"), "null");
    assert_eq!(children().split_whitespace().count(), 2, "expected the worker and the orphan: {}", children());
    assert_error(&gateway.call("w", "die", "[]"), 502, "worker_crashed");
    assert_ok(&gateway.call("w", "leave", "[]"), "null");
    wait_for("the reaping of the first orphan", || (children().split_whitespace().count() == 2).then_some(()));
    // The kernel ends a namespace, and every process in it, with its first process.
    gateway.signal(Signal::KILL);
    gateway.wait_end();
}

#[test]
fn a_gateway_that_stops_leaves_no_control_group_behind() {
    let gateway = Gateway::ready(&Faulty::functions("node", "node-deaths").toml());
    let start = format!("metagate-{}-", gateway.pid());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own: Vec<&str> = own.lines().filter_map(|line| line.rsplit(':').next()).collect();
    let groups = || {
        let mounts = ["", "unified", "memory", "pids", "cpu", "cpu,cpuacct"]
            .map(|mount| Path::new("/sys/fs/cgroup").join(mount));
        let places = mounts.iter().flat_map(|mount| own.iter().map(|path| mount.join(path.trim_start_matches('/'))));
        let entries = places.flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start)).count()
    };
    if has_control_group(gateway.pid()) {
        assert!(groups() > 0, "no group is found");
    }
    assert!(gateway.stop().success());
    assert_eq!(groups(), 0);
}

//! What a function may try against the gateway, other deployments and the machine: `tests/fixtures/escapes`. Each
//! attempt succeeds under `isolation = "none"`, which shows that it is a real one, and fails under "standard". `strict`
//! makes them under strict isolation.

pub(crate) mod place;

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;

use crate::endings::without_control_groups;
use crate::escapes::place::{Attempt, Place, assert_all};
use crate::faulty::{assert_ok, has_control_group, python, send_signal, wait_gone, zombies_of};
use crate::strict::open::Open;
use crate::support::{is_alive, wait_for};

#[test]
fn no_attempt_to_leave_the_walls_succeeds() {
    let place = Place::of_this_user("standard");
    assert_all(&place, &place.attempts(), false);
    if rustix::process::geteuid().is_root() {
        assert_all(&place, &place.attempts_of_root(), false);
    }
}

#[test]
fn without_isolation_every_attempt_succeeds() {
    let place = Place::of_this_user("none");
    assert_all(&place, &place.attempts(), true);
    if rustix::process::geteuid().is_root() {
        assert_all(&place, &place.attempts_of_root(), true);
    }
}

#[test]
fn no_attempt_of_an_ordinary_user_succeeds() {
    let Some(place) = Place::of_another_user("standard") else { return };
    assert_all(&place, &place.attempts(), false);
}

#[test]
fn without_isolation_every_attempt_of_an_ordinary_user_succeeds() {
    let Some(place) = Place::of_another_user("none") else { return };
    // The gateway's memory and environment are closed to its own user in any case.
    let closed = format!("/proc/{}", place.gateway.pid());
    let attempts: Vec<Attempt> =
        place.attempts().into_iter().filter(|(_, on)| !on.to_string().contains(&closed)).collect();
    assert_all(&place, &attempts, true);
    let open = Open::new();
    assert_all(&place, &open.attempts(&place), true);
}

#[test]
fn no_attempt_of_a_user_of_its_own_succeeds() {
    let Some(place) = Place::of_users("standard") else { return };
    assert_all(&place, &place.attempts(), false);
    assert_all(&place, &place.attempts_of_root(), false);
}

#[test]
fn a7_a_worker_has_four_descriptors_and_no_capabilities() {
    let place = Place::of_this_user("standard");
    assert_ok(&place.gateway.call("w", "descriptors", "[]"), "[0,1,2,3]");
    for (key, value) in [("CapEff", "0000000000000000"), ("CapBnd", "0000000000000000"), ("NoNewPrivs", "1")] {
        if key != "CapBnd" || rustix::process::geteuid().is_root() {
            assert_ok(&place.gateway.call("w", "status", &json!([key]).to_string()), &json!(value).to_string());
        }
    }
}

/// Leaves a daemon behind, ends its worker, and returns the daemon's process.
fn daemon_of_a_dead_worker(place: &Place) -> u32 {
    let worker = place.pid_of("w");
    let groups: Vec<PathBuf> =
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"]
            .into_iter()
            .map(PathBuf::from)
            .filter(|group| group.join("cgroup.procs").exists())
            .collect();
    let daemon = place.gateway.call("w", "leave_daemon", &json!([groups]).to_string()).body.parse().unwrap();
    assert!(is_alive(daemon));
    send_signal(worker, Signal::KILL);
    wait_gone(&[worker]);
    wait_for("the next worker", || (place.gateway.call("w", "pid", "[]").status == 200).then_some(()));
    daemon
}

#[test]
fn w14_a_daemon_ends_with_its_worker() {
    let place = Place::of_this_user("standard");
    wait_gone(&[daemon_of_a_dead_worker(&place)]);
}

#[test]
fn w14_a_daemon_ends_with_its_worker_where_there_are_no_control_groups() {
    let place = Place::new("isolation = \"standard\"", python(), |command, _| without_control_groups(command));
    assert!(!has_control_group(place.pid_of("w")));
    wait_gone(&[daemon_of_a_dead_worker(&place)]);
    // It is a child of the gateway, and no zombie is left of it.
    wait_for("its reaping", || zombies_of(&place.gateway).is_empty().then_some(()));
}

#[test]
fn a_daemon_ends_with_its_worker_if_the_gateway_is_an_ordinary_user() {
    let Some(place) = Place::of_another_user("standard") else { return };
    wait_gone(&[daemon_of_a_dead_worker(&place)]);
}

#[test]
fn without_isolation_a_daemon_outlives_its_worker() {
    let place = Place::of_this_user("none");
    let daemon = daemon_of_a_dead_worker(&place);
    assert!(is_alive(daemon));
    send_signal(daemon, Signal::KILL);
}

#[test]
fn w15_descriptors_and_processes_are_limited() {
    let place = Place::of_this_user("standard");
    let opened: u64 = place.gateway.call("w", "open_many", "[5000]").body.parse().unwrap();
    assert!(opened < 4096, "{opened}");
    if fs::read_to_string("/proc/self/cgroup").unwrap().contains("pids") {
        let forked: u64 = place.gateway.call("w", "fork_many", "[600]").body.parse().unwrap();
        assert!(forked < 512, "{forked}");
    }
}

//! Shares of the processors: process trees have groups for cpu only while they have more busy threads than there are
//! processors, or while one has a weight of its own.

use std::fs;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::faulty::send_signal;
use crate::limits_reached::{group_of, has};
use crate::support::{Gateway, fixture, wait_for};

/// The weight of the group for cpu of a process, as version 2 or 1 counts it; none if it has no group of its own.
fn weight(gateway: &Gateway, pid: &str) -> Option<String> {
    let group = group_of(pid, "cpu");
    if !group.to_str().unwrap().contains(&format!("/metagate-{}-", gateway.pid())) {
        return None;
    }
    ["cpu.weight", "cpu.shares"].iter().find_map(|file| fs::read_to_string(group.join(file)).ok())
}

fn assert_weight(gateway: &Gateway, deployment: &str, v2: &str, v1: &str) {
    let pid = gateway.call(deployment, "pid", "[]").body;
    let weight = wait_for("the weight", || weight(gateway, &pid));
    assert!(weight == v2 || weight == v1, "{weight:?}");
}

/// The time that processors have spent on these processes, in clock ticks.
fn used(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    };
    pids.iter().map(of).sum()
}

fn processors() -> u64 {
    thread::available_parallelism().map_or(1, NonZero::get) as u64
}

/// Has a deployment burn the time of the processors in so many processes.
fn burn(gateway: &Gateway, deployment: &str, count: u64) -> Vec<u32> {
    let answer = gateway.call(deployment, "burn", &format!("[{count}]"));
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[test]
fn w15_a_deployment_of_many_busy_processes_does_not_starve_its_neighbour() {
    let path = fixture("escapes");
    let tables = ["hog", "neighbour"]
        .map(|name| format!("[[deployment]]\nname = {name:?}\npath = {path:?}\nmax_processes = 1000\n"))
        .concat();
    // Its task goes on after a panic.
    let gateway = Gateway::start_with(&tables, |command| {
        command.env("METAGATE_TEST_PANIC", "processor-shares");
    });
    gateway.wait_ready();
    let worker = gateway.call("hog", "pid", "[]").body;
    assert_eq!(weight(&gateway, &worker), None, "a calm machine has no groups, which make calls slower");
    let hog = burn(&gateway, "hog", (20 * processors()).min(500));
    let neighbour = burn(&gateway, "neighbour", 1);
    if !has(&gateway, "processors") {
        assert_eq!(weight(&gateway, &worker), None, "the machine permits none");
        return;
    }
    // By processes, the neighbour would have a twentieth of one processor. By trees it has at least half of one.
    let is_fair = || {
        let before = (used(&neighbour), used(&hog));
        thread::sleep(Duration::from_millis(300));
        let (own, others) = (used(&neighbour) - before.0, used(&hog) - before.1);
        others > 0 && own * 4 * processors() >= others
    };
    wait_for("a fair share", || (0..3).all(|_| is_fair()).then_some(()));
    assert!(weight(&gateway, &worker).is_some());

    for pid in hog.into_iter().chain(neighbour) {
        send_signal(pid, Signal::KILL);
    }
    // Without this file the gateway cannot know that nothing waits for a processor.
    if fs::exists("/proc/pressure/cpu").unwrap() {
        wait_for("no groups on a calm machine", || weight(&gateway, &worker).is_none().then_some(()));
    }
    assert_eq!(gateway.call("hog", "pid", "[]").body, worker, "the worker is the same");
}

#[test]
fn a_weight_gives_every_worker_a_share_of_the_processors() {
    let path = fixture("escapes");
    let tables = ["name = \"like\"", "name = \"heavy\"\ncpu_weight = 200"]
        .map(|keys| format!("[[deployment]]\npath = {path:?}\n{keys}\n"))
        .concat();
    let gateway = Gateway::ready(&tables);
    if has(&gateway, "processors") {
        assert_weight(&gateway, "like", "100\n", "1024\n");
        assert_weight(&gateway, "heavy", "200\n", "2048\n");
    }
}

//! Deploys while calls run: none is lost, each is answered by one release, nothing is left over.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{package, versioned};
use crate::support::Gateway;

const REDEPLOYS: u32 = 200;
const CALLERS: u32 = 4;
const CALLS_PER_SECOND: u32 = 300;

#[test]
fn l3_redeploys_lose_no_call_and_leave_nothing_behind() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    let before = descriptors();
    let acknowledged = AtomicU32::new(1);
    let uploaded = AtomicU32::new(1);
    let over = AtomicBool::new(false);
    let called: u32 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    let pause = Duration::from_secs(1) * CALLERS / CALLS_PER_SECOND;
                    let (mut calls, mut newest) = (0, 0);
                    let begun = Instant::now();
                    while !over.load(Ordering::Relaxed) {
                        let at_least = acknowledged.load(Ordering::SeqCst);
                        let answer = gateway.call("app", "version", "");
                        let at_most = uploaded.load(Ordering::SeqCst);
                        assert_eq!(answer.status, 200, "{answer:?}\n{}", gateway.log());
                        let version: u32 = answer.body.parse().unwrap();
                        assert!((at_least..=at_most).contains(&version), "{version} not in {at_least}..={at_most}");
                        assert!(version >= newest, "{version} after {newest}");
                        newest = version;
                        calls += 1;
                        std::thread::sleep((pause * calls).saturating_sub(begun.elapsed()));
                    }
                    calls
                })
            })
            .collect();
        for number in 2..=REDEPLOYS + 1 {
            uploaded.store(number, Ordering::SeqCst);
            gateway.ship("app", &versioned(number));
            acknowledged.store(number, Ordering::SeqCst);
        }
        over.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert!(called > REDEPLOYS, "only {called} calls");
    crate::support::wait_for("one worker and the descriptors of before", || {
        (gateway.worker_pids().len() == 1 && descriptors() <= before + CALLERS as usize).then_some(())
    });
    let kept = std::fs::read_dir(gateway.folder.path().join("data/deployments/app/files")).unwrap().count();
    assert!(kept <= 6, "{kept} folders of releases");
    assert_eq!(std::fs::read_dir(gateway.folder.path().join("data/staging")).unwrap().count(), 0);
}

#[test]
fn l3_a_call_under_way_ends_on_the_release_that_it_began_on() {
    let gateway = Gateway::start("");
    let slow = "import time\ndef version():\n    time.sleep(1)\n    return 'old'\n";
    gateway.ship("app", &package(&[("app.py", slow)]));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("app", "version", ""));
        crate::support::wait_for("the call", || (gateway.readiness("app")["in_flight"] == 1).then_some(()));
        gateway.ship("app", &versioned(2));
        assert_eq!(gateway.call("app", "version", "").body, "2");
        assert_eq!(call.join().unwrap().body, "\"old\"");
    });
    crate::support::wait_for("the old worker's end", || (gateway.worker_pids().len() == 1).then_some(()));
}

#[test]
fn l2_a_delete_lets_calls_under_way_finish_and_takes_no_new_ones() {
    let gateway = Gateway::start("");
    let slow = "import time\ndef slow():\n    time.sleep(1)\n    return 'done'\ndef quick():\n    return 1\n";
    gateway.ship("app", &package(&[("app.py", slow)]));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("app", "slow", ""));
        crate::support::wait_for("the call", || (gateway.readiness("app")["in_flight"] == 1).then_some(()));
        let delete = scope.spawn(|| gateway.delete("app"));
        crate::support::wait_for("no route", || (gateway.call("app", "quick", "").status == 404).then_some(()));
        assert_eq!(call.join().unwrap().body, "\"done\"");
        assert_eq!(delete.join().unwrap().status, 200);
    });
    assert_eq!(gateway.worker_pids(), Vec::<u32>::new());
}

#[test]
fn l2_a_call_that_outlasts_the_drain_of_a_delete_gets_an_error() {
    let gateway = Gateway::start("[server]\ndrain = \"300ms\"\n");
    gateway.ship("app", &package(&[("app.py", "import time\ndef slow():\n    time.sleep(20)\n")]));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("app", "slow", ""));
        crate::support::wait_for("the call", || (gateway.readiness("app")["in_flight"] == 1).then_some(()));
        assert_eq!(gateway.delete("app").status, 200);
        let cut = call.join().unwrap();
        assert_eq!((cut.status, cut.code()), (502, "deleted"));
    });
    assert_eq!(gateway.worker_pids(), Vec::<u32>::new());
}

#[test]
fn l1_deploys_of_one_name_run_one_at_a_time_and_too_many_are_refused() {
    let gateway = Gateway::start("");
    let slow = |number: u32| {
        package(&[("app.py", &format!("import time\ntime.sleep(0.3)\ndef version():\n    return {number}\n"))])
    };
    gateway.ship("app", &slow(1));
    assert_eq!(gateway.upload("app", &slow(2), "?replace=true").status, 201);
    let most = AtomicU32::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(u32::try_from(gateway.worker_pids().len()).unwrap(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let deploys: Vec<_> = (0..20)
            .map(|number| {
                scope.spawn({
                    let gateway = &gateway;
                    move || gateway.create("app", &json!([{ "name": "N", "value": number.to_string() }]))
                })
            })
            .collect();
        let codes: Vec<(u16, String)> = deploys
            .into_iter()
            .map(|deploy| deploy.join().unwrap())
            .map(|answer| (answer.status, answer.code().to_owned()))
            .collect();
        over.store(true, Ordering::Relaxed);
        let kinds: BTreeSet<&str> = codes.iter().map(|(_, code)| code.as_str()).collect();
        assert_eq!(kinds, BTreeSet::from(["(no error)", "deploy_in_progress"]), "{codes:?}");
        let taken = codes.iter().filter(|(status, _)| *status == 200).count();
        assert!(taken <= 10, "{taken} were taken at once");
    });
    assert!(most.load(Ordering::Relaxed) <= 2, "{} workers at once", most.load(Ordering::Relaxed));
    assert_eq!(gateway.call("app", "version", "").body, "2");
}

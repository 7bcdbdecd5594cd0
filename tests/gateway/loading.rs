//! Workers that do not come up, or not for long: why is told at once, tries get rarer, and the first good one serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;

use crate::faulty::{
    Faulty, assert_error, assert_ok, descriptors_of, lines_of, pid_of_w, recorded, send_signal, timed, wait_count,
    wait_gone, zombies_of,
};
use crate::support::{Answer, Gateway, wait_for};

/// Waits until `w` has failed, and gives the reason.
#[track_caller]
fn failure_of_w(gateway: &Gateway) -> Value {
    wait_for("the failure", || {
        let readiness = gateway.readiness("w");
        (readiness["status"] == "failed").then(|| readiness["error"].clone())
    })
}

fn metadata(mode: &str) -> Faulty {
    Faulty::worker("w11-metadata").env("MODE", mode)
}

#[test]
fn w11_the_first_metadata_counts_even_before_the_load() {
    let gateway = Gateway::ready(&metadata("early").toml());
    assert_ok(&gateway.call("w", "early", "[]"), "\"early\"");
    assert_error(&gateway.call("w", "second", "[]"), 404, "function_not_found");
}

#[test]
fn w11_metadata_that_comes_again_is_ignored() {
    let gateway = Gateway::ready(&metadata("twice").toml());
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_ok(&gateway.call("w", "second", "[]"), "\"second\"");
    let inspected = gateway.get("/api/inspect").body;
    assert!(inspected.contains("\"early\""), "{inspected}");
}

#[test]
fn w11_metadata_of_a_mebibyte_is_taken_and_one_more_byte_fails_the_load() {
    let gateway = Gateway::ready(&metadata("huge").env("SIZE", "1048576").toml());
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    let gateway = Gateway::start(&metadata("huge").env("SIZE", "1048577").toml());
    let failure = failure_of_w(&gateway);
    assert_eq!(failure["code"], "load_failed", "{failure}");
    assert!(
        failure["message"].as_str().unwrap().contains("metadata of 1048577 bytes exceeds the limit (1048576)"),
        "{failure}"
    );
}

#[test]
fn w11_metadata_after_its_time_is_too_late() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("pids");
    let gateway = Gateway::start(&metadata("late").env("RECORD", &record).keys("load_timeout = \"300ms\"").toml());
    assert_eq!(failure_of_w(&gateway)["code"], "load_timeout");
    wait_gone(&[recorded(&record, 1)[0].parse().unwrap()]);
}

#[test]
fn w11_metadata_without_packages_fails_the_load() {
    let gateway = Gateway::start(&metadata("unusable").toml());
    let failure = failure_of_w(&gateway);
    assert_eq!(failure["code"], "load_failed", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("metadata without \"packages\""), "{failure}");
}

fn exits(mode: &str) -> Faulty {
    Faulty::worker("w12-exits-while-loading").env("MODE", mode)
}

#[test]
fn w12_a_worker_that_ends_while_loading_is_told_at_once_with_its_last_words() {
    for (mode, how) in [
        ("exit", "exited with code 3 before it was ready"),
        ("kill", "exited by signal 9 before it was ready"),
        ("close", "closed its channel before it was ready"),
        ("garbage", "broke the protocol"),
    ] {
        let gateway = Gateway::start(&exits(mode).toml());
        let (failure, time) = timed(|| failure_of_w(&gateway));
        assert!(time < Duration::from_secs(3), "{mode}: {time:?}");
        assert_eq!(failure["code"], "load_failed", "{failure}");
        assert!(failure["message"].as_str().unwrap().contains(how), "{mode}: {failure}");
        let stderr = failure["stderr"].as_str().unwrap();
        assert!(stderr.ends_with("y\nImportError: no module named \"nothing\""), "{mode}: {failure}");
        assert_eq!(stderr.len(), 4096, "{mode}: {failure}");
        assert_eq!(gateway.get("/readyz").status, 503);
    }
}

#[test]
fn w12_other_deployments_serve_while_one_cannot_load() {
    let other = Faulty::worker("w01-killed").named("other");
    let gateway = Gateway::start(&format!("{}{}", exits("exit").toml(), other.toml()));
    failure_of_w(&gateway);
    wait_count(&gateway, "other", "ready_workers", 1);
    assert_ok(&gateway.call("other", "echo", "[1]"), "1");
    assert_eq!(gateway.readiness("w")["status"], "failed");
}

#[test]
fn w13_a_load_beyond_its_time_is_ended_with_its_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("pids");
    let slow = Faulty::worker("w13-loads-slowly").env("RECORD", &record).keys("load_timeout = \"500ms\"");
    let other = Faulty::worker("w01-killed").named("other");
    let gateway = Gateway::start(&format!("{}{}", slow.toml(), other.toml()));
    let failure = failure_of_w(&gateway);
    assert_eq!(failure["code"], "load_timeout", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("was not ready within 500ms"), "{failure}");
    let first: Vec<u32> = recorded(&record, 1)[0].split(' ').map(|pid| pid.parse().unwrap()).collect();
    wait_gone(&first);
    assert_ok(&gateway.call("other", "echo", "[1]"), "1");
}

/// Asks `w` until it answers with this code; what it answers before is that no worker is there.
#[track_caller]
fn wait_code(gateway: &Gateway, code: &str) -> Answer {
    wait_for(code, || {
        let answer = gateway.call("w", "echo", "[1]");
        assert_ne!(answer.status, 200, "{answer:?}");
        (answer.code() == code).then_some(answer)
    })
}

/// The ticks of processor time that a process has used, those of its children not counted; 100 a second.
fn ticks_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn w16_a_worker_that_dies_at_once_again_and_again_is_tried_ever_more_rarely() {
    let folder = tempfile::tempdir().unwrap();
    let (record, ok) = (folder.path().join("starts"), folder.path().join("ok"));
    let gateway = Gateway::start(&Faulty::worker("w16-crash-loop").env("RECORD", &record).env("OK", &ok).toml());
    let looping = wait_code(&gateway, "crash_loop");
    assert_eq!(looping.status, 503);
    assert!(looping.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1, "{looping:?}");
    assert!(recorded(&record, 5).len() <= 6, "five bad starts are a crash loop");

    // At once, and no call makes a start of its own.
    let started = lines_of(&record).len();
    let ticks = ticks_of(gateway.pid());
    let ((), second) = timed(|| {
        let quickest = (0..20)
            .map(|_| {
                let (answer, time) = timed(|| gateway.call("w", "echo", "[1]"));
                assert_ne!(answer.status, 200);
                time
            })
            .min();
        println!("refused within {quickest:?}");
        assert!(quickest < Some(Duration::from_millis(20)), "{quickest:?}");
        std::thread::sleep(Duration::from_secs(1));
    });
    assert!(lines_of(&record).len() <= started + 2, "{} → {:?}", started, lines_of(&record));
    println!("{} ticks within {second:?}", ticks_of(gateway.pid()) - ticks);

    // 0, 100, 200, 400 ms, give or take a fifth, and the time that a start takes.
    let starts: Vec<f64> = lines_of(&record).iter().map(|line| line.parse().unwrap()).collect();
    let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("pauses {gaps:?}");
    for (gap, least) in gaps.iter().zip([0.0, 0.08, 0.16, 0.32, 0.64]) {
        assert!(*gap >= least, "{gaps:?}");
    }

    fs::write(&ok, "").unwrap();
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
}

#[test]
fn w16_a_worker_that_has_answered_is_started_again_at_once_however_often_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let (record, ok) = (folder.path().join("starts"), folder.path().join("ok"));
    fs::write(&ok, "").unwrap();
    let gateway = Gateway::ready(&Faulty::worker("w16-crash-loop").env("RECORD", &record).env("OK", &ok).toml());
    for round in 1..=8 {
        assert_ok(&gateway.call("w", "answer_and_die", "[]"), "\"good\"");
        wait_count(&gateway, "w", "restarts", round);
        assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    }
    assert_eq!(lines_of(&record).len(), 9);
}

/// A program of the test's own that runs the worker, so that it can be taken away.
fn program(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("program");
    fs::write(&program, "#!/bin/sh\nexec python3 -S worker.py\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn deployment_with(program: &Path) -> String {
    let toml = Faulty::worker("w18-spawn-fails").toml();
    let line = toml.lines().find(|line| line.starts_with("command = ")).unwrap().to_owned();
    toml.replace(&line, &format!("command = [{program:?}]"))
}

#[test]
fn w18_a_program_that_is_gone_is_told_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let gateway = Gateway::ready(&deployment_with(&program));
    let worker = pid_of_w(&gateway);
    let open = descriptors_of(gateway.pid());
    let away = folder.path().join("away");
    fs::rename(&program, &away).unwrap();
    send_signal(worker, Signal::KILL);
    let refused = wait_code(&gateway, "spawn_failed");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(gateway.readiness("w")["error"]["code"], "spawn_failed");
    fs::rename(&away, &program).unwrap();
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
    wait_for("as many descriptors as before", || (descriptors_of(gateway.pid()) <= open).then_some(()));
}

/// Sets how many descriptors a process may have open, and gives what it was.
fn limit_descriptors(pid: u32, current: u64) -> u64 {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let before = rustix::process::prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
    before.current.unwrap_or(u64::MAX)
}

#[test]
fn w18_without_descriptors_a_start_fails_and_leaves_none_behind() {
    let gateway = Gateway::ready(&Faulty::worker("w18-spawn-fails").toml());
    let worker = pid_of_w(&gateway);
    let open = descriptors_of(gateway.pid());
    // Those that are open stay open; there are no new ones.
    let before = limit_descriptors(gateway.pid(), 3);
    send_signal(worker, Signal::KILL);
    // The client's connection is there already: it needs no descriptor.
    let refused = wait_code(&gateway, "spawn_failed");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    limit_descriptors(gateway.pid(), before);
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
    wait_for("as many descriptors as before", || (descriptors_of(gateway.pid()) <= open).then_some(()));
}

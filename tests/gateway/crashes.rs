//! Workers that die: their calls fail at once, the next call finds a new worker, and no process of the old one is left.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faulty::{
    Faulty, assert_error, assert_ok, hardest_to_find, lines_of, pid_of_w, recorded, send_signal, timed, wait_count,
    wait_gone, zombies_of,
};
use crate::support::{Answer, Gateway, fixture, wait_for};

/// Makes calls of `w` that are not answered, runs `end`, and returns the answers and the time from `end` to the last
/// of them.
fn held_until(gateway: &Gateway, calls: usize, end: impl FnOnce()) -> (Vec<Answer>, Duration) {
    thread::scope(|scope| {
        let held: Vec<_> = (0..calls).map(|_| scope.spawn(|| gateway.call("w", "hold", "[]"))).collect();
        wait_count(gateway, "w", "in_flight", calls as u64);
        let (answers, time) = timed(|| {
            end();
            held.into_iter().map(|call| call.join().unwrap()).collect()
        });
        (answers, time)
    })
}

#[test]
fn w1_a_killed_workers_calls_fail_and_the_next_succeeds() {
    let gateway = Gateway::ready(&Faulty::worker("w01-killed").toml());
    let worker = pid_of_w(&gateway);
    let (answers, failed) = held_until(&gateway, 3, || send_signal(worker, Signal::KILL));
    for answer in &answers {
        assert_error(answer, 502, "worker_crashed");
        assert!(answer.message().contains("\"w\" exited by signal 9 during the call"), "{answer:?}");
    }
    let (next, restarted) = timed(|| gateway.call("w", "echo", "[1]"));
    println!("three calls failed after {failed:?}, the next one was answered after {restarted:?}");
    assert_ok(&next, "1");
    assert!(failed < Duration::from_millis(500), "{failed:?}");
    assert!(restarted < Duration::from_secs(2), "{restarted:?}");
    assert_ne!(pid_of_w(&gateway), worker);
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
}

#[test]
fn w1_an_answer_that_was_written_before_the_death_is_delivered() {
    let gateway = Gateway::ready(&Faulty::worker("w01-killed").toml());
    for round in 1..=10 {
        assert_ok(&gateway.call("w", "answer_and_die", "[]"), "\"last words\"");
        wait_count(&gateway, "w", "restarts", round);
    }
}

#[test]
fn w6_half_a_line_before_the_death_is_no_answer() {
    let gateway = Gateway::ready(&Faulty::worker("w06-half-line").toml());
    for function in ["half", "whole_but_the_break"] {
        for end in ["kill", "exit"] {
            let answer = gateway.call("w", function, &format!("[{end:?}]"));
            assert_error(&answer, 502, "worker_crashed");
            assert_ok(&gateway.call("w", "echo", "[\"next\"]"), "\"next\"");
        }
    }
}

/// Has a worker leave a process behind, ends the worker by `end`, and checks that no process of it is left soon after.
fn grandchildren_are_ended(end: impl FnOnce(&Gateway, u32)) {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("grandchildren");
    let gateway = Gateway::ready(&Faulty::worker("w14-grandchildren").env("RECORD", &record).toml());
    let worker = pid_of_w(&gateway);
    assert_eq!(gateway.call("w", hardest_to_find(worker), "[]").status, 200);
    let grandchild: u32 = recorded(&record, 1)[0].parse().unwrap();
    let (answers, failed) = held_until(&gateway, 1, || end(&gateway, worker));
    assert_error(&answers[0], 502, "worker_crashed");
    let gone = wait_gone(&[worker, grandchild]);
    assert!(failed < Duration::from_millis(500), "{failed:?}");
    assert!(gone < Duration::from_secs(2), "{gone:?}");
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
}

#[test]
fn w14_a_grandchild_that_keeps_the_channel_open_hides_no_death_and_is_ended() {
    grandchildren_are_ended(|_, worker| send_signal(worker, Signal::KILL));
}

#[test]
fn w14_a_grandchild_is_ended_when_its_worker_exits_by_itself() {
    grandchildren_are_ended(|gateway, _| {
        assert_error(&gateway.call("w", "leave", "[]"), 502, "worker_crashed");
    });
}

#[test]
fn w17_a_worker_that_exits_cleanly_fails_its_call_and_is_started_again() {
    let gateway = Gateway::ready(&Faulty::worker("w17-goes-away").toml());
    let answer = gateway.call("w", "leave", "[]");
    assert_error(&answer, 502, "worker_crashed");
    assert!(answer.message().contains("exited with code 0"), "{answer:?}");
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_ok(&gateway.call("w", "answer_and_leave", "[]"), "\"bye\"");
    wait_count(&gateway, "w", "restarts", 2);
    assert_ok(&gateway.call("w", "echo", "[2]"), "2");
}

#[test]
fn w17_a_worker_that_closes_its_channel_and_keeps_running_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("pids");
    let gateway = Gateway::ready(&Faulty::worker("w17-goes-away").env("RECORD", &record).toml());
    for (round, function) in ["close", "shut_down_writing"].into_iter().enumerate() {
        let (answer, failed) = timed(|| gateway.call("w", function, "[]"));
        assert_error(&answer, 502, "worker_crashed");
        println!("{function}: failed after {failed:?}");
        assert!(failed < Duration::from_secs(3), "{failed:?}");
        let pid = recorded(&record, round + 1)[round].parse().unwrap();
        wait_gone(&[pid]);
        assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    }
}

/// Each function ends its worker: its call fails with the cause, and the next call succeeds.
fn every_death_fails_its_call(toml: &str, deaths: &[(&str, &str)]) {
    let gateway = Gateway::ready(toml);
    for (function, how) in deaths {
        let (answer, failed) = timed(|| gateway.call("w", function, "[]"));
        assert_error(&answer, 502, "worker_crashed");
        assert!(answer.message().contains(how), "{function}: {answer:?}");
        assert!(failed < Duration::from_secs(3), "{function}: {failed:?}");
        assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    }
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
}

#[test]
fn w1_every_way_a_node_worker_dies_fails_the_call_with_its_cause() {
    every_death_fails_its_call(
        &Faulty::functions("node", "node-deaths").toml(),
        &[("aborts", "exited by signal 6"), ("exits", "exited with code 0"), ("segfaults", "exited by signal 11")],
    );
}

#[test]
fn w1_every_way_a_python_worker_dies_fails_the_call_with_its_cause() {
    every_death_fails_its_call(
        &Faulty::functions("python", "python-deaths").toml(),
        &[
            ("aborts", "exited by signal 6"),
            ("exits", "exited with code 0"),
            ("segfaults", "exited by signal 11"),
            ("terminated", "exited by signal 15"),
        ],
    );
}

/// Calls `function` in loops, each call with a text of its own, while `disturb` runs. Returns the answers by text.
fn call_in_loops(gateway: &Gateway, callers: usize, function: &str, disturb: impl FnOnce()) -> HashMap<String, Answer> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let loops: Vec<_> = (0..callers)
            .map(|caller| {
                let over = &over;
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let text = format!("{caller}-{}", answers.len());
                        let answer = gateway.call("w", function, &format!("[{text:?}]"));
                        answers.push((text, answer));
                    }
                    answers
                })
            })
            .collect();
        disturb();
        over.store(true, Ordering::Relaxed);
        loops.into_iter().flat_map(|one| one.join().unwrap()).collect()
    })
}

/// Checks that every call got its own answer or failed by the crash. Returns how many failed.
fn own_answer_or_crash(answers: &HashMap<String, Answer>) -> usize {
    let failed = AtomicUsize::new(0);
    for (text, answer) in answers {
        if answer.status == 200 {
            assert_ok(answer, &format!("{text:?}"));
        } else {
            assert_error(answer, 502, "worker_crashed");
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }
    failed.into_inner()
}

#[test]
fn w1_under_many_callers_a_kill_costs_only_the_calls_in_flight() {
    const CALLERS: usize = 64;
    const KILLS: usize = 4;
    let gateway = Gateway::ready(&Faulty::functions("node", "node-deaths").toml());
    let mut worst = Duration::ZERO;
    let answers = call_in_loops(&gateway, CALLERS, "slowEcho", || {
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(400));
            let worker = pid_of_w(&gateway);
            let killed = Instant::now();
            send_signal(worker, Signal::KILL);
            while gateway.call("w", "echo", "[1]").status != 200 {}
            worst = worst.max(killed.elapsed());
        }
        thread::sleep(Duration::from_millis(200));
    });
    let failed = own_answer_or_crash(&answers);
    println!(
        "{} calls, {failed} failed by {KILLS} kills; calls succeeded again after at most {worst:?}",
        answers.len()
    );
    assert!(answers.len() > CALLERS * (KILLS + 1), "{}", answers.len());
    assert!(failed <= KILLS * CALLERS, "{failed}");
    assert!(worst < Duration::from_secs(3), "{worst:?}");
}

#[test]
fn w1_a_call_never_runs_twice() {
    const KILLS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("ran");
    let gateway = Gateway::ready(&Faulty::functions("node", "node-deaths").env("RECORD", &record).toml());
    let answers = call_in_loops(&gateway, 16, "once", || {
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(300));
            send_signal(pid_of_w(&gateway), Signal::KILL);
        }
        thread::sleep(Duration::from_millis(300));
    });
    let failed = own_answer_or_crash(&answers);
    let runs = runs_by_text(&record);
    assert!(runs.values().all(|runs| *runs == 1), "a call ran twice: {runs:?}");
    for (text, answer) in &answers {
        assert!(answer.status != 200 || runs.contains_key(text), "{text} was answered but never ran");
    }
    println!("{} calls, {failed} failed, {} ran", answers.len(), runs.len());
    assert!(failed > 0, "no call was in flight at a kill");
}

fn runs_by_text(record: &Path) -> HashMap<String, usize> {
    let mut runs = HashMap::new();
    for text in lines_of(record) {
        *runs.entry(text).or_default() += 1;
    }
    runs
}

#[test]
fn a_supervisor_that_panics_is_started_again() {
    let panics = |command: &mut std::process::Command| {
        command.env("METAGATE_TEST_PANIC", "worker-supervisor");
    };
    let tables = format!("[[deployment]]\nname = \"echo\"\npath = \"{}\"\n", fixture("echo-node").display());
    let gateway = Gateway::start_with(&tables, panics);
    wait_for("the log line of the restart", || gateway.log().contains("task=worker-supervisor").then_some(()));
    gateway.wait_ready();
    assert_eq!(gateway.call("echo", "f", "[1, 2]").body, r#"{"b":1,"a":2}"#);
    wait_for("the end of the first worker", || (gateway.worker_pids().len() == 1).then_some(()));
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn worker_output_reaches_the_log_file_after_its_writer_panicked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/logs/w.log");
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    let toml = format!("{server}{}", Faulty::worker("w04-floods").toml());
    fs::write(folder.path().join("metagate.toml"), toml).unwrap();
    let gateway = Gateway::start_in(folder, |command| {
        command.env("METAGATE_TEST_PANIC", "log-files");
    });
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "write", r#"["first\n"]"#), "null");
    wait_for("the log line of the restart", || gateway.log().contains("task=log-files").then_some(()));
    assert_ok(&gateway.call("w", "write", r#"["second\n"]"#), "null");
    wait_for("the second line in the file", || {
        fs::read_to_string(&file).unwrap_or_default().contains(" out second\n").then_some(())
    });
}

//! Dispatch: calls go to the least busy worker, wait in a bounded queue, make the pool grow, and wait for a start.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::faulty::{Faulty, assert_error, assert_ok, lines_of, pid_of_w, recorded, send_signal, timed, wait_count};
use crate::support::{Answer, Gateway, wait_for};

/// A folder whose files allow workers to load and calls to end.
struct Gate(TempDir);

impl Gate {
    /// A gate at which workers load at once.
    fn open() -> Self {
        let gate = Self(tempfile::tempdir().unwrap());
        gate.allow("may-load");
        gate
    }

    fn allow(&self, name: &str) {
        fs::write(self.0.path().join(name), "").unwrap();
    }

    fn forbid(&self, name: &str) {
        fs::remove_file(self.0.path().join(name)).unwrap();
    }

    /// The file to which each worker appends its process id when it starts.
    fn starts(&self) -> PathBuf {
        self.0.path().join("starts")
    }

    fn deployment(&self, keys: &str) -> String {
        Faulty::worker("pool").env("GATE", self.0.path()).env("RECORD", self.starts()).keys(keys).toml()
    }
}

/// Makes a call of `w` that ends when the file `name` exists. Its result is the worker's process id.
fn call_until(gateway: &Gateway, name: &str) -> Answer {
    gateway.call("w", "until", &format!("[{name:?}]"))
}

fn by_worker(answers: Vec<Answer>) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        *calls.entry(answer.body).or_default() += 1;
    }
    calls
}

fn pids(starts: &Path) -> Vec<u32> {
    lines_of(starts).iter().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn two_workers_share_the_calls_evenly() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment("workers = 2"));
    wait_count(&gateway, "w", "ready_workers", 2);
    let answers = thread::scope(|scope| {
        let calls: Vec<_> = (0..10).map(|_| scope.spawn(|| call_until(&gateway, "go"))).collect();
        wait_count(&gateway, "w", "in_flight", 10);
        gate.allow("go");
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let calls = by_worker(answers);
    assert_eq!(calls.into_values().collect::<Vec<_>>(), [5, 5]);
}

#[test]
fn the_death_of_a_worker_fails_no_calls_of_another() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment("workers = 2"));
    wait_count(&gateway, "w", "ready_workers", 2);
    let victim = pids(&gate.starts())[0];
    thread::scope(|scope| {
        let calls: Vec<_> = (0..10).map(|_| scope.spawn(|| call_until(&gateway, "go"))).collect();
        wait_count(&gateway, "w", "in_flight", 10);
        send_signal(victim, Signal::KILL);
        wait_count(&gateway, "w", "in_flight", 5);
        gate.allow("go");
        let (good, failed): (Vec<_>, Vec<_>) =
            calls.into_iter().map(|call| call.join().unwrap()).partition(|answer| answer.status == 200);
        assert_eq!((good.len(), failed.len()), (5, 5), "{failed:?}");
        assert!(good.iter().all(|answer| answer.body != victim.to_string()));
        failed.iter().for_each(|answer| assert_error(answer, 502, "worker_crashed"));
    });
}

#[test]
fn a_pool_grows_while_calls_wait_up_to_its_maximum() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment("workers = { min = 1, max = 3 }\nconcurrency = 1"));
    assert_eq!(gateway.readiness("w")["workers"], 1);
    let answers = thread::scope(|scope| {
        let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| call_until(&gateway, "go"))).collect();
        wait_count(&gateway, "w", "in_flight", 3);
        wait_count(&gateway, "w", "waiting", 2);
        assert_eq!(gateway.readiness("w")["workers"], 3);
        gate.allow("go");
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(by_worker(answers).len(), 3);
}

#[test]
fn h15_calls_beyond_the_queue_are_refused_at_once_and_queued_ones_succeed() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment("concurrency = 1\nqueue = 1"));
    thread::scope(|scope| {
        let running = scope.spawn(|| call_until(&gateway, "go"));
        wait_count(&gateway, "w", "in_flight", 1);
        let waiting = scope.spawn(|| gateway.call("w", "echo", "[\"waited\"]"));
        wait_count(&gateway, "w", "waiting", 1);
        let (refused, time) = timed(|| gateway.call("w", "echo", "[1]"));
        assert_error(&refused, 503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(time < Duration::from_secs(2), "{time:?}");
        gate.allow("go");
        assert_eq!(running.join().unwrap().status, 200);
        assert_ok(&waiting.join().unwrap(), "\"waited\"");
    });
}

/// Sends a call on a connection of its own, runs `until`, and closes the connection without reading the answer.
fn send_and_leave(gateway: &Gateway, function: &str, body: &str, until: impl FnOnce()) {
    let mut connection = gateway.connect();
    let head = format!("POST /local/w/v1/call/{function} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n");
    write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    until();
}

#[test]
fn a_call_whose_client_disconnects_counts_until_its_worker_answers() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment("concurrency = 1\nqueue = 0"));
    send_and_leave(&gateway, "until", "[\"go\"]", || wait_count(&gateway, "w", "in_flight", 1));
    for _ in 0..5 {
        assert_error(&gateway.call("w", "echo", "[1]"), 503, "overloaded");
    }
    gate.allow("go");
    wait_count(&gateway, "w", "in_flight", 0);
    assert_ok(&gateway.call("w", "echo", "[2]"), "2");
}

#[test]
fn a_client_that_disconnects_leaves_the_queue() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment("concurrency = 1\nqueue = 1"));
    thread::scope(|scope| {
        let running = scope.spawn(|| call_until(&gateway, "go"));
        wait_count(&gateway, "w", "in_flight", 1);
        send_and_leave(&gateway, "echo", "[\"gone\"]", || wait_count(&gateway, "w", "waiting", 1));
        // The gateway notices the closed connection a little later.
        let next = scope.spawn(|| {
            wait_for("a place in the queue", || {
                let answer = gateway.call("w", "echo", "[\"next\"]");
                (answer.status != 503).then_some(answer)
            })
        });
        thread::sleep(Duration::from_millis(200));
        gate.allow("go");
        assert_eq!(running.join().unwrap().status, 200);
        assert_ok(&next.join().unwrap(), "\"next\"");
    });
    assert_eq!(gateway.readiness("w")["in_flight"], 0);
}

/// Kills the worker, and returns when the next one has started but may not load yet.
fn hold_up_restart(gate: &Gate, gateway: &Gateway) {
    let worker = pid_of_w(gateway);
    gate.forbid("may-load");
    send_signal(worker, Signal::KILL);
    recorded(&gate.starts(), 2);
}

#[test]
fn calls_during_a_restart_wait_for_it() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment(""));
    hold_up_restart(&gate, &gateway);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| gateway.call("w", "echo", "[1]"))).collect();
        wait_count(&gateway, "w", "waiting", 8);
        gate.allow("may-load");
        for call in calls {
            assert_ok(&call.join().unwrap(), "1");
        }
    });
}

#[test]
fn calls_wait_at_most_five_seconds_for_a_start() {
    let gate = Gate::open();
    let gateway = Gateway::ready(&gate.deployment(""));
    hold_up_restart(&gate, &gateway);
    let (answer, time) = timed(|| gateway.call("w", "echo", "[1]"));
    assert_error(&answer, 503, "starting");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!((5.0..6.0).contains(&time.as_secs_f64()), "{time:?}");
}

#[test]
fn a_call_at_the_first_start_waits_for_it() {
    let gate = Gate(tempfile::tempdir().unwrap());
    let gateway = Gateway::start(&gate.deployment(""));
    thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("w", "echo", "[1]"));
        recorded(&gate.starts(), 1);
        thread::sleep(Duration::from_millis(100));
        assert!(!call.is_finished());
        gate.allow("may-load");
        assert_ok(&call.join().unwrap(), "1");
    });
}

/// Starts a gateway in which a task panics as often as its name is in the list `panics`.
fn start_with_panics(tables: &str, panics: &str) -> Gateway {
    Gateway::start_with(tables, |command| {
        command.env("METAGATE_TEST_PANIC", panics);
    })
}

#[test]
fn a_pool_grows_for_the_call_at_which_its_growth_task_panicked() {
    let gate = Gate::open();
    let tables = gate.deployment("workers = { min = 1, max = 2 }\nconcurrency = 1");
    // A worker that becomes ready wakes the task first, a call that waits wakes it next.
    let gateway = start_with_panics(&tables, "pool-growth,pool-growth");
    wait_for("the first panic", || gateway.log().contains("task=pool-growth").then_some(()));
    thread::scope(|scope| {
        let calls = [0, 1].map(|_| scope.spawn(|| call_until(&gateway, "go")));
        // No further call wakes the task.
        wait_count(&gateway, "w", "in_flight", 2);
        gate.allow("go");
        assert!(calls.into_iter().all(|call| call.join().unwrap().status == 200));
    });
}

#[test]
fn a_pool_keeps_to_its_maximum_after_a_supervisor_panicked() {
    let gate = Gate::open();
    let tables = gate.deployment("workers = { min = 1, max = 2 }\nconcurrency = 1");
    let gateway = start_with_panics(&tables, "worker-supervisor");
    thread::scope(|scope| {
        // While the supervisor waits to be started again, the pool grows to its maximum without it.
        let calls = [0, 1, 2].map(|_| scope.spawn(|| call_until(&gateway, "go")));
        wait_count(&gateway, "w", "in_flight", 2);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            assert_eq!(gateway.readiness("w")["workers"], 2);
            thread::sleep(Duration::from_millis(5));
        }
        gate.allow("go");
        assert!(calls.into_iter().all(|call| call.join().unwrap().status == 200));
    });
    gateway.wait_log("task=worker-supervisor");
}

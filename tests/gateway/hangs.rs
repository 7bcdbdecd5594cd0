//! Workers that hang, stop reading or flood: their calls fail in time, and other deployments are not affected.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faulty::{
    Faulty, assert_error, assert_ok, count, memory_of, pid_of_w, reset_peak, send_signal, timed, wait_count, wait_gone,
};
use crate::support::{Answer, Gateway, is_alive, wait_for};

#[test]
fn w2_a_call_without_an_answer_fails_at_its_deadline() {
    const DEADLINE: Duration = Duration::from_millis(300);
    let gateway = Gateway::ready(&Faulty::worker("w02-hangs").keys("timeout = \"300ms\"").toml());
    let late: Vec<Duration> = (0..3)
        .map(|_| {
            let (answer, time) = timed(|| gateway.call("w", "hold", "[]"));
            assert_error(&answer, 504, "call_timeout");
            assert!(answer.message().contains("within 300ms"), "{answer:?}");
            // Three calls in a row without an answer would have the worker replaced.
            assert_ok(&gateway.call("w", "answer_held", "[]"), "null");
            time.checked_sub(DEADLINE).expect("the call failed before its deadline")
        })
        .collect();
    println!("after the deadline: {late:?}");
    assert!(late.iter().min().unwrap() <= &Duration::from_millis(100), "{late:?}");
    assert_eq!(count(&gateway, "w", "restarts"), 0);
}

#[test]
fn w2_a_call_beyond_its_deadline_frees_its_slot_and_its_late_answer_is_dropped() {
    let keys = "timeout = \"200ms\"\nconcurrency = 1\nqueue = 0";
    let gateway = Gateway::ready(&Faulty::worker("w02-hangs").keys(keys).toml());
    assert_error(&gateway.call("w", "hold", "[]"), 504, "call_timeout");
    assert_ok(&gateway.call("w", "echo", "[\"mine\"]"), "\"mine\"");
    assert_eq!(count(&gateway, "w", "odd_messages"), 0);
    assert_ok(&gateway.call("w", "answer_held", "[]"), "null");
    assert_eq!(count(&gateway, "w", "odd_messages"), 1);
    assert_eq!(count(&gateway, "w", "in_flight"), 0);
}

#[test]
fn w2_after_three_timeouts_in_a_row_the_worker_is_replaced() {
    let gateway = Gateway::ready(&Faulty::worker("w02-hangs").keys("timeout = \"100ms\"").toml());
    let worker = pid_of_w(&gateway);
    for call in 1..=3 {
        assert_eq!(count(&gateway, "w", "restarts"), 0, "before call {call}");
        assert_error(&gateway.call("w", "hold", "[]"), 504, "call_timeout");
    }
    wait_count(&gateway, "w", "restarts", 1);
    gateway.wait_ready();
    assert_ne!(pid_of_w(&gateway), worker);
    wait_gone(&[worker]);
}

#[test]
fn w2_calls_left_on_a_replaced_worker_are_not_counted_on_the_new_one() {
    let gateway = Gateway::ready(&Faulty::worker("w02-hangs").keys("timeout = \"800ms\"\nconcurrency = 5").toml());
    let hold = || gateway.call("w", "hold", "[]");
    thread::scope(|scope| {
        let first: Vec<_> = (0..3).map(|_| scope.spawn(hold)).collect();
        wait_count(&gateway, "w", "in_flight", 3);
        thread::sleep(Duration::from_millis(400));
        let left: Vec<_> = (0..2).map(|_| scope.spawn(hold)).collect();
        first.into_iter().for_each(|call| assert_error(&call.join().unwrap(), 504, "call_timeout"));
        wait_count(&gateway, "w", "restarts", 1);
        // A call on the new worker that outlasts the calls that are left on the old one.
        let own = scope.spawn(hold);
        wait_count(&gateway, "w", "in_flight", 1);
        left.into_iter().for_each(|call| assert_error(&call.join().unwrap(), 504, "call_timeout"));
        assert!(!own.is_finished());
        assert_eq!(count(&gateway, "w", "in_flight"), 1, "{}", gateway.log());
        assert_error(&own.join().unwrap(), 504, "call_timeout");
    });
    assert_eq!(count(&gateway, "w", "in_flight"), 0);
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn w2_a_worker_that_is_frozen_is_found_by_a_probe() {
    let gateway = Gateway::ready(&Faulty::worker("w02-hangs").keys("timeout = \"200ms\"").toml());
    let worker = pid_of_w(&gateway);
    assert_error(&gateway.call("w", "freeze", "[]"), 504, "call_timeout");
    let gone = wait_gone(&[worker]);
    println!("ended {gone:?} after the timeout");
    assert!(gone < Duration::from_secs(5), "{gone:?}");
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
}

/// Runs `spin` in `w` and returns the time from its deadline until a call succeeds.
fn serves_again_after_spinning(gateway: &Gateway) -> Duration {
    let worker = pid_of_w(gateway);
    assert_error(&gateway.call("w", "spin", "[]"), 504, "call_timeout");
    let ((), time) =
        timed(|| wait_for("a good call", || (gateway.call("w", "echo", "[1]").status == 200).then_some(())));
    assert_ne!(pid_of_w(gateway), worker);
    wait_gone(&[worker]);
    time
}

#[test]
fn w2_an_endless_loop_in_a_node_function_ends_with_its_worker() {
    let gateway = Gateway::ready(&Faulty::functions("node", "node-deaths").keys("timeout = \"500ms\"").toml());
    let time = serves_again_after_spinning(&gateway);
    println!("served again {time:?} after the deadline");
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[test]
fn w2_an_endless_loop_in_a_python_function_leaves_other_calls_alone() {
    let gateway = Gateway::ready(&Faulty::functions("python", "python-deaths").keys("timeout = \"1s\"").toml());
    let worker = pid_of_w(&gateway);
    let spin = || assert_error(&gateway.call("w", "spin", "[]"), 504, "call_timeout");
    thread::scope(|scope| {
        let spinning = scope.spawn(spin);
        wait_count(&gateway, "w", "in_flight", 1);
        while !spinning.is_finished() {
            assert_ok(&gateway.call("w", "echo", "[1]"), "1");
        }
        assert_ok(&gateway.call("w", "echo", "[2]"), "2");
        // The call that still spins counts as unanswered: after two more the worker is replaced.
        scope.spawn(spin);
        scope.spawn(spin);
    });
    wait_count(&gateway, "w", "restarts", 1);
    gateway.wait_ready();
    assert_ne!(pid_of_w(&gateway), worker);
    wait_gone(&[worker]);
}

#[test]
fn w3_calls_beyond_a_bound_are_refused_when_a_worker_stops_reading_and_it_is_replaced() {
    const MIB: usize = 1024 * 1024;
    let gateway = Gateway::ready(&Faulty::worker("w03-stops-reading").toml());
    let worker = pid_of_w(&gateway);
    assert_ok(&gateway.call("w", "stop_reading", "[]"), "null");
    let before = reset_peak(gateway.pid());
    let start = Instant::now();
    let body = format!("[\"{}\"]", "x".repeat(MIB));
    let (taken, refused) = thread::scope(|scope| {
        let mut calls = Vec::new();
        let refused = loop {
            let sent = calls.len() as u64 + 1;
            let call = scope.spawn(|| gateway.call("w", "size", &body));
            wait_for("the call in flight or refused", || {
                (call.is_finished() || count(&gateway, "w", "in_flight") == sent).then_some(())
            });
            if call.is_finished() {
                break call.join().unwrap();
            }
            calls.push(call);
            assert!(sent < 20, "no call is refused");
        };
        let taken: Vec<Answer> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        (taken, refused)
    });
    let peak = memory_of(gateway.pid(), "VmHWM");
    assert_error(&refused, 503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for answer in &taken {
        assert_error(answer, 502, "worker_crashed");
    }
    println!(
        "{} calls of 1 MiB accepted, failed after {:?}, memory {before} → {peak} KiB",
        taken.len(),
        start.elapsed()
    );
    assert!((6..=10).contains(&taken.len()), "{}", taken.len());
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(peak - before < 40 * 1024, "{before} → {peak} KiB");
    assert_ok(&gateway.call("w", "size", &body), &MIB.to_string());
    assert!(!is_alive(worker));
}

#[test]
fn w3_a_stopped_worker_is_replaced() {
    let gateway = Gateway::ready(&Faulty::worker("w03-stops-reading").keys("timeout = \"300ms\"").toml());
    let worker = pid_of_w(&gateway);
    send_signal(worker, Signal::STOP);
    assert_error(&gateway.call("w", "echo", "[1]"), 504, "call_timeout");
    let gone = wait_gone(&[worker]);
    println!("ended {gone:?} after the timeout");
    assert!(gone < Duration::from_secs(5), "{gone:?}");
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[2]"), "2");
}

/// The 99th percentile and the maximum of the times of calls of `name`: 300 calls, or as many as two seconds allow.
fn p99(gateway: &Gateway, name: &str) -> (Duration, Duration) {
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 300 && start.elapsed() < Duration::from_secs(2) {
        let (answer, time) = timed(|| gateway.call(name, "echo", "[1]"));
        assert_ok(&answer, "1");
        times.push(time);
    }
    times.sort_unstable();
    (times[times.len() * 99 / 100], times[times.len() - 1])
}

#[test]
fn w4_floods_are_dropped_and_counted_and_slow_no_other_deployment_down() {
    let other = Faulty::worker("w01-killed").named("other");
    let gateway = Gateway::ready(&format!("{}{}", Faulty::worker("w04-floods").toml(), other.toml()));
    let calm = p99(&gateway, "other");
    for (fd, kind) in [(1, "lines"), (2, "breaks"), (1, "endless")] {
        let dropped = count(&gateway, "w", "dropped_log_bytes");
        let before = reset_peak(gateway.pid());
        assert_ok(&gateway.call("w", "flood", &format!("[{fd}, {kind:?}]")), "null");
        wait_for("dropped output", || (count(&gateway, "w", "dropped_log_bytes") > dropped + 1_000_000).then_some(()));
        let busy = p99(&gateway, "other");
        assert_ok(&gateway.call("w", "stop", "[]"), "null");
        let peak = memory_of(gateway.pid(), "VmHWM");
        println!("{kind}: p99 and maximum {calm:?} → {busy:?}; memory {before} → {peak} KiB");
        assert!(busy.0 < calm.0.max(Duration::from_millis(10)) * 5, "{kind}: {calm:?} → {busy:?}");
        // The kernel counts in batches for each thread, so the peak may be a little lower.
        assert!(peak.saturating_sub(before) < 16 * 1024, "{kind}: {before} → {peak} KiB");
        let log = gateway.worker_log("w");
        assert!(log.len() <= 1024 * 1024 + 64 * 1024, "{kind}: {}", log.len());
    }
    wait_for("the count in the log", || gateway.worker_log("w").contains(" bytes dropped").then_some(()));
    assert_eq!(count(&gateway, "w", "restarts"), 0);
}

#[test]
fn w4_a_long_printed_line_is_cut_and_control_bytes_are_escaped() {
    let gateway = Gateway::ready(&Faulty::worker("w04-floods").toml());
    let lines = format!("[\"\\u001b[31mred\\u0007\\n{}\\nafter\\n\"]", "z".repeat(9000));
    assert_ok(&gateway.call("w", "write", &lines), "null");
    let log = wait_for("the lines", || {
        let log = gateway.worker_log("w");
        log.contains(" out after\n").then_some(log)
    });
    assert!(log.contains(" out \\u{1b}[31mred\\u{7}\n"), "{log:?}");
    assert!(log.contains(&format!(" out {} … (line cut)\n", "z".repeat(8192))), "{log:?}");
}

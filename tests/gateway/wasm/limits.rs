//! Limits of functions: time, memory, stack, size of the result.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{NUMBERS, TEXTS, serving};
use crate::support::wait_for;

/// Processor time that a process has used, in clock ticks of 10 ms.
fn processor_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    Some(fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

#[test]
fn endless_loops_end_at_their_timeout_and_delay_no_other_call() {
    let (gateway, _folder) = serving(NUMBERS, "timeout = \"700ms\"\nconcurrency = 4");
    let start = Instant::now();
    thread::scope(|scope| {
        let loops: Vec<_> =
            (0..3).map(|_| scope.spawn(|| (gateway.call("it", "spin", "[]"), start.elapsed()))).collect();
        thread::sleep(Duration::from_millis(100));
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(gateway.call("it", "add", "[1, 2]").body, "3");
            assert!(begun.elapsed() < Duration::from_millis(300), "a call waited {:?}", begun.elapsed());
        }
        for waiting in loops {
            let (answer, took) = waiting.join().unwrap();
            assert_eq!((answer.status, answer.code()), (504, "call_timeout"));
            assert!(took < Duration::from_millis(1_000), "{took:?}");
        }
    });
    // The loops are interrupted, not only abandoned: the worker uses no processor time any more.
    wait_for("an idle worker", || {
        let time = || gateway.worker_pids().into_iter().filter_map(processor_time).sum::<u64>();
        let before = time();
        thread::sleep(Duration::from_millis(200));
        (time().saturating_sub(before) <= 2).then_some(())
    });
    assert_eq!(gateway.call("it", "add", "[1, 2]").body, "3");
}

#[test]
fn a_small_body_does_not_become_large_values() {
    let fields: String = (0..1_000).map(|at| format!(" (field \"f{at}\" $o)")).collect();
    let text = format!(
        r#"(component
            (core module $module
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "take") (param i32 i32)))
            (core instance $core (instantiate $module))
            (type $o (option u32))
            (type $record' (record{fields}))
            (export $record "fields" (type $record'))
            (func $take (param "list" (list $record))
                (canon lift (core func $core "take") (memory (core memory $core "memory"))
                    (realloc (core func $core "realloc"))))
            (export "take" (func $take)))"#
    );
    let (gateway, _folder) = serving(&text, "");
    let refused = gateway.call("it", "take", &format!("[[{}]]", vec!["{}"; 20_000].join(",")));
    assert_eq!((refused.status, refused.code()), (422, "bad_argument"));
    assert!(refused.message().contains("too large"), "{}", refused.message());
}

#[test]
fn a_stack_of_long_names_is_shortened() {
    let name = "n".repeat(90_000);
    let text = format!(
        "(module (func ${name} (param i32)
                (if (local.get 0)
                    (then (call ${name} (i32.sub (local.get 0) (i32.const 1))))
                    (else unreachable)))
            (func (export \"f\") (call ${name} (i32.const 30))))"
    );
    let (gateway, _folder) = serving(&text, "max_message = \"1MiB\"");
    let workers = gateway.worker_pids();
    assert_eq!(gateway.call("it", "f", "[]").code(), "function_error");
    assert_eq!(gateway.worker_pids(), workers);
}

#[test]
fn a_worker_recovers_from_more_loops_than_may_run_at_a_time() {
    let (gateway, _folder) = serving(NUMBERS, "timeout = \"300ms\"\nconcurrency = 2");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(gateway.call("it", "spin", "[]").code(), "call_timeout"));
        }
    });
    wait_for("a call", || (gateway.call("it", "add", "[1, 2]").body == "3").then_some(()));
}

#[test]
fn each_instance_has_a_memory_limit() {
    let (gateway, _folder) = serving(NUMBERS, "[deployment.wasm]\nmax_memory = \"4MiB\"");
    let workers = gateway.worker_pids();
    for _ in 0..3 {
        let failed = gateway.call("it", "hoard", "[]");
        assert_eq!((failed.status, failed.code()), (500, "function_error"));
        assert!(failed.message().contains("4194304 bytes"), "{}", failed.message());
    }
    assert_eq!(gateway.call("it", "add", "[1, 2]").body, "3");
    assert_eq!(gateway.worker_pids(), workers);
}

#[test]
fn an_endless_recursion_ends_without_ending_the_worker() {
    let (gateway, _folder) = serving(NUMBERS, "");
    let workers = gateway.worker_pids();
    let failed = gateway.call("it", "deep", "[0]");
    assert_eq!((failed.status, failed.code()), (500, "function_error"));
    assert!(failed.message().contains("call stack exhausted"), "{}", failed.message());
    let failed = gateway.call("it", "divide", "[1, 0]");
    assert!(failed.message().contains("integer divide by zero"), "{}", failed.message());
    assert_eq!(gateway.worker_pids(), workers);
}

#[test]
fn a_result_that_is_too_long_fails_its_call_only() {
    let (gateway, _folder) = serving(TEXTS, "max_message = \"1MiB\"");
    let workers = gateway.worker_pids();
    assert_eq!(gateway.call("it", "text", "[1000000]").body.len(), 1_000_002);
    // The line holds more than the result, so a result just below the limit is too long as well.
    for length in ["1048530", "1048560", "1048576", "20000000"] {
        let failed = gateway.call("it", "text", &format!("[{length}]"));
        assert_eq!((failed.status, failed.code()), (500, "result_too_large"), "{length}");
        assert!(failed.message().contains("max_message of 1048576 bytes"), "{failed:?}");
    }
    assert_eq!(gateway.call("it", "text", "[3]").body, "\"aaa\"");
    assert_eq!(gateway.worker_pids(), workers);
}

#[test]
fn a_killed_worker_fails_its_calls_and_is_replaced() {
    let (gateway, _folder) = serving(NUMBERS, "");
    let workers = gateway.worker_pids();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.call("it", "spin", "[]"));
        thread::sleep(Duration::from_millis(100));
        let pid = rustix::process::Pid::from_raw(i32::try_from(workers[0]).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, answer.code()), (502, "worker_crashed"));
    });
    wait_for("a call", || (gateway.call("it", "add", "[1, 2]").body == "3").then_some(()));
}

#[test]
fn a_worker_in_a_loop_ends_with_its_gateway() {
    let (gateway, _folder) = serving(NUMBERS, "timeout = \"2s\"");
    thread::scope(|scope| {
        scope.spawn(|| gateway.try_post("/local/it/v1/call/spin", &[], "[]"));
        thread::sleep(Duration::from_millis(100));
        gateway.signal(rustix::process::Signal::TERM);
    });
    // Dropping the gateway asserts that no process is left.
}

//! The gateway's own log: standard error that is full, that nothing reads, or whose writer panics costs log lines only.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Gateway, PATIENCE, fixture, wait_for};

fn deployment() -> String {
    format!("[[deployment]]\nname = \"echo\"\npath = \"{}\"\n", fixture("echo-node").display())
}

/// Kills the workers and waits until others answer.
fn replace_workers(gateway: &Gateway) {
    for pid in gateway.worker_pids() {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
    let begun = Instant::now();
    while gateway.call("echo", "f", "[1, 2]").status != 200 {
        let detail = gateway.readiness("echo");
        assert!(begun.elapsed() < PATIENCE, "no answer: {detail}\n{}", gateway.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A full pipe: its reading end, and its writing end, on which a write fails at once if `nonblocking`.
fn full_pipe(nonblocking: bool) -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut filling = File::from(writer.as_fd().try_clone_to_owned().unwrap());
    while filling.write(&[b'\n'; 4096]).is_ok() {}
    while filling.write(b"\n").is_ok() {}
    if !nonblocking {
        rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    }
    (File::from(reader), writer)
}

#[test]
fn l10_a_log_on_a_full_disk_stops_nothing() {
    let full = |command: &mut Command| {
        command.stderr(File::options().write(true).open("/dev/full").unwrap());
    };
    let gateway = Gateway::start_with(&deployment(), full);
    gateway.wait_ready();
    for _ in 0..3 {
        replace_workers(&gateway);
    }
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn a_log_that_nothing_reads_blocks_nothing() {
    let (mut reader, writer) = full_pipe(false);
    let gateway = Gateway::start_with(&deployment(), |command| {
        command.stderr(writer);
    });
    gateway.wait_ready();
    for _ in 0..3 {
        replace_workers(&gateway);
    }
    let begun = Instant::now();
    assert_eq!(gateway.get("/healthz").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(gateway.stop().code(), Some(0));
    let text = reading.join().unwrap();
    assert!(text.contains("stopped"), "{text}");
}

#[test]
fn lost_lines_are_reported_even_if_only_errors_are_logged() {
    let (mut reader, writer) = full_pipe(true);
    let gateway = Gateway::start_with(&deployment(), |command| {
        command.env("METAGATE_LOG", "error").stderr(writer);
    });
    gateway.wait_ready();
    // Each replaced worker is logged as an error. The pipe has no room for the first.
    replace_workers(&gateway);
    assert!(reader.read(&mut [0; 1 << 16]).unwrap() > 0);
    replace_workers(&gateway);
    assert_eq!(gateway.stop().code(), Some(0));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains("log lines were lost"), "{text}");
}

#[test]
fn a_panic_in_json_form_has_each_key_once() {
    let gateway = Gateway::start_with(&deployment(), |command| {
        command.args(["--log-format", "json"]).env("METAGATE_TEST_PANIC", "worker-supervisor");
    });
    let line = wait_for("the panic in the log", || {
        gateway.log().lines().find(|line| line.contains(r#""message":"panic""#)).map(str::to_owned)
    });
    let panic: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(panic["reason"], r#"METAGATE_TEST_PANIC has "worker-supervisor""#, "{line}");
    for key in panic.as_object().unwrap().keys() {
        assert_eq!(line.matches(&format!("{key:?}:")).count(), 1, "{key} in {line}");
    }
}

#[test]
fn a_log_writer_that_panics_goes_on() {
    let panic = |command: &mut Command| {
        command.env("METAGATE_TEST_PANIC", "log-writer");
    };
    let gateway = Gateway::start_with(&deployment(), panic);
    gateway.wait_ready();
    wait_for("the restart in the log", || gateway.log().contains("restarting it").then_some(()));
    replace_workers(&gateway);
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
    assert_eq!(gateway.stop().code(), Some(0));
}

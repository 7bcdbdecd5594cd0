//! Bodies of `wasi:http` both ways: components whose answers are streams, and that get large requests as they come.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{deployment, folder};
use crate::support::{Gateway, wait_for};

const HTTP: &str = "/local/it/v1/http";
const COMPONENT: &[u8] = include_bytes!("../../fixtures/wasm-http/rust/http-rust.wasm");
const LARGE: usize = 24 << 20;
const MEBIBYTE: u64 = 1 << 20;

fn serving(keys: &str) -> (Gateway, TempDir) {
    let folder = folder(&[("it.wasm", COMPONENT)]);
    let table = deployment("it", folder.path(), keys);
    (Gateway::ready(&format!("[server]\nmax_body = \"64MiB\"\n{table}")), folder)
}

/// Sends a request, all of it or only its head.
fn send(gateway: &Gateway, method: &str, path: &str, headers: &str) -> TcpStream {
    let mut stream = gateway.connect();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {HTTP}{path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn send_chunk(stream: &mut TcpStream, bytes: &[u8]) {
    write!(stream, "{:x}\r\n", bytes.len()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.write_all(b"\r\n").unwrap();
}

/// Reads until the answer so far has this text.
#[track_caller]
fn read_until(stream: &mut TcpStream, answer: &mut String, text: &str) {
    let mut buffer = [0; 4096];
    while !answer.contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the answer ended: {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

/// The most memory that the worker has had, in bytes.
fn worker_peak(gateway: &Gateway) -> u64 {
    let peak = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().unwrap() * 1024)
    };
    gateway.worker_pids().iter().filter_map(peak).max().unwrap()
}

#[test]
fn a_large_answer_takes_no_memory() {
    let (gateway, _folder) = serving("");
    assert_eq!(gateway.get(&format!("{HTTP}/status/201")).status, 201);
    let (before, peak) = (gateway.resident_bytes(), worker_peak(&gateway));
    let mut stream = send(&gateway, "GET", &format!("/bytes/{LARGE}"), "connection: close\r\n");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n0\r\n\r\n"));
    assert!(answer.iter().filter(|byte| **byte == b'x').count() >= LARGE);
    let more = gateway.resident_bytes().saturating_sub(before);
    assert!(more < 12 * MEBIBYTE, "{more} bytes more in the gateway");
    let more = worker_peak(&gateway) - peak;
    assert!(more < 12 * MEBIBYTE, "{more} bytes more in the worker");
}

#[test]
fn a_trap_midway_is_no_complete_answer() {
    let (gateway, _folder) = serving("");
    let mut answer = Vec::new();
    match send(&gateway, "GET", "/broken", "connection: close\r\n").read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    assert!(!answer.ends_with(b"0\r\n\r\n"), "the answer looks complete");
    wait_for("the trap in the log", || gateway.worker_log("it").contains("unreachable").then_some(()));
    assert_eq!(gateway.get(&format!("{HTTP}/status/201")).status, 201);
}

#[test]
fn slow_and_leaving_readers_hold_up_no_other_call() {
    let (gateway, _folder) = serving("concurrency = 2");
    for _ in 0..2 {
        let mut slow = send(&gateway, "GET", "/bytes/1000000000", "");
        read_until(&mut slow, &mut String::new(), "xxxx");
        assert_eq!(gateway.get(&format!("{HTTP}/status/201")).status, 201);
        let mut another = send(&gateway, "GET", "/bytes/1000000000", "");
        read_until(&mut another, &mut String::new(), "xxxx");
        // Both leave here. Their calls would run for minutes: the next round needs their places.
    }
    assert_eq!(gateway.get(&format!("{HTTP}/status/201")).status, 201);
    assert_eq!(gateway.readiness("it")["restarts"], 0);
}

#[test]
fn a_component_answers_while_its_request_comes() {
    let (gateway, _folder) = serving("timeout = \"2s\"");
    let chunked = "transfer-encoding: chunked\r\n";
    let mut stream = send(&gateway, "POST", "/", chunked);
    let mut answer = String::new();
    send_chunk(&mut stream, &[b'x'; 70_000]);
    read_until(&mut stream, &mut answer, "xxxx");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("POST /\n"), "{answer}");
    // The time of the call does not run any more.
    thread::sleep(Duration::from_millis(2500));
    send_chunk(&mut stream, "the last ä".as_bytes());
    read_until(&mut stream, &mut answer, "the last ä");
    stream.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut stream, &mut answer, "\r\n0\r\n\r\n");
    assert!(answer.matches('x').count() >= 70_000);
}

#[test]
fn a_client_that_leaves_midway_fails_the_read_of_its_body() {
    let (gateway, _folder) = serving("");
    let echo = |path: &str| {
        let mut stream = send(&gateway, "POST", path, "transfer-encoding: chunked\r\n");
        send_chunk(&mut stream, &[&[b'x'; 70_000][..], b"end"].concat());
        read_until(&mut stream, &mut String::new(), "end");
        stream
    };
    let seen = || gateway.worker_log("it").matches("err the body broke off: ").count();
    let free = || (gateway.readiness("it")["in_flight"] == 0).then_some(());
    drop(echo("/"));
    wait_for("the read to fail", || (seen() == 1).then_some(()));
    wait_for("the place of the call", free);
    // This one would go on for an hour: it has a moment to clean up, then it is dropped.
    drop(echo("/lingering"));
    wait_for("the read to fail", || (seen() == 2).then_some(()));
    wait_for("the place of the call", free);
    assert_eq!(gateway.get(&format!("{HTTP}/status/201")).status, 201);
    assert_eq!(gateway.readiness("it")["restarts"], 0);
}

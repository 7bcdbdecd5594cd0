//! The limits of HTTP/1 connections and requests, one test or more for each row of faults: names start with the row.

mod addresses;
pub(crate) mod buffers;
mod failures;
mod framing;
mod large_bodies;
mod neighbours;

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::wire::{self, Wire, assert_refused, request};

const QUICK: &str = "header_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nidle_timeout = \"300ms\"";
/// Beyond this a deadline of 300 ms has not been kept.
const SOON: Duration = Duration::from_secs(3);

fn serving(server: &str) -> Gateway {
    Gateway::ready(&tables(server))
}

fn tables(server: &str) -> String {
    let path = fixture("echo-node");
    format!("[server]\n{server}\n[[deployment]]\nname = \"it\"\npath = {path:?}\n")
}

fn path(function: &str) -> String {
    format!("/local/it/v1/call/{function}")
}

fn post(function: &str, rest: &str) -> String {
    format!("POST {} HTTP/1.1\r\nhost: a\r\n{rest}", path(function))
}

fn asked(function: &str) -> Vec<u8> {
    request("GET", &path(function), &[], "")
}

/// The connection is answered with a refusal and closed, within `SOON` but not before the 300 ms are over.
#[track_caller]
fn assert_timed_out(wire: &mut Wire) {
    let start = Instant::now();
    assert_refused(&wire.answer(), 408, "request_timeout");
    wire.wait_closed();
    assert!((Duration::from_millis(250)..SOON).contains(&start.elapsed()), "after {:?}", start.elapsed());
}

#[test]
fn h1_a_head_that_does_not_end_is_a_408() {
    let gateway = serving(QUICK);
    for begun in ["G", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nhost: a\r\n", "PRI * HTTP/2.0\r\n"] {
        assert_timed_out(Wire::open(&gateway).send(begun));
    }
    // The first request of a connection makes no difference to the second.
    let mut wire = Wire::open(&gateway);
    assert_eq!(wire.send(asked("args")).answer().status, 200);
    assert_timed_out(wire.send("GET /"));
}

#[test]
fn h1_a_dribbled_head_has_no_longer_than_a_whole_one() {
    let gateway = serving(QUICK);
    let mut wire = Wire::open(&gateway);
    let start = Instant::now();
    let mut sender = wire.stream().try_clone().unwrap();
    let dribble = thread::spawn(move || {
        for byte in "GET /healthz HTTP/1.1\r\nhost: a\r\nx: ".bytes().chain(std::iter::repeat(b'x')) {
            if std::io::Write::write_all(&mut sender, &[byte]).is_err() || start.elapsed() > SOON {
                break;
            }
            thread::sleep(Duration::from_millis(40));
        }
    });
    assert_refused(&wire.answer(), 408, "request_timeout");
    assert!(start.elapsed() < SOON, "after {:?}", start.elapsed());
    drop(wire);
    dribble.join().unwrap();
}

#[test]
fn h1_a_connection_that_says_nothing_is_closed_without_a_word() {
    let gateway = serving(QUICK);
    let took = Wire::open(&gateway).wait_closed();
    assert!((Duration::from_millis(250)..SOON).contains(&took), "after {took:?}");
}

#[test]
fn h1_an_http2_preface_without_settings_is_closed() {
    let gateway = serving(QUICK);
    for begun in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0"]
    {
        let mut wire = Wire::open(&gateway);
        let start = Instant::now();
        wire.send(begun).rest();
        assert!((Duration::from_millis(250)..SOON).contains(&start.elapsed()), "after {:?}", start.elapsed());
    }
}

#[test]
fn h1_a_kept_connection_is_closed_when_it_idles() {
    let gateway = serving(QUICK);
    for (name, first) in [("call", asked("args")), ("route", request("GET", "/healthz", &[], ""))] {
        let mut wire = Wire::open(&gateway);
        assert_eq!(wire.send(first).answer().status, 200);
        let took = wire.wait_closed();
        assert!((Duration::from_millis(250)..SOON).contains(&took), "{name} after {took:?}");
    }
}

#[test]
fn h1_idling_does_not_end_a_call_or_its_answer() {
    let gateway = serving(QUICK);
    let mut wire = Wire::open(&gateway);
    // Longer than every deadline of the connection.
    let answer = wire.send(request("POST", &path("sleep"), &[], "[1200,7]")).answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "7"));
    // A client that takes its time to read.
    wire.send(request("POST", &path("large"), &[], "[16000000]"));
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(wire.answer().body.len(), 16_000_002);
}

#[test]
fn h2_a_body_that_stops_coming_is_a_408_and_runs_nothing() {
    let gateway = serving(QUICK);
    for framing in ["content-length: 50\r\n\r\n[1", "transfer-encoding: chunked\r\n\r\n2\r\n[1\r\n"] {
        assert_timed_out(Wire::open(&gateway).send(post("run", framing)));
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
    assert_eq!(gateway.readiness("it")["in_flight"], 0);
}

#[test]
fn h2_a_slow_body_is_a_408_on_every_route() {
    let gateway = serving(QUICK);
    let slow = "POST /api/deploy/logs HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n{\"suffix\"";
    assert_timed_out(Wire::open(&gateway).send(slow));
}

#[test]
fn h2_a_body_below_its_pace_is_a_408_after_ten_seconds() {
    let gateway = serving("body_timeout = \"5s\"");
    let mut wire = Wire::open(&gateway);
    wire.send(post("run", "content-length: 100000\r\n\r\n["));
    let mut sender = wire.stream().try_clone().unwrap();
    let start = Instant::now();
    let dribble = thread::spawn(move || {
        while std::io::Write::write_all(&mut sender, b" ").is_ok() && start.elapsed() < Duration::from_secs(18) {
            thread::sleep(Duration::from_millis(100));
        }
    });
    assert_refused(&wire.answer(), 408, "request_timeout");
    assert!((9..14).contains(&start.elapsed().as_secs()), "after {:?}", start.elapsed());
    drop(wire);
    dribble.join().unwrap();
    assert_eq!(gateway.get(&path("runs")).body, "0");
}

#[test]
fn h2_a_client_that_does_not_read_its_answer_is_given_up_after_half_a_minute() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    assert_eq!(wire.send(asked("args")).answer().status, 200);
    let before = sockets(gateway.pid());
    let start = Instant::now();
    wire.send(request("POST", &path("large"), &[], "[16000000]"));
    while sockets(gateway.pid()) >= before {
        assert!(start.elapsed() < Duration::from_secs(45), "still there");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > Duration::from_secs(25), "after {:?}", start.elapsed());
    assert!(wire.rest().len() < 16_000_000);
}

/// Open sockets of a process.
fn sockets(pid: u32) -> usize {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    all.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))).count()
}

#[test]
fn h3_oversized_heads_have_their_own_codes() {
    let gateway = serving("");
    let headers = |count: usize| "x: a\r\n".repeat(count);
    let cases = [
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(8 * 1024)), 414, "uri_too_long"),
        (format!("GET /{}", "a".repeat(12 * 1024)), 414, "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(16 * 1024)), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "a".repeat(20 * 1024)), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", headers(100)), 431, "headers_too_large"),
        (format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", "M".repeat(17)), 400, "bad_request"),
        ("M".repeat(12 * 1024), 400, "bad_request"),
    ];
    for (head, status, code) in cases {
        let mut wire = Wire::open(&gateway);
        let answer = wire.send(&head).answer();
        assert_refused(&answer, status, code);
        assert_eq!(answer.header("connection"), Some("close"));
        wire.wait_closed();
    }
    let fits = [
        format!("GET /healthz?{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(8 * 1024 - 9)),
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(16 * 1024 - 100)),
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{}\r\n", headers(99)),
    ];
    for head in fits {
        assert_eq!(Wire::open(&gateway).send(&head).answer().status, 200, "{} bytes", head.len());
    }
}

#[test]
fn h7_a_call_whose_client_goes_away_is_not_interrupted_and_its_late_answer_is_counted() {
    let gateway = serving("");
    let workers = gateway.worker_pids();
    for reset in [false, true] {
        let odd = gateway.readiness("it")["odd_messages"].as_u64().unwrap();
        let mut wire = Wire::open(&gateway);
        wire.send(request("POST", &path("sleep"), &[], "[600,1]"));
        wait_for("the call", || (gateway.readiness("it")["in_flight"] == 1).then_some(()));
        if reset {
            rustix::net::sockopt::set_socket_linger(wire.stream(), Some(Duration::ZERO)).unwrap();
        }
        drop(wire);
        // The worker still has it: it counts until it is answered.
        wait_for("the late answer", || (gateway.readiness("it")["odd_messages"].as_u64()? == odd + 1).then_some(()));
        assert_eq!(gateway.readiness("it")["in_flight"], 0);
    }
    assert_eq!(gateway.worker_pids(), workers);
    assert_eq!(gateway.call("it", "args", "[1]").body, "[1]");
}

#[test]
fn h7_clients_that_go_away_while_they_wait_leave_the_queue() {
    let gateway = Gateway::ready(&format!("{}concurrency = 1\nqueue = 2\n", tables("")));
    let mut busy = Wire::open(&gateway);
    busy.send(request("POST", &path("sleep"), &[], "[2500,1]"));
    wait_for("the call", || (gateway.readiness("it")["in_flight"] == 1).then_some(()));
    let mut gone: Vec<Wire> = (0..2).map(|_| Wire::open(&gateway)).collect();
    for wire in &mut gone {
        wire.send(asked("run"));
    }
    wait_for("the queue", || (gateway.readiness("it")["waiting"] == 2).then_some(()));
    assert_refused(&wire::send(&gateway, "GET", &path("args"), &[], ""), 503, "overloaded");
    drop(gone);
    let start = Instant::now();
    wait_for("an empty queue", || (gateway.readiness("it")["waiting"] == 0).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
    assert_eq!(wire::send(&gateway, "GET", &path("runs"), &[], "").body, "0", "those who left were not served");
    assert_eq!(busy.answer().body, "1");
}

#[test]
fn h8_a_thousand_idle_connections_cost_little_and_calls_go_on() {
    const CONNECTIONS: usize = 1000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < 2500) {
        let wanted = Rlimit { current: Some(2500), maximum: limit.maximum };
        setrlimit(Resource::Nofile, wanted).expect("2,500 descriptors");
    }
    let gateway = serving("");
    let before = gateway.resident_bytes();
    let mut idle: Vec<Wire> = (0..CONNECTIONS).map(|_| Wire::open(&gateway)).collect();
    // Half of them have made a call; the others have said nothing yet.
    for wire in idle.iter_mut().step_by(2) {
        assert_eq!(wire.send(asked("args")).answer().status, 200);
    }
    let each = gateway.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
    assert!(each < 20 * 1024, "{each} bytes a connection");
    let start = Instant::now();
    for n in 0..20 {
        assert_eq!(gateway.call("it", "args", &format!("[{n}]")).json(), json!([n]));
    }
    assert!(start.elapsed() < Duration::from_secs(3), "20 calls took {:?}", start.elapsed());
    for wire in idle.iter_mut().take(10) {
        assert_eq!(wire.send(asked("args")).answer().status, 200);
    }
}

#[test]
fn h9_connections_beyond_the_limit_are_refused_and_the_admin_listener_still_accepts() {
    let admin = wire::own_address(9001);
    let text = format!("max_connections = 3\n[admin]\nlisten = \"{admin}\"");
    let gateway = Gateway::start(&tables(&text));
    wait_for("readiness", || {
        (Wire::to(&admin).send(request("GET", "/readyz", &[], "")).answer().status == 200).then_some(())
    });
    let mut places: Vec<Wire> = (0..3).map(|_| Wire::open(&gateway)).collect();
    for wire in &mut places {
        assert_eq!(wire.send(asked("args")).answer().status, 200);
    }
    for _ in 0..5 {
        let mut wire = Wire::open(&gateway);
        assert_refused(&wire.answer(), 503, "overloaded");
        wire.wait_closed();
    }
    assert_eq!(Wire::to(&admin).send(request("GET", "/healthz", &[], "")).answer().status, 200);
    // Those that have a place keep it, and a place that is given up is free again.
    assert_eq!(places[0].send(asked("args")).answer().status, 200);
    drop(places.pop());
    wait_for("a free place", || (Wire::open(&gateway).send(asked("args")).answer().status == 200).then_some(()));
}

#[test]
fn h9_the_refusal_for_too_many_connections_says_when_to_come_back() {
    let gateway = Gateway::start("[server]\nmax_connections = 1\n");
    let mut place = Wire::open(&gateway);
    assert_eq!(place.send(request("GET", "/healthz", &[], "")).answer().status, 200);
    let answer = Wire::open(&gateway).answer();
    assert_refused(&answer, 503, "overloaded");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

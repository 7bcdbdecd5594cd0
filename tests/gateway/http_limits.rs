//! The bounds of HTTP/1 connections and requests, one test or more for each row of faults: names begin with the row.

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
fn h4_the_refusal_of_a_large_body_reaches_a_client_that_sends_it_whole() {
    let gateway = serving("max_body = \"1KiB\"");
    for framing in ["content-length: 300000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n493e0\r\n"] {
        let mut wire = Wire::open(&gateway);
        wire.send(post("size", framing)).send(" ".repeat(300_000));
        assert_refused(&wire.answer(), 413, "payload_too_large");
        wire.wait_closed();
    }
}

/// Heads that two parties could read in two ways, and heads that are broken.
const AMBIGUOUS: [(&str, &str); 16] = [
    ("no host", "GET /healthz HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
    ("length and chunks", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("chunks and length", "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    ("two lengths", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"),
    ("two lengths in one", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"),
    ("a signed length", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"),
    ("a length beyond numbers", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    ("another coding", "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
    ("a hidden coding", "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"),
    ("bare line feeds", "GET /healthz HTTP/1.1\nHost: a\n\n"),
    ("one bare line feed", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: b\n\r\n"),
    ("a folded header", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
    ("a zero byte", "GET /healthz HTTP/1.1\r\nHost: a\0\r\n\r\n"),
    ("a space in the address", "GET /health z HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another version", "GET /healthz HTTP/3.0\r\nHost: a\r\n\r\n"),
];

#[track_caller]
fn assert_bad_request(gateway: &Gateway, name: &str, bytes: impl AsRef<[u8]>) {
    let mut wire = Wire::open(gateway);
    let answer = wire.send(bytes).answer();
    assert_eq!(answer.status, 400, "{name}: {answer:?}");
    assert!(answer.header("x-metagate-error").is_some(), "{name}: {answer:?}");
    assert_refused(&answer, 400, "bad_request");
    assert_eq!(answer.header("connection"), Some("close"), "{name}");
    wire.wait_closed();
}

#[test]
fn h5_ambiguous_heads_are_refused_and_end_the_connection() {
    let gateway = serving("");
    for (name, head) in AMBIGUOUS {
        assert_bad_request(&gateway, name, head);
        // What follows on the connection is not served.
        assert_bad_request(&gateway, name, format!("{head}{}", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn h5_what_is_no_http_is_told_so_in_the_one_shape() {
    let gateway = serving("");
    let cases: [(&str, &[u8]); 9] = [
        ("a space in a header's name", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"),
        ("a space behind a header's name", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
        ("no header's name", b"GET /healthz HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("a control byte in a header", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
        ("a method that is no token", b"G(T /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an address that is not valid", b"GET /health<z> HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an address that is no text", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an address without a host", b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a"),
    ];
    for (name, bytes) in cases {
        assert_bad_request(&gateway, name, bytes);
    }
}

#[test]
fn h5_the_longest_length_is_too_large_and_no_longer_one_is_a_header_fault() {
    let gateway = serving("");
    for length in [u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        let answer = Wire::open(&gateway).send(post("run", &format!("content-length: {length}\r\n\r\n"))).answer();
        assert_eq!((length, answer.status), (length, 413), "{answer:?}");
        assert_refused(&answer, 413, "payload_too_large");
    }
}

#[test]
fn h5_bad_chunks_are_refused_and_end_the_connection() {
    let gateway = serving("");
    let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for chunks in [
        "zz\r\n[1]\r\n0\r\n\r\n",
        "-3\r\n[1]\r\n0\r\n\r\n",
        "+3\r\n[1]\r\n0\r\n\r\n",
        "3\n[1]\n0\n\n",
        "3\r\n[1]x\r\n0\r\n\r\n",
        "3;\n\r\n[1]\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n[1]",
    ] {
        assert_bad_request(
            &gateway,
            chunks,
            format!("{}{chunks}{next}", post("run", "transfer-encoding: chunked\r\n\r\n")),
        );
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
    let fine = "3;a=b;c=\"d\"\r\n[1]\r\n0;e\r\ntrailer: x\r\n\r\n";
    let mut wire = Wire::open(&gateway);
    wire.send(format!("{}{fine}{next}", post("args", "transfer-encoding: chunked\r\n\r\n")));
    assert_eq!((wire.answer().json(), wire.answer().body), (json!([1]), "ok\n".to_owned()));
}

#[test]
fn h5_a_long_chunk_extension_does_not_switch_the_checks_off() {
    let gateway = serving("");
    let chunks = format!("3;{}\r\n[1]\r\n0\r\n\r\n", "x".repeat(300));
    let mut wire = Wire::open(&gateway);
    wire.send(post("args", "transfer-encoding: chunked\r\n\r\n")).send(chunks);
    wire.send("GET /healthz HTTP/1.1\nHost: a\nHost: b\n\n");
    let first = wire.answer();
    // Either the extension is refused, or what follows is checked as ever.
    if first.status == 200 {
        assert_refused(&wire.answer(), 400, "bad_request");
    } else {
        assert_refused(&first, 400, "bad_request");
    }
    wire.wait_closed();
}

#[test]
fn h6_pipelined_requests_are_answered_in_order_each_with_its_own_answer() {
    const REQUESTS: usize = 200;
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    let mut all = Vec::new();
    for n in 0..REQUESTS {
        all.extend(match n % 4 {
            // The first ones take longer than those behind them.
            0 => request("POST", &path("sleep"), &[], format!("[{},{n}]", (REQUESTS - n) / 20)),
            1 => request("GET", "/nowhere", &[("x-request-id", &n.to_string())], ""),
            2 => post("args", &format!("transfer-encoding: chunked\r\n\r\n5\r\n[{n:>3}]\r\n0\r\n\r\n")).into_bytes(),
            _ => request("POST", &path("nosuch"), &[("x-request-id", &n.to_string())], "[]"),
        });
    }
    wire.send(all);
    for n in 0..REQUESTS {
        let answer = wire.answer();
        match n % 4 {
            0 => assert_eq!(answer.json(), json!(n)),
            2 => assert_eq!(answer.json(), json!([n])),
            _ => assert_eq!((answer.status, answer.header("x-request-id")), (404, Some(&*n.to_string()))),
        }
    }
}

#[test]
fn h6_a_refused_request_does_not_cut_the_answer_before_it() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    wire.send(request("POST", &path("large"), &[], "[6000000]")).send("GARBAGE\r\n\r\n");
    // Longer than it takes to find the second request wanting, with most of the first answer still to be written.
    thread::sleep(Duration::from_millis(700));
    assert_eq!(wire.answer().body.len(), 6_000_002);
    assert_refused(&wire.answer(), 400, "bad_request");
    wire.wait_closed();
}

#[test]
fn h6_a_refused_request_behind_others_is_answered_last() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    wire.send(request("POST", &path("sleep"), &[], "[150,1]")).send(asked("runs"));
    wire.send("GET / HTTP/1.1\r\n\r\n").send(asked("run"));
    assert_eq!(wire.answer().json(), json!(1));
    assert_eq!(wire.answer().json(), json!(0));
    assert_refused(&wire.answer(), 400, "bad_request");
    wire.wait_closed();
    assert_eq!(gateway.get(&path("runs")).body, "0");
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
    assert!(start.elapsed() < Duration::from_secs(1), "20 calls took {:?}", start.elapsed());
    for wire in idle.iter_mut().take(10) {
        assert_eq!(wire.send(asked("args")).answer().status, 200);
    }
}

#[test]
fn h9_connections_beyond_the_limit_are_told_so_and_the_admin_listener_goes_on() {
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

#[test]
fn h10_json_that_cannot_be_taken_is_refused_with_its_line_and_column() {
    let gateway = serving("");
    let deep = "[".repeat(129) + &"]".repeat(129);
    let deep_in_object = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    let cases: [(&[u8], usize, usize); 22] = [
        (b"[1,]", 1, 4),
        (b"[1 2]", 1, 4),
        (b"{\n  \"a\": tru}", 2, 11),
        (b"{\"a\":1}{\"b\":2}", 1, 8),
        (b"{\"a\" 1}", 1, 6),
        (b"{a:1}", 1, 2),
        (b"{'a':1}", 1, 2),
        (b"[1", 1, 2),
        (b"[\n\n[01]]", 3, 3),
        (b"[NaN]", 1, 2),
        (b"[1] // why", 1, 5),
        (b"null", 1, 1),
        (b"1", 1, 1),
        (b"\"a\"", 1, 1),
        (b"\xef\xbb\xbf[1]", 1, 1),
        (b"[\"\xff\"]", 1, 3),
        (b"[\"a\tb\"]", 1, 3),
        (b"[\"\\ud800\"]", 1, 3),
        (b"[\n1e999]", 2, 1),
        (b"  ", 1, 2),
        (deep.as_bytes(), 1, 129),
        (deep_in_object.as_bytes(), 1, 133),
    ];
    for (body, line, column) in cases {
        let answer = wire::send(&gateway, "POST", &path("run"), &[("content-type", "application/json")], body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(answer.status, 400, "{shown:?} {answer:?}");
        assert_refused(&answer, 400, "invalid_json");
        let message = answer.message();
        assert!(message.ends_with(&format!("at line {line} column {column}")), "{shown:?}: {message}");
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
}

#[test]
fn h12_addresses_that_could_be_taken_for_others_are_refused() {
    let gateway = serving("");
    for address in [
        "/local/it/v1/call/%2e%2e%2frun",
        "/local/it/v1/call/..",
        "/local/it/v1/call/a..b",
        "/local/../v1/call/run",
        "/local/%2E%2e/v1/call/run",
        "/local/./v1/call/run",
        "/local/it/v1/call/run%00",
        "/local/it/v1/call/%ff",
        "/local/it/v1/call/%zz",
        "/local/it/v1/call/run%",
        "/local/it/v1/call/run%2",
        "//local/it/v1/call/run",
        "/local//it/v1/call/run",
        "/local/it/v1/call//run",
        "/local/it/v1/call/run/",
        "/local/it/v1/call/",
        "/local/it;a/v1/call/run",
        "/local/it/v1/call/run;a=b",
        "/local/it%2Fv1/v1/call/run",
        "/local/it/v1/call/a%5cb",
        "/local/it/v1/call/a%20b",
        "/local/it/v1/call/run%0d%0aX:%20y",
        "/local/-it/v1/call/run",
        "/local/%C3%A4/v1/call/run",
        "/l%20l/it/v1/call/run",
        "/api/../healthz",
        "/static/%2e%2e/x",
    ] {
        let answer = wire::send(&gateway, "POST", address, &[], "[]");
        assert_eq!(answer.status, 400, "{address}: {answer:?}");
        assert_refused(&answer, 400, "bad_name");
        assert!(!answer.header("x-metagate-error").unwrap().contains('\n'));
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
    for address in [
        "/local/it/v1/call/%72un",
        "/lo%63al/i%74/v1/%63all/run",
        "/local/it/v1/call/run?a=%zz&..",
        "/local/it/v1/call/run?",
    ] {
        assert_eq!(wire::send(&gateway, "POST", address, &[], "[]").status, 200, "{address}");
    }
    // Decoded once, not twice.
    let twice = wire::send(&gateway, "POST", "/local/it/v1/call/%2572un", &[], "[]");
    assert_refused(&twice, 400, "bad_name");
}

#[test]
fn h13_reserved_names_cannot_be_deployed_or_be_the_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagate.toml");
    let path = fixture("echo-node");
    for name in ["api", "validate", "admin", "metrics", "healthz", "readyz", ".well-known", "API"] {
        for text in [
            format!(
                "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\n[[deployment]]\nname = {name:?}\npath = {path:?}\n"
            ),
            format!("[server]\nlisten = \"127.0.0.1:0\"\nprefix = {name:?}\n"),
        ] {
            if name == "API" && text.contains("name") {
                continue;
            }
            fs::write(&file, &text).unwrap();
            let output = metagate().arg("serve").arg(&file).current_dir(folder.path()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{text}\n{stderr}");
            assert!(stderr.contains(&format!("{name:?}")), "{stderr}");
        }
    }
}

#[test]
fn h16_absolute_addresses_are_read_by_their_path_and_nothing_is_tunnelled() {
    let gateway = serving("");
    let absolute = format!("http://elsewhere.example:81{}", path("args"));
    assert_eq!(wire::send(&gateway, "POST", &absolute, &[], "[1]").json(), json!([1]));
    let mut wire = Wire::open(&gateway);
    let answer = wire.send("CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n").answer();
    assert_refused(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").is_some());
    wire.wait_closed();
}

#[test]
fn h16_an_upgrade_is_not_taken_up() {
    let gateway = serving("");
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        let headers = [("connection", "Upgrade"), ("upgrade", upgrade), ("http2-settings", "AAMAAABkAAQAAP__")];
        let mut wire = Wire::open(&gateway);
        let answer = wire.send(request("POST", &path("args"), &headers, "[1]")).answer();
        assert_eq!((answer.status, answer.header("upgrade")), (200, None), "{upgrade}");
        assert_eq!(wire.send(asked("args")).answer().body, "[]", "{upgrade}");
    }
}

#[test]
fn h16_the_gateways_own_addresses_refuse_other_methods_too() {
    let gateway = serving("");
    let own = [
        ("/healthz", "GET"),
        ("/readyz", "GET"),
        ("/api/inspect", "GET"),
        ("/api/readiness", "GET"),
        ("/api/deploy/logs", "POST"),
    ];
    for (address, allowed) in own {
        for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = wire::send(&gateway, method, address, &[], "");
            assert_refused(&answer, 405, "method_not_allowed");
            let allow: HashSet<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            assert!(allow.contains(allowed), "{address} {allow:?}");
        }
    }
    let mut wire = Wire::open(&gateway);
    let answer = wire.send(request("HEAD", "/healthz", &[], "")).answer_without_body();
    assert_eq!(answer.status, 200);
    assert_eq!(wire.send(request("GET", "/healthz", &[], "")).answer().body, "ok\n");
    for target in ["*", "/", "/nowhere", "/api", "/api/", "/local", "/local/it/v1/call/run/a/b/c"] {
        for method in ["GET", "POST", "OPTIONS"] {
            assert_refused(&wire::send(&gateway, method, target, &[], ""), 404, "not_found");
        }
    }
}

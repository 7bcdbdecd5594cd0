//! HTTP/2 without TLS, by prior knowledge: what curl makes of it, and frames written by hand where curl would not help.

mod floods;
mod heads;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http_limits::buffers::metric;
use crate::support::{Answer, Gateway, fixture, wait_for};
use crate::wire::assert_refused;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;

fn serving(server: &str) -> Gateway {
    let path = fixture("echo-node");
    Gateway::ready(&format!("[server]\n{server}\n[[deployment]]\nname = \"it\"\npath = {path:?}\nconcurrency = 128\n"))
}

fn path(function: &str) -> String {
    format!("/local/it/v1/call/{function}")
}

/// Asks with curl over HTTP/2.
#[track_caller]
fn curl(gateway: &Gateway, path: &str, arguments: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--include",
        "--max-time",
        "20",
        "--http2-prior-knowledge",
        "--path-as-is",
    ]);
    let output = command.args(arguments).arg(gateway.url(path)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("curl: {} {text:?} {}", output.status, String::from_utf8_lossy(&output.stderr)));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/2 ")).unwrap_or_else(|| panic!("{head}"));
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer { status: status.trim().parse().unwrap(), headers: headers.collect(), body: body.to_owned() }
}

/// A connection of HTTP/2 whose frames the test writes itself.
struct Frames {
    stream: TcpStream,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frames {
    fn open(gateway: &Gateway) -> Self {
        let mut frames = Self { stream: gateway.connect() };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        let _closed = self.stream.write_all(&[&head, payload].concat());
    }

    /// Begins a POST; `flags` say whether that is all of it.
    fn post(&mut self, stream: u32, path: &str, flags: u8) {
        // HPACK, RFC 7541: indexed `:method: POST` and `:scheme: http`, then literals without indexing.
        let mut block = vec![0x83, 0x86];
        for (index, value) in [(4, path), (1, "a")] {
            block.extend([index, u8::try_from(value.len()).unwrap()]);
            block.extend(value.as_bytes());
        }
        self.send(HEADERS, END_HEADERS | flags, stream, &block);
    }

    /// A whole call.
    fn call(&mut self, stream: u32, function: &str, body: &str) {
        self.post(stream, &path(function), 0);
        self.send(DATA, END_STREAM, stream, body.as_bytes());
    }

    /// The next frame; nothing when the connection is closed.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        if let Err(error) = self.stream.read_exact(&mut head) {
            assert!(!matches!(error.kind(), std::io::ErrorKind::WouldBlock), "no frame came");
            return None;
        }
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        self.stream.read_exact(&mut payload).unwrap();
        if matches!(kind, SETTINGS | PING) && flags & ACK == 0 {
            self.send(kind, ACK, 0, if kind == PING { &payload } else { &[] });
        }
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads until some stream has had its whole body; gives which and what.
    #[track_caller]
    fn body(&mut self) -> (u32, Value) {
        let mut bodies = std::collections::HashMap::<u32, Vec<u8>>::new();
        loop {
            let frame = self.next().expect("an answer before the end of the connection");
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
            if frame.kind == DATA {
                bodies.entry(frame.stream).or_default().extend(&frame.payload);
                if frame.flags & END_STREAM != 0 {
                    let body = &bodies[&frame.stream];
                    return (frame.stream, serde_json::from_slice(body).unwrap());
                }
            }
        }
    }
}

#[test]
fn calls_work_over_http2() {
    let gateway = serving("");
    let answer = curl(&gateway, &path("f"), &["--data", r#"{"b":2,"a":1}"#, "--header", "x-request-id: abc"]);
    assert_eq!((answer.status, answer.json()), (200, json!({"b": 2, "a": 1})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-request-id"), Some("abc"));
    assert_eq!(curl(&gateway, &path("args"), &[]).body, "[]");
    assert_eq!(curl(&gateway, &path("say"), &["--data", "[1]"]).body, "");
    assert_eq!(curl(&gateway, "/healthz", &[]).body, "ok\n");
    let large = curl(&gateway, &path("large"), &["--data", "[5000000]"]);
    assert_eq!((large.status, large.body.len()), (200, 5_000_002));
}

#[test]
fn refusals_have_the_same_shape_over_http2() {
    let gateway = serving("max_body = \"1KiB\"");
    let long = format!("/{}", "a".repeat(9000));
    let sized = format!("@{}", large_file(&gateway).display());
    let cases: [(&str, &[&str], u16, &str); 9] = [
        (&path("nosuch"), &[], 404, "function_not_found"),
        ("/local/other/v1/call/f", &[], 404, "deployment_not_found"),
        ("/nowhere", &[], 404, "not_found"),
        ("/local/it/v1/call/..", &[], 400, "bad_name"),
        (&path("f"), &["--json", "[1"], 400, "invalid_json"),
        (&path("f"), &["--data", "x", "--header", "content-encoding: br"], 415, "unsupported_media_type"),
        (&path("run"), &["--request", "PUT"], 405, "method_not_allowed"),
        (&path("size"), &["--data-binary", &sized], 413, "payload_too_large"),
        (&long, &[], 414, "uri_too_long"),
    ];
    for (path, arguments, status, code) in cases {
        assert_refused(&curl(&gateway, path, arguments), status, code);
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
}

fn large_file(gateway: &Gateway) -> std::path::PathBuf {
    let file = gateway.folder.path().join("large.json");
    std::fs::write(&file, " ".repeat(2000)).unwrap();
    file
}

#[test]
fn a_head_request_over_http2_gets_no_body() {
    let gateway = serving("");
    for (path, status) in [("/healthz", 200), ("/nowhere", 404), (&path("run"), 200), (&path("none"), 404)] {
        let head = curl(&gateway, path, &["--head"]);
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{path}");
    }
    // It is called as by GET.
    assert_eq!(gateway.get(&path("runs")).body, "1");
}

#[test]
fn oversized_headers_over_http2_are_a_431_in_the_one_shape() {
    let gateway = serving("");
    let large = format!("x: {}", "a".repeat(17 * 1024));
    let answer = curl(&gateway, "/healthz", &["--header", &large]);
    assert_eq!(answer.status, 431);
    assert_refused(&answer, 431, "headers_too_large");
}

#[test]
fn more_than_a_hundred_headers_over_http2_are_a_431() {
    let gateway = serving("");
    let headers: Vec<String> = (0..101).map(|n| format!("x{n}: a")).collect();
    let arguments: Vec<&str> = headers.iter().flat_map(|header| ["--header", header]).collect();
    assert_refused(&curl(&gateway, "/healthz", &arguments), 431, "headers_too_large");
}

#[test]
fn streams_of_one_connection_run_at_once_and_end_in_their_own_order() {
    const STREAMS: u32 = 100;
    let gateway = serving("");
    let mut frames = Frames::open(&gateway);
    let start = Instant::now();
    for n in 0..STREAMS {
        // The first ones take longest.
        frames.call(2 * n + 1, "sleep", &format!("[{},{n}]", if n < STREAMS / 2 { 600 } else { 100 }));
    }
    let ended: Vec<u32> = (0..STREAMS)
        .map(|_| {
            let (stream, value) = frames.body();
            assert_eq!(value, json!((stream - 1) / 2));
            (stream - 1) / 2
        })
        .collect();
    assert!(ended[..STREAMS as usize / 2].iter().all(|n| *n >= STREAMS / 2), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}: one after another", start.elapsed());
}

#[test]
fn h14_a_hundred_streams_are_the_limit_that_the_gateway_announces() {
    let gateway = serving("");
    let mut frames = Frames::open(&gateway);
    let settings =
        std::iter::from_fn(|| frames.next()).find(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap();
    let announced = settings.payload.chunks(6).find(|pair| pair[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes()).unwrap();
    assert_eq!(announced[2..], 100_u32.to_be_bytes());
    // One more is refused alone: the others go on.
    for n in 0..=100 {
        frames.call(2 * n + 1, "sleep", "[300,1]");
    }
    let mut refused = Vec::new();
    let mut ended = 0;
    while ended + refused.len() < 101 {
        let frame = frames.next().expect("the connection goes on");
        assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        if frame.kind == RESET && !refused.contains(&frame.stream) {
            refused.push(frame.stream);
        }
        ended += usize::from(frame.kind == DATA && frame.flags & END_STREAM != 0);
    }
    assert_eq!(refused, [201]);
}

#[test]
fn a_body_beyond_the_limit_is_refused_while_it_still_comes() {
    let gateway = serving("max_body = \"1KiB\"");
    let mut frames = Frames::open(&gateway);
    frames.post(1, &path("size"), 0);
    frames.send(DATA, 0, 1, &[b' '; 2048]);
    let (stream, body) = frames.body();
    assert_eq!((stream, &body["error"]["code"]), (1, &json!("payload_too_large")));
    // Other streams of the connection are not concerned.
    frames.call(3, "args", "[1]");
    assert_eq!(frames.body(), (3, json!([1])));
}

#[test]
fn a_body_that_stops_coming_ends_its_stream_only() {
    let gateway = serving("body_timeout = \"300ms\"");
    let mut frames = Frames::open(&gateway);
    frames.post(1, &path("run"), 0);
    frames.send(DATA, 0, 1, b"[");
    frames.call(3, "args", "[1]");
    assert_eq!(frames.body(), (3, json!([1])));
    let (stream, body) = frames.body();
    assert_eq!((stream, &body["error"]["code"]), (1, &json!("request_timeout")));
    frames.call(5, "runs", "");
    assert_eq!(frames.body(), (5, json!(0)));
}

#[test]
fn a_reset_stream_leaves_the_others_alone() {
    let gateway = serving("");
    let mut frames = Frames::open(&gateway);
    frames.call(1, "sleep", "[400,1]");
    frames.call(3, "sleep", "[500,3]");
    wait_for("both calls", || (gateway.readiness("it")["in_flight"] == 2).then_some(()));
    frames.send(RESET, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(frames.body(), (3, json!(3)));
    wait_for("the late answer", || (gateway.readiness("it")["odd_messages"] == 1).then_some(()));
    assert_eq!(gateway.readiness("it")["in_flight"], 0);
}

#[test]
fn an_http2_connection_that_idles_is_closed() {
    let gateway = serving("idle_timeout = \"300ms\"");
    let mut frames = Frames::open(&gateway);
    frames.call(1, "args", "[1]");
    assert_eq!(frames.body(), (1, json!([1])));
    frames.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    while frames.next().is_some() {}
}

#[test]
fn l5_a_stream_under_way_ends_well_when_the_gateway_stops_and_the_next_one_is_refused() {
    let mut gateway = serving("");
    let mut frames = Frames::open(&gateway);
    frames.call(1, "sleep", "[500,1]");
    wait_for("the call", || (gateway.readiness("it")["in_flight"] == 1).then_some(()));
    gateway.signal(rustix::process::Signal::TERM);
    wait_for("the drain", || gateway.log().contains("stopping: waiting for calls in flight").then_some(()));
    // Sent before the client has read the GOAWAY.
    frames.call(3, "args", "[]");
    let (mut announced, mut under_way, mut next) = (false, Vec::new(), Vec::new());
    while let Some(frame) = frames.next() {
        announced |= frame.kind == GOAWAY;
        if frame.kind == DATA {
            if frame.stream == 1 { &mut under_way } else { &mut next }.extend(frame.payload);
        }
    }
    assert_eq!((announced, under_way.as_slice()), (true, &b"1"[..]));
    let refusal: Value = serde_json::from_slice(&next).unwrap();
    assert_eq!(refusal["error"]["code"], "draining");
    assert!(gateway.wait_end().success());
}

#[test]
fn h14_answers_that_a_client_gives_no_room_hold_no_more_memory_than_the_budget() {
    let gateway = serving("max_buffered = \"16MiB\"");
    let before = gateway.resident_bytes();
    let mut frames = Frames::open(&gateway);
    // SETTINGS_INITIAL_WINDOW_SIZE 0: the gateway may send heads, and no byte of a body.
    frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for stream in 0..30 {
        frames.call(2 * stream + 1, "large", "[3000000]");
    }
    let mut heads = 0;
    while heads < 30 {
        heads += usize::from(frames.next().expect("an open connection").kind == HEADERS);
    }
    // A quarter of the budget is a connection's own: two such answers do not fit.
    let held = metric(&gateway, "metagate_buffered_bytes");
    assert!(held <= 4 * 1024 * 1024, "{held} bytes are held");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 48 * 1024 * 1024, "the gateway grew by {grown} bytes");
    drop(frames);
    wait_for("an empty budget", || (metric(&gateway, "metagate_buffered_bytes") == 0).then_some(()));
}

#[test]
fn an_answer_is_whole_however_little_room_a_client_gives_at_a_time() {
    let gateway = serving("");
    let mut frames = Frames::open(&gateway);
    frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 3, 232]);
    frames.call(1, "large", "[300000]");
    let mut body = Vec::new();
    loop {
        let frame = frames.next().expect("an open connection");
        if frame.kind == DATA {
            let room = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
            body.extend(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
            for stream in [0, 1] {
                frames.send(WINDOW_UPDATE, 0, stream, &room);
            }
        }
    }
    let text: String = serde_json::from_slice(&body).unwrap();
    assert!(text.len() == 300_000 && text.bytes().all(|byte| byte == b'x'));
}

//! Requests that functions send to other servers, from a component built for `wasmtime serve`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::deployment;
use crate::support::{Gateway, fixture};

/// Starts a server that answers requests with `hello`, or never. Returns its port.
fn server(answers: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if answers {
                let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                assert!(head.count() > 0);
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
            } else {
                kept.push(stream);
            }
        }
    });
    port
}

fn serving(keys: &str) -> Gateway {
    Gateway::ready(&deployment("it", &fixture("wasm-http/rust"), keys))
}

#[test]
fn a_component_for_wasmtime_serve_answers_requests() {
    let gateway = serving("");
    let answer = gateway.post("/local/it/v1/http/a/b?c=%20d", &[("x-own", "1")], "the body");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
    assert!(answer.body.starts_with("POST /a/b?c=%20d\n") && answer.body.contains("\nx-own: 1\n"), "{answer:?}");
    assert!(answer.body.ends_with("\n\nthe body"), "{answer:?}");
    assert_eq!(gateway.get("/local/it/v1/http/status/418").status, 418);
    assert_eq!(gateway.get("/local/it/v1/http/large").body.len(), 1 << 20);
    let crashed = gateway.get("/local/it/v1/http/crash");
    assert_eq!((crashed.status, crashed.code()), (500, "function_error"));
    assert!(gateway.get("/local/it/v1/http").body.starts_with("GET /\n"));
}

#[test]
fn requests_go_to_granted_origins_only() {
    let (granted, other) = (server(true), server(true));
    let gateway = serving(&format!("wasm.grants.http = [\"http://127.0.0.1:{granted}\"]"));
    let fetched = |port: u16| gateway.get(&format!("/local/it/v1/http/fetch/127.0.0.1:{port}")).body;
    assert_eq!(fetched(granted), "hello");
    assert_eq!(fetched(granted), "hello");
    assert!(fetched(other).contains("HttpRequestDenied"), "{}", fetched(other));
    // The same address under another name is another origin.
    let named = gateway.get(&format!("/local/it/v1/http/fetch/localhost:{granted}")).body;
    assert!(named.contains("HttpRequestDenied"), "{named}");

    let gateway = serving("");
    let denied = gateway.get(&format!("/local/it/v1/http/fetch/127.0.0.1:{granted}")).body;
    assert!(denied.contains("HttpRequestDenied"), "{denied}");
}

#[test]
fn a_component_sends_requests_as_long_as_its_answer_flows() {
    let port = server(true);
    let gateway = serving(&format!("timeout = \"1s\"\nwasm.grants.http = [\"http://127.0.0.1:{port}\"]"));
    // It waits longer than the timeout after its first line.
    let answer = gateway.get(&format!("/local/it/v1/http/late/127.0.0.1:{port}"));
    assert_eq!((answer.status, answer.body.as_str()), (200, "wait\nhello"));
}

#[test]
fn a_server_that_never_answers_costs_its_call_only() {
    let silent = server(false);
    let gateway =
        serving(&format!("timeout = \"500ms\"\nconcurrency = 2\nwasm.grants.http = [\"http://127.0.0.1:{silent}\"]"));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let late = gateway.get(&format!("/local/it/v1/http/fetch/127.0.0.1:{silent}"));
                assert_eq!((late.status, late.code()), (504, "call_timeout"));
            });
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for _ in 0..5 {
        assert_eq!(gateway.get("/local/it/v1/http/status/204").status, 204);
    }
}

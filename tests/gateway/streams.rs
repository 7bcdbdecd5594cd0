//! Results that are streams, with a worker that was written for the protocol alone: their forms, their errors, their
//! bounds, and what the worker learns when a caller leaves.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::faulty::{assert_error, python};
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::support::{Answer, Gateway, fixture, wait_for};
use crate::wire;

fn streaming(more: &str) -> Gateway {
    Gateway::ready(&(config() + more))
}

pub(crate) fn accepting(gateway: &Gateway, accept: &str, function: &str, body: &str) -> Answer {
    let headers = [("accept", accept), ("content-type", "application/json")];
    gateway.post(&format!("/local/x/v1/call/{function}"), &headers, body)
}

#[test]
fn a_stream_is_sent_in_the_form_that_its_caller_accepts() {
    let gateway = streaming("");
    for (accept, kind, body) in [
        ("*/*", "application/json", "[0,1,2]"),
        ("text/event-stream", "text/event-stream", "data: 0\n\ndata: 1\n\ndata: 2\n\n"),
        ("application/x-ndjson", "application/x-ndjson", "0\n1\n2\n"),
    ] {
        let answer = accepting(&gateway, accept, "count", "[3]");
        assert_eq!((answer.status, answer.header("content-type"), answer.body.as_str()), (200, Some(kind), body));
    }
    assert_eq!(accepting(&gateway, "*/*", "count", "[0]").body, "[]");
    assert_eq!(accepting(&gateway, "text/event-stream", "count", "[0]").body, "");
    let many = accepting(&gateway, "*/*", "count", "[50000]");
    let items: Vec<u32> = serde_json::from_str(&many.body).unwrap();
    assert!(items.into_iter().eq(0..50_000));
}

#[test]
fn a_large_item_comes_in_parts() {
    let gateway = streaming("");
    let answer = accepting(&gateway, "*/*", "parts", "[3000]");
    assert_eq!(answer.json(), json!([1, {"a": vec!["é\n"; 3000]}]));
    let events = accepting(&gateway, "text/event-stream", "parts", "[300]").body;
    let lines: Vec<&str> = events.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!((lines.len(), lines[0]), (2, "data: 1"));
    let item: serde_json::Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(item, json!({"a": vec!["é\n"; 300]}));
}

#[test]
fn a_response_may_have_a_body_that_is_a_stream() {
    let gateway = streaming("");
    let answer = accepting(&gateway, "text/event-stream", "download", "[300000]");
    assert_eq!((answer.status, answer.header("content-type"), answer.header("x-a")), (200, Some("text/x"), Some("b")));
    assert_eq!((answer.body.len(), answer.body.trim_matches('y')), (300_000, ""));
    let answer = accepting(&gateway, "*/*", "download", r#"[5000, {"status": 200, "headers": [["a", "b\r\nc: d"]]}]"#);
    assert_error(&answer, 502, "worker_protocol_error");
    wait_for("the stream to be cancelled", || (cancelled(&gateway) == 1).then_some(()));
}

#[test]
fn an_error_before_the_head_has_a_status() {
    let gateway = streaming("");
    for accept in ["*/*", "text/event-stream", "application/x-ndjson"] {
        let answer = accepting(&gateway, accept, "fail_after", "[0]");
        assert_error(&answer, 500, "function_error");
    }
    assert_error(&accepting(&gateway, "*/*", "fail_after", "[20]"), 500, "function_error");
    let answer = accepting(&gateway, "text/event-stream", "fail_after", r#"[0, {"status": 409}]"#);
    assert_error(&answer, 409, "function_error");
    assert_error(&accepting(&gateway, "*/*", "exit_after", "[0]"), 502, "worker_crashed");
}

/// The answer on a connection of its own, up to its end, and whether it is complete.
pub(crate) fn raw(gateway: &Gateway, accept: &str, function: &str, body: &str) -> (String, bool) {
    let mut wire = ask(gateway, accept, function, body);
    let mut text = Vec::new();
    let ended = wire.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let complete = ended.is_ok() && text.ends_with("0\r\n\r\n");
    (text, complete)
}

pub(crate) fn ask(gateway: &Gateway, accept: &str, function: &str, body: &str) -> TcpStream {
    use std::io::Write as _;
    let mut stream = gateway.connect();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(
        stream,
        "POST /local/x/v1/call/{function} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

#[test]
fn a_stream_that_breaks_off_never_looks_complete() {
    let gateway = streaming("");
    for function in ["fail_after", "exit_after"] {
        for accept in ["*/*", "text/event-stream", "application/x-ndjson"] {
            // More than is held back.
            let (text, complete) = raw(&gateway, accept, function, "[40000]");
            assert!(
                text.starts_with("HTTP/1.1 200 ") && !complete,
                "{function} {accept}: {}",
                &text[text.len() - 200..]
            );
            assert_eq!(text.contains("event: error"), accept == "text/event-stream", "{function}");
            gateway.wait_ready();
        }
    }
    let (text, complete) = raw(&gateway, "text/event-stream", "count", "[40000]");
    assert!(complete, "{}", &text[text.len() - 200..]);
    assert!(gateway.get("/api/logs/x").body.contains("fail_after failed in its stream: Failure: no more"));
}

#[test]
fn a_client_of_http_1_0_sees_that_a_stream_broke_off() {
    use std::io::Write as _;
    let gateway = streaming("");
    for (function, is_whole) in [("count", true), ("fail_after", false), ("exit_after", false)] {
        let mut stream = gateway.connect();
        let head = "accept: application/x-ndjson\r\ncontent-type: application/json\r\ncontent-length: 7";
        write!(stream, "POST /local/x/v1/call/{function} HTTP/1.0\r\n{head}\r\n\r\n[40000]").unwrap();
        let mut text = Vec::new();
        let ended = stream.read_to_end(&mut text);
        assert_eq!(ended.is_ok(), is_whole, "{function}: {ended:?} after {} bytes", text.len());
    }
}

pub(crate) fn cancelled(gateway: &Gateway) -> usize {
    gateway.call("x", "told", "[]").json()["cancelled"].as_array().unwrap().len()
}

#[test]
fn a_caller_that_leaves_ends_its_stream() {
    let gateway = streaming("");
    for (at, function) in ["endless", "silent", "late"].into_iter().enumerate() {
        let mut caller = ask(&gateway, "text/event-stream", function, "[10]");
        if function == "late" {
            wait_for("the call", || (gateway.call("x", "told", "[]").json()["running"] == 1).then_some(()));
        } else {
            caller.read_exact(&mut [0; 20]).unwrap();
        }
        drop(caller);
        wait_for("the cancel", || (cancelled(&gateway) == at + 1).then_some(()));
    }
    assert_eq!(gateway.call("x", "told", "[]").json()["running"], 0);
}

#[test]
fn a_slow_reader_stops_the_stream_and_other_calls_go_on() {
    let gateway = streaming("");
    let mut caller = ask(&gateway, "application/x-ndjson", "endless", "[500]");
    caller.read_exact(&mut [0; 1000]).unwrap();
    let mut last = 0;
    wait_for("the worker to wait", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = gateway.resident_bytes();
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    for number in 1..20 {
        assert_eq!(gateway.call("x", "count", &format!("[{number}]")).status, 200);
    }
    let before = gateway.resident_bytes();
    let mut rest = vec![0; 1 << 20];
    for _ in 0..20 {
        caller.read_exact(&mut rest).unwrap();
    }
    let more = gateway.resident_bytes().saturating_sub(before);
    assert!(more < 8 << 20, "{more} bytes more for one stream");
}

#[test]
fn a_stream_may_be_idle_for_so_long() {
    let gateway = streaming("stream_idle_timeout = \"300ms\"\n");
    let (text, complete) = raw(&gateway, "application/x-ndjson", "silent", "[]");
    assert!(text.starts_with("HTTP/1.1 200 ") && !complete, "{text}");
    wait_for("the cancel", || (cancelled(&gateway) == 1).then_some(()));
    let (text, complete) = raw(&gateway, "text/event-stream", "silent", "[]");
    assert!(text.contains("call_timeout") && !complete, "{text}");
    // A worker that ends its idle streams is well.
    for _ in 0..3 {
        raw(&gateway, "application/x-ndjson", "silent", "[]");
    }
    wait_for("the cancels", || (cancelled(&gateway) == 5).then_some(()));
    // The timeout of the call does not count for its stream.
    let gateway = streaming("timeout = \"300ms\"\n");
    let answer = accepting(&gateway, "text/event-stream", "count", "[8, 0.1]");
    assert_eq!(answer.body.matches("data").count(), 8);
}

#[test]
fn a_worker_cannot_send_more_than_its_credit() {
    let gateway = streaming("");
    assert_error(&accepting(&gateway, "*/*", "greedy", "[]"), 502, "worker_protocol_error");
    wait_for("the cancel", || (cancelled(&gateway) == 1).then_some(()));
    for odd in [json!({}), json!({"item": 1, "part": "1"})] {
        assert_error(&accepting(&gateway, "*/*", "odd", &json!([odd]).to_string()), 502, "worker_protocol_error");
    }
    wait_for("the cancels", || (cancelled(&gateway) == 3).then_some(()));
    assert_eq!(gateway.call("x", "count", "[1]").status, 200);
}

#[test]
fn streams_end_when_the_gateway_stops() {
    let gateway = Gateway::ready(&format!("[server]\ndrain = \"500ms\"\n{}", config()));
    let mut caller = ask(&gateway, "application/x-ndjson", "silent", "[]");
    caller.read_exact(&mut [0; 20]).unwrap();
    let start = Instant::now();
    gateway.signal(rustix::process::Signal::TERM);
    let mut text = Vec::new();
    let ended = caller.read_to_end(&mut text);
    assert!(ended.is_err() || !String::from_utf8_lossy(&text).ends_with("0\r\n\r\n"));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn after_hooks_change_the_head_of_a_stream_and_may_ask_for_its_content() {
    let plugin = Plugin::new().after_invoke(|c| {
        let status = c.call("outcome", "set-status", "(i32.const 202)");
        c.expect_ok(status);
        let (name, value) = (c.text("x-hook"), c.text("seen"));
        let header = c.call("outcome", "set-header", format!("{name} {value}"));
        c.expect_ok(header);
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&(config() + &table("p", &file, "")));
    let answer = accepting(&gateway, "text/event-stream", "count", "[2]");
    assert_eq!((answer.status, answer.header("x-hook")), (202, Some("seen")));
    assert_eq!(answer.body, "data: 0\n\ndata: 1\n\n");
}

pub(crate) fn config() -> String {
    format!(
        "[[deployment]]\nname = \"x\"\npath = {:?}\nruntime = \"command\"\ncommand = [{:?}, \"-S\", \"worker.py\"]\n",
        fixture("worker-streams"),
        python(),
    )
}

#[test]
fn two_streams_share_a_channel() {
    let gateway = streaming("");
    std::thread::scope(|scope| {
        let both: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| wire::send(&gateway, "GET", "/healthz", &[], String::new()).status))
            .collect();
        let streams: Vec<_> = (0..4).map(|_| scope.spawn(|| accepting(&gateway, "*/*", "count", "[20000]"))).collect();
        for stream in streams {
            assert_eq!(stream.join().unwrap().json().as_array().unwrap().len(), 20_000);
        }
        assert!(both.into_iter().all(|one| one.join().unwrap() == 200));
    });
}

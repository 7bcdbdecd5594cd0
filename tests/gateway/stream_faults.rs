//! Streams that go wrong: workers that do not end them, that send messages of streams out of order, or that have no
//! place left for other calls.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::faulty::assert_error;
use crate::plugins::Files;
use crate::streams::{accepting, ask, cancelled, config, raw};
use crate::support::{Gateway, wait_for};

fn gateway(more: &str) -> Gateway {
    Gateway::ready(&(config() + more))
}

const STUBBORN: &str = r#"
import asyncio, os, time

def stubborn():
    try:
        while True:
            yield 1
            time.sleep(0.01)
    except GeneratorExit:
        time.sleep(60)

async def ticks(n: int):
    for tick in range(n):
        yield tick
        await asyncio.sleep(0.1)

def pid():
    return os.getpid()
"#;

#[test]
fn a_worker_that_does_not_end_a_stream_is_replaced_and_its_other_calls_end_well() {
    let files = Files::new();
    files.put("main.py", STUBBORN);
    let folder = files.path();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"x\"\npath = {folder:?}\ntimeout = \"1s\"\n"));
    let first = gateway.call("x", "pid", "[]").body;
    let mut leaver = ask(&gateway, "application/x-ndjson", "stubborn", "[]");
    leaver.read_exact(&mut [0; 200]).unwrap();
    drop(leaver);
    // 3 s longer than the worker has to end the other stream, which is longer than a call may take.
    let answer = accepting(&gateway, "application/x-ndjson", "ticks", "[130]");
    assert_eq!((answer.status, answer.body.lines().last()), (200, Some("129")));
    let second = wait_for("another worker", || {
        let answer = gateway.call("x", "pid", "[]");
        (answer.status == 200 && answer.body != first).then_some(answer.body)
    });
    let log = gateway.get("/api/logs/x").body;
    assert!(log.contains("worker is replaced: a stream that was cancelled does not end"), "{log}");
    assert_eq!(gateway.call("x", "pid", "[]").body, second);
}

#[test]
fn a_call_behind_a_stream_is_told_what_it_waited_for() {
    let gateway = gateway("concurrency = 1\ntimeout = \"300ms\"\n");
    let mut stream = ask(&gateway, "application/x-ndjson", "endless", "[500]");
    stream.read_exact(&mut [0; 1000]).unwrap();
    let answer = gateway.call("x", "told", "[]");
    assert_error(&answer, 503, "overloaded");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    for part in ["\"endless\" occupies it", "300ms", "workers or concurrency"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(answer.header("retry-after").is_some());
    drop(stream);
    wait_for("the place of the stream", || (gateway.call("x", "told", "[]").status == 200).then_some(()));
}

#[test]
fn a_pool_grows_where_a_stream_holds_a_worker() {
    let gateway = gateway("concurrency = 1\nworkers = { min = 1, max = 2 }\n");
    let mut stream = ask(&gateway, "application/x-ndjson", "endless", "[500]");
    stream.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(gateway.call("x", "count", "[1]").status, 200);
}

fn odd_messages(gateway: &Gateway) -> u64 {
    gateway.readiness("x")["odd_messages"].as_u64().unwrap()
}

#[test]
fn messages_that_do_not_fit_their_stream_break_it_alone_and_are_counted() {
    let gateway = gateway("stream_idle_timeout = \"5s\"\n");
    let start = json!(["StreamStart", {}]);
    let body = json!(["StreamStart", {"response": {"status": 200, "headers": []}}]);
    let item = json!(["StreamItem", {"item": 1}]);
    let data = json!(["StreamData", {"text": "x"}]);
    let part = json!(["StreamItem", {"part": "[", "last": false}]);
    let end = json!(["StreamEnd", {}]);
    let mut odd = odd_messages(&gateway);
    for (script, cancels) in [
        (json!([start, start]), true),
        (json!([start, data]), true),
        (json!([body, item]), true),
        (json!([body, part]), true),
        (json!([start, part, item]), true),
        (json!([start, ["StreamItem", {"item": "x".repeat(1100)}]]), true),
        (json!([start, ["StreamItem", {}]]), true),
        (json!([body, ["StreamData", {"base64": "?"}]]), true),
        (json!([start, part, end]), false),
        (json!([end]), false),
        (json!([start, ["FunctionInvokeResult", {"result": 1}]]), false),
    ] {
        let before = cancelled(&gateway);
        let (text, _) = raw(&gateway, "text/event-stream", "script", &script.to_string());
        assert!(text.contains("worker_protocol_error"), "{script}: {text}");
        if cancels {
            wait_for("the cancel", || (cancelled(&gateway) > before).then_some(()));
            odd += 1;
        }
        assert_eq!(odd_messages(&gateway), odd, "{script}");
    }
    let unknown = |kind: &str, more: Value| {
        let mut data = json!({"id": "999999"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([kind, data])
    };
    for script in [
        json!([unknown("StreamStart", json!({})), start, end]),
        json!([unknown("StreamItem", json!({"item": 1})), start, end]),
        json!([unknown("StreamData", json!({"text": "x"})), start, end]),
        json!([unknown("StreamEnd", json!({})), start, end]),
        json!([item, start, end]),
        json!([start, end, item]),
        json!([start, end, start]),
        json!([start, end, end]),
    ] {
        let answer = accepting(&gateway, "*/*", "script", &script.to_string());
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{script}");
        odd += 1;
        wait_for("the message to be counted", || (odd_messages(&gateway) == odd).then_some(()));
    }
    assert_eq!(gateway.call("x", "count", "[1]").status, 200);
}

#[test]
fn more_than_a_hundred_messages_of_unknown_streams_in_a_second_end_the_worker() {
    let gateway = gateway("");
    for kind in ["StreamStart", "StreamEnd"] {
        let script = vec![json!([kind, {"id": "999999"}]); 150];
        let answer = accepting(&gateway, "*/*", "script", &json!(script).to_string());
        assert_error(&answer, 502, "worker_protocol_error");
        wait_for("the next worker", || (gateway.call("x", "count", "[1]").status == 200).then_some(()));
    }
}

//! Streams of Node functions: everything that gives one value after another, bodies of a Response, errors, readers that
//! are slow or leave.

use serde_json::{Value, json};

use crate::exports::folder;
use crate::support::{Answer, Gateway, fixture, wait_for};
use crate::wire::{self, Wire};

const CALL: &str = "/local/it/v1/call";
const LINES: (&str, &str) = ("accept", "application/x-ndjson");

fn serving() -> Gateway {
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("streams-node")))
}

fn call(gateway: &Gateway, function: &str, headers: &[(&str, &str)], arguments: &str) -> Answer {
    gateway.post(&format!("{CALL}/{function}"), headers, arguments)
}

#[test]
fn whatever_gives_values_one_after_another_is_a_stream() {
    let gateway = serving();
    for function in ["iterator", "readableStream", "readable"] {
        assert_eq!(call(&gateway, function, &[], "[]").json(), json!([1, "b"]), "{function}");
        assert_eq!(call(&gateway, function, &[LINES], "[]").body, "1\n\"b\"\n", "{function}");
    }
    assert_eq!(call(&gateway, "generator", &[LINES], "[3]").body, "{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n");
    assert_eq!(call(&gateway, "generator", &[], "[0]").json(), json!([]));
    // The request is known in the generator.
    let items = call(&gateway, "asyncGenerator", &[("x-request-id", "abc")], "[2]").json();
    assert_eq!(items, json!([{"i": 0, "id": "abc"}, {"i": 1, "id": "abc"}]));
    let events = call(&gateway, "generator", &[("accept", "text/event-stream")], "[2]");
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert!(events.body.contains("data: {\"i\":0}\n\n") && events.body.contains("data: {\"i\":1}\n\n"), "{events:?}");
}

#[test]
fn items_larger_than_the_credit_arrive_whole() {
    let answer = call(&serving(), "large", &[], "[]");
    assert_eq!(answer.json(), json!(["ü€😀".repeat(40_000)]));
}

#[test]
fn bodies_are_sent_as_they_come() {
    let gateway = serving();
    let answer = call(&gateway, "body", &[], "[]");
    assert_eq!((answer.status, answer.header("content-type"), &*answer.body), (202, Some("text/told"), "1;b;"));
    let file = call(&gateway, "file", &[], "[]");
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert_eq!(file.body, std::fs::read_to_string(fixture("streams-node").join("index.js")).unwrap());
}

#[test]
fn an_error_midway_is_not_the_end_of_a_stream() {
    let gateway = serving();
    let failed = call(&gateway, "failsAtOnce", &[], "[]");
    assert_eq!((failed.status, failed.message().as_str()), (404, "no such list"));
    let mut wire = Wire::open(&gateway);
    wire.send(wire::request("POST", &format!("{CALL}/fails"), &[LINES], "[]"));
    assert_eq!(wire.answer_without_body().status, 200);
    let rest = wire.rest();
    assert!(rest.contains("xxxxxxxxx"), "nothing came");
    assert!(!rest.ends_with("\r\n0\r\n\r\n"), "the stream looks complete");
    wait_for("the error in the log", || gateway.worker_log("it").contains("midway").then_some(()));
}

#[test]
fn a_reader_that_leaves_closes_the_stream() {
    let gateway = serving();
    let streams = ["endless", "endlessAsync", "endlessBody", "waits"];
    let words = ["closed the generator", "closed the async generator", "closed the body", "closed what waits"];
    for (function, words) in streams.into_iter().zip(words) {
        let mut wire = Wire::open(&gateway);
        wire.send(wire::request("POST", &format!("{CALL}/{function}"), &[LINES], "[]"));
        assert_eq!(wire.answer_without_body().status, 200);
        assert!(!gateway.worker_log("it").contains(words), "{function} ended by itself");
        // Others are served while the stream waits for its reader.
        assert_eq!(call(&gateway, "plain", &[], "[]").body, "42");
        drop(wire);
        wait_for(words, || gateway.worker_log("it").contains(words).then_some(()));
    }
    let log = gateway.worker_log("it");
    let line = log.lines().find(|line| line.contains("closed the generator")).unwrap();
    let items = serde_json::from_str::<Value>(&line[line.find('{').unwrap()..]).unwrap()["items"].as_u64().unwrap();
    // What the gateway and the kernel's buffers of two sockets hold, of items with 1 KB.
    assert!(items < 20_000, "{items} items for a reader that read none");
}

#[test]
fn readers_that_leave_generators_that_wait_for_ever_do_not_end_the_worker() {
    let script = "exports.pid = () => process.pid;
        exports.waits = async function* () { yield 1; await new Promise(() => {}); };
        exports.body = () => new Response(new ReadableStream({
          start: (controller) => controller.enqueue(Buffer.from('1')), cancel: () => new Promise(() => {}),
        }));";
    let folder = folder(&[("index.js", script)]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    let pid = call(&gateway, "pid", &[], "[]").body;
    // More than may run out of time.
    for function in ["waits", "body"].repeat(4) {
        let mut wire = Wire::open(&gateway);
        wire.send(wire::request("POST", &format!("{CALL}/{function}"), &[LINES], "[]"));
        assert_eq!(wire.answer_without_body().status, 200);
    }
    wait_for("the end of the streams", || {
        (gateway.get("/readyz").json()["deployments"][0]["in_flight"] == 0).then_some(())
    });
    assert_eq!(call(&gateway, "pid", &[], "[]").body, pid, "the worker was replaced");
}

#[test]
fn a_caller_that_leaves_aborts_the_signal_of_its_call() {
    let gateway = serving();
    let mut wire = Wire::open(&gateway);
    wire.send(wire::request("GET", &format!("{CALL}/untilAborted"), &[], ""));
    wait_for("the call", || gateway.worker_log("it").contains("waiting").then_some(()));
    drop(wire);
    wait_for("the signal", || gateway.worker_log("it").contains("aborted the plain call").then_some(()));
}

#[test]
fn answers_of_an_app_are_sent_as_they_come() {
    let app = "const { pipeline, Readable } = require('stream');
        module.exports = (req, res) => {
          res.on('close', () => console.log('closed', req.url, res.writableFinished));
          if (req.url === '/large') res.end(Buffer.alloc(300_000, 'x'));
          else if (req.url === '/parts') pipeline(Readable.from(['a', 'b', 'c']), res, () => {});
          else setInterval(() => res.destroyed || res.write('x'.repeat(1000)), 1).unref();
        };";
    let folder = folder(&[("index.js", app)]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    assert_eq!(gateway.get("/local/it/v1/http/large").body, "x".repeat(300_000));
    assert_eq!(gateway.get("/local/it/v1/http/parts").body, "abc");
    let mut wire = Wire::open(&gateway);
    wire.send(wire::request("GET", "/local/it/v1/http/endless", &[], ""));
    assert_eq!(wire.answer_without_body().status, 200);
    drop(wire);
    wait_for("the end of the app's answer", || {
        let log = gateway.worker_log("it");
        ["closed /large true", "closed /parts true", "closed /endless false"]
            .iter()
            .all(|line| log.contains(line))
            .then_some(())
    });
}

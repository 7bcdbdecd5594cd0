//! Streams of Python functions: generators and other iterators, asynchronous or not, and bodies of responses.

use serde_json::{Value, json};

use crate::faulty::{assert_error, assert_ok};
use crate::python_apps;
use crate::support::{Gateway, fixture, wait_for};
use crate::wire::Wire;

fn serving(keys: &str) -> Gateway {
    let path = fixture("python-http");
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {path:?}\nworkers = 1\n{keys}\n"))
}

/// Begins to read a stream of events of a function, until it has this text.
fn open(gateway: &Gateway, function: &str, text: &str) -> Wire {
    open_at(gateway, &format!("/local/it/v1/call/{function}"), text)
}

fn open_at(gateway: &Gateway, path: &str, text: &str) -> Wire {
    let mut connection = Wire::open(gateway);
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"));
    loop {
        let line = connection.line();
        assert!(!line.is_empty(), "the connection was closed before {text:?}");
        if line.contains(text) {
            return connection;
        }
    }
}

fn wait_closed(gateway: &Gateway, function: &str) {
    wait_for(function, || {
        gateway.call("it", "which_closed", "[]").body.contains(&format!("\"{function}\"")).then_some(())
    });
}

#[test]
fn iterators_are_sent_item_by_item() {
    for keys in ["", "concurrency = 1"] {
        let gateway = serving(keys);
        for function in ["numbers", "later"] {
            let answer = gateway.call("it", function, "[3000]").json();
            let items = answer.as_array().unwrap();
            let last = if function == "later" { json!(2999) } else { json!({"number": 2999}) };
            assert_eq!((items.len(), &items[2999]), (3000, &last), "{function} {keys}");
        }
        let lines = [("accept", "application/x-ndjson")];
        assert_ok(&gateway.get_with("/local/it/v1/call/given", &lines), "\"a\"\n\"b\"\n");
        let large: Value = gateway.call("it", "large", "[]").json();
        assert_eq!((large[0].as_str().unwrap().len(), &large[1]), (100_000, &json!("end")));
        assert_error(&gateway.call("it", "refuses", "[]"), 409, "function_error");
        assert_ok(&gateway.call("it", "numbers", "[0]"), "[]");
    }
}

#[test]
fn a_response_may_have_a_stream_as_its_body() {
    let gateway = serving("");
    let answer = gateway.call("it", "rows", "[]");
    assert_eq!((answer.status, answer.header("x-rows")), (203, Some("20000")));
    assert_eq!((answer.header("content-type"), answer.body.lines().count()), (Some("text/csv"), 20_000));
    let answer = gateway.call("it", "bytes_later", "[]");
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
}

#[test]
fn a_generator_is_closed_when_its_caller_leaves() {
    for keys in ["", "concurrency = 2"] {
        let gateway = serving(keys);
        for function in ["ticks", "later_ticks", "silent", "endless"] {
            drop(open(&gateway, function, "data: "));
            wait_closed(&gateway, function);
        }
    }
}

#[test]
fn streams_that_wait_for_their_readers_hold_up_nothing() {
    let gateway = serving("concurrency = 64");
    let open: Vec<Wire> = (0..40).map(|_| open(&gateway, "endless", "data: ")).collect();
    assert_ok(&gateway.call("it", "numbers", "[1]"), r#"[{"number":0}]"#);
    drop(open);
    wait_closed(&gateway, "endless");
}

#[test]
fn an_error_midway_breaks_the_stream() {
    let gateway = serving("");
    let mut connection = open(&gateway, "breaks", "data: ");
    assert!(!connection.rest().ends_with("0\r\n\r\n"), "the stream looks complete");
}

#[test]
fn bodies_of_applications_are_sent_as_they_come() {
    let (gateway, _copy) = python_apps::serving("fastapi", "");
    assert_eq!(python_apps::get(&gateway, "/rows").body.lines().count(), 5_000);
    drop(open_at(&gateway, &format!("{}/ticks", python_apps::BASE), "data: 3"));
    python_apps::wait_output(&gateway, "ticks closed");
    let (gateway, _copy) = python_apps::serving("flask", "concurrency = 1");
    drop(open_at(&gateway, &format!("{}/lines", python_apps::BASE), "/lines 3"));
    python_apps::wait_output(&gateway, "lines closed");
}

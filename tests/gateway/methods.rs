//! The methods of a function's address, and requests that wait for 100 Continue.

use crate::support::{Gateway, fixture};
use crate::wire::{self, Wire, assert_refused};

const JSON: (&str, &str) = ("content-type", "application/json");

fn serving(name: &str) -> Gateway {
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture(name)))
}

fn path(function: &str) -> String {
    format!("/local/it/v1/call/{function}")
}

#[test]
fn h16_methods_other_than_get_and_post_are_refused_and_run_nothing() {
    let gateway = serving("echo-node");
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
        let answer = wire::send(&gateway, method, &path("run"), &[JSON], "[]");
        assert_refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, OPTIONS"), "{method}");
    }
    assert_eq!(wire::send(&gateway, "GET", &path("runs"), &[], "").body, "0");
}

#[test]
fn a_function_whose_name_has_a_space_is_called_as_inspect_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.js"), "module.exports = { 'two words': () => 'ok' }\n").unwrap();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    assert_eq!(gateway.get(&path("two%20words")).body, "\"ok\"");
    for (function, status) in
        [("two%20%20words", 404), ("two+words", 400), ("two%20words%20", 400), ("two%09words", 400)]
    {
        assert_eq!(gateway.get(&path(function)).status, status, "{function}");
    }
}

#[test]
fn options_names_the_methods_of_a_function_and_head_is_get_without_a_body() {
    let gateway = serving("echo-node");
    let mut wire = Wire::open(&gateway);
    for (function, status, allow) in [("run", 204, Some("GET, HEAD, POST, OPTIONS")), ("none", 404, None)] {
        let answer = wire.send(wire::request("OPTIONS", &path(function), &[], ""));
        let answer = if status == 204 { answer.answer_without_body() } else { answer.answer() };
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{function}");
    }
    assert_eq!(wire.send(wire::request("GET", &path("runs"), &[], "")).answer().body, "0");
    let get = wire.send(wire::request("GET", &path("runs"), &[], "")).answer();
    let head = wire.send(wire::request("HEAD", &path("runs"), &[], "")).answer_without_body();
    for name in ["content-type", "content-length"] {
        assert!(head.header(name).is_some() && head.header(name) == get.header(name), "{head:?}");
    }
    let missing = wire.send(wire::request("HEAD", &path("none"), &[], "")).answer_without_body();
    assert_eq!((missing.status, missing.header("x-metagate-error")), (404, Some("function_not_found")));
    // What comes next on the connection is the next answer, not a body.
    assert_eq!(wire.send(wire::request("GET", &path("runs"), &[], "")).answer().body, "0");
}

#[test]
fn who_waits_for_100_continue_gets_the_refusal_instead() {
    let gateway = serving("echo-node");
    let head = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    };
    for (method, path, status) in [
        ("POST", path("none"), 404),
        ("POST", "/local/none/v1/call/f".to_owned(), 404),
        ("POST", "/nowhere".to_owned(), 404),
        ("PUT", path("size"), 405),
        ("POST", path("a..b"), 400),
        ("POST", "/healthz".to_owned(), 405),
    ] {
        assert_eq!(Wire::open(&gateway).send(head(method, &path)).answer().status, status, "{method} {path}");
    }
    let mut wire = Wire::open(&gateway);
    assert_eq!(wire.send(head("POST", &path("args"))).answer_without_body().status, 100);
    assert_eq!(wire.send("[12]").answer().body, "[12]");
}

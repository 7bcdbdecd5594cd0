//! HTTP in Python functions: the module `metagate`, its request and responses, and errors with a status.

use std::fmt::Write;
use std::fs;

use serde_json::json;

use crate::faulty::{assert_error, assert_ok};
use crate::support::{Gateway, fixture, wait_for};
use crate::wire;

fn serving(keys: &str) -> Gateway {
    let path = fixture("python-http");
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {path:?}\n{keys}\n"))
}

#[test]
fn a_function_sees_the_request() {
    let gateway = serving("");
    let headers = [("x-request-id", "abc"), ("x-twice", "1"), ("X-Twice", "2")];
    let answer = wire::send(&gateway, "GET", "/local/it/v1/call/about?a=1&b=&a=%C3%A4", &headers, String::new());
    let expected = json!({
        "id": "abc", "method": "GET", "path": "/local/it/v1/call/about",
        "query": ["a=1&b=&a=%C3%A4", {"a": "1", "b": ""}, ["1", "ä"]],
        "headers": ["1", ["1", "2"], false],
        "client": "127.0.0.1", "scheme": "http", "host": true, "base": "/local/it/v1/call", "context": {},
        "remaining": true, "cancelled": false
    });
    assert_eq!(answer.json(), expected);
    wait_for("the lines of the log", || {
        let log = gateway.worker_log("it");
        let first = r#"{"level":"warn","message":"seen","request_id":"abc","count":3}"#;
        let second = r#"{"level":"debug","message":"like this too","request_id":"abc","of":[1]}"#;
        (log.contains(first) && log.contains(second)).then_some(())
    });
    let headers = [("x-request-id", "thread")];
    let answer = gateway.get_with("/local/it/v1/call/about_in_threads", &headers);
    assert_ok(&answer, r#"["thread","thread","thread"]"#);
    let answer = gateway.call("it", "at_import", "[]");
    assert!(answer.body.contains("works only while a call runs"), "{answer:?}");
}

#[test]
fn a_function_decides_status_headers_and_body() {
    let gateway = serving("");
    let call = |name| gateway.call("it", name, "[]");
    let answer = call("picture");
    assert_eq!((answer.status, answer.header("content-type")), (201, Some("image/png")));
    assert_eq!(answer.header("content-length"), Some("5"));
    let several = |answer: &crate::support::Answer, of: &str| -> Vec<String> {
        answer.headers.iter().filter(|(name, _)| name == of).map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(several(&answer, "set-cookie"), ["a=1", "b=2"]);
    let answer = call("page");
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (Some("text/html"), "<p>größe"));
    assert_eq!(several(&answer, "x-many"), ["1", "2"]);
    let answer = call("text");
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (Some("text/plain; charset=utf-8"), "text"));
    let answer = call("value");
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/json")));
    assert_eq!(answer.body, r#"{"a":[1]}"#);
    assert_eq!((call("empty").status, call("empty").header("content-type")), (204, None));
    assert_error(&call("injected"), 502, "worker_protocol_error");
    assert!(call("no_status").message().contains("status is 99"), "{:?}", call("no_status"));
    assert_eq!(call("text").status, 200);
}

#[test]
fn an_error_with_a_status_is_answered_with_it() {
    let gateway = serving("concurrency = 1");
    let answer = gateway.call("it", "missing", "[]");
    assert_error(&answer, 404, "function_error");
    assert_eq!((answer.message(), answer.header("retry-after")), ("no such order".to_owned(), Some("5")));
    let answer = gateway.call("it", "missing_later", "[]");
    assert_error(&answer, 410, "function_error");
    for own in ["odd_status", "upstream"] {
        assert_error(&gateway.call("it", own, "[]"), 500, "function_error");
    }
}

#[test]
fn the_module_is_found_late_and_a_projects_own_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let late = "def late():\n    from metagate import request\n    return request().method\n";
    fs::write(folder.path().join("main.py"), late).unwrap();
    let tables = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path());
    assert_ok(&Gateway::ready(&tables).call("it", "late", "[]"), "\"POST\"");
    fs::write(folder.path().join("main.py"), "import metagate\n\ndef own():\n    return metagate.OWN\n").unwrap();
    fs::create_dir(folder.path().join("metagate")).unwrap();
    fs::write(folder.path().join("metagate/__init__.py"), "OWN = 'own'\n").unwrap();
    assert_ok(&Gateway::ready(&tables).call("it", "own", "[]"), "\"own\"");
}

fn form(parts: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file, content) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"\r\ncontent-type: text/x-test")).unwrap_or_default();
        write!(body, "--B\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n").unwrap();
    }
    body + "--B--\r\n"
}

#[test]
fn bytes_and_files_are_arguments() {
    let gateway = serving("");
    let post = |function: &str, content_type: &str, body: &[u8]| {
        gateway.post(&format!("/local/it/v1/call/{function}"), &[("content-type", content_type)], body)
    };
    assert_ok(&post("kind", "image/png", b"\x89PNG\xff"), r#"["bytes",5]"#);
    assert_ok(&post("count", "application/octet-stream", b"\xff\x00"), "2");
    assert_ok(&post("same", "text/plain", "größe".as_bytes()), "\"größe\"");
    assert_error(&post("same", "application/octet-stream", b"ab"), 422, "bad_argument");
    let multipart = "multipart/form-data; boundary=B";
    let send = |function: &str, parts: &[(&str, Option<&str>, &str)]| post(function, multipart, form(parts).as_bytes());
    let parts = [("title", None, "ä"), ("file", Some("a.txt"), "hello"), ("copies", None, "2")];
    let more = [("more", Some("b"), ""), ("more", Some("c"), "")];
    let expected = json!({"title": "ä", "copies": 2, "file": ["a.txt", "text/x-test", 5, "hello"], "more": []});
    assert_eq!(send("upload", &parts).json(), expected);
    assert_eq!(send("upload", &[&parts[..], &more].concat()).json()["more"], json!(["b", "c"]));
    assert_ok(&send("content", &[("file", Some("a"), "inside")]), "\"inside\"");
    assert_ok(&send("kind", &[("value", None, "text")]), r#"["str",4]"#);
    assert_error(&send("same", &[("value", Some("a"), "x")]), 422, "bad_argument");
    assert_error(&send("upload", &[("title", None, "x"), ("file", None, "x")]), 422, "bad_argument");
    let large = "x".repeat(3 << 20);
    assert_ok(&send("spooled", &[("file", Some("large"), &large)]), "[3145728,3145728,3145728,3145728]");
}

//! Functions that take whole HTTP requests: the requests that reach them, their answers, and their plugins.

use std::io::Write as _;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::extended_protocol::extended;
use crate::faulty::{assert_error, wait_gone};
use crate::plugins::component::Plugin;
use crate::plugins::{Files, deployment, table};
use crate::support::{Answer, Gateway};
use crate::wire::{self, Wire, assert_refused};

const HTTP: &str = "/local/x/v1/http";

fn serving(server: &str) -> Gateway {
    Gateway::ready(&format!("{server}{}", extended(&[("SERVES_HTTP", "yes")])))
}

/// A gateway with the function and a plugin.
fn with_plugin(plugin: Plugin, keys: &str) -> (Gateway, Files) {
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&(extended(&[("SERVES_HTTP", "yes")]) + &table("p", &file, keys)));
    (gateway, files)
}

/// The request that the function received, and its headers sorted by name.
#[track_caller]
fn given(answer: &Answer) -> (Value, Vec<(String, String)>) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/told")), "{answer:?}");
    let (request, mut headers): (Value, Vec<(String, String)>) = serde_json::from_str(&answer.body).unwrap();
    headers.sort();
    (request, headers)
}

/// Calls the function and makes it return this answer.
fn answered(gateway: &Gateway, answer: &Value) -> Answer {
    wire::send(gateway, "POST", &format!("{HTTP}/answer"), &[], answer.to_string())
}

#[test]
fn a_request_reaches_its_function_whole() {
    let gateway = serving("");
    let headers = [
        ("x-request-id", "abc"),
        ("authorization", "Bearer t"),
        ("cookie", "a=b"),
        ("X-Twice", "1"),
        ("x-twice", "2"),
        ("x-text", "größe"),
        ("connection", "keep-alive, x-twice"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("proxy-authorization", "secret"),
    ];
    let answer = wire::send(&gateway, "PUT", &format!("{HTTP}/a%20b/%ff;c//d/?e=%2F..&f=[]"), &headers, "tëxt\n");
    let (request, headers) = given(&answer);
    assert_eq!(request, json!({"method": "PUT", "uri": "/a%20b/%ff;c//d/?e=%2F..&f=[]", "body": "tëxt\n"}));
    let expected = [
        ("authorization", "Bearer t"),
        ("content-length", "6"),
        ("cookie", "a=b"),
        ("host", "test"),
        ("x-request-id", "abc"),
        ("x-text", "größe"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(answer.header("x-request-id"), Some("abc"));
}

#[test]
fn the_address_and_the_method_are_passed_on() {
    let gateway = serving("");
    for (address, uri) in [("", "/"), ("/", "/"), ("?q", "/?q"), ("/call/told", "/call/told"), ("/a/?", "/a/?")] {
        let (request, _) = given(&gateway.get(&format!("{HTTP}{address}")));
        assert_eq!(request, json!({"method": "GET", "uri": uri}), "{address}");
    }
    for method in ["POST", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let (request, _) = given(&wire::send(&gateway, method, HTTP, &[], ""));
        assert_eq!(request, json!({"method": method, "uri": "/"}));
    }
    assert_refused(&wire::send(&gateway, "TRACE", HTTP, &[], ""), 405, "method_not_allowed");
    for rest in ["/../v1/call/told", "/a/..", "/%2e%2e/b", "/a%2f..%2fb", "/a%5cb", "/%0d%0a", "//elsewhere"] {
        assert_refused(&wire::send(&gateway, "GET", &format!("{HTTP}{rest}"), &[], ""), 400, "bad_name");
    }
}

#[test]
fn bodies_are_text_or_base64_and_unpacked() {
    let gateway = serving("[server]\nmax_body = \"1KiB\"\n");
    let (request, _) = given(&wire::send(&gateway, "POST", HTTP, &[], b"\xff\x00"));
    assert_eq!(request, json!({"method": "POST", "uri": "/", "base64": "/wA="}));
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&[b'a'; 1000]).unwrap();
    let answer = wire::send(&gateway, "POST", HTTP, &[("content-encoding", "gzip")], packed.finish().unwrap());
    let (request, headers) = given(&answer);
    assert_eq!(request["body"], "a".repeat(1000));
    assert!(headers.contains(&("content-length".to_owned(), "1000".to_owned())), "{headers:?}");
    assert!(!headers.iter().any(|(name, _)| name == "content-encoding"), "{headers:?}");
    assert_refused(&wire::send(&gateway, "POST", HTTP, &[], [b'a'; 1025]), 413, "payload_too_large");
    let unknown = wire::send(&gateway, "POST", HTTP, &[("content-encoding", "br")], "a");
    assert_refused(&unknown, 415, "unsupported_media_type");
}

#[test]
fn the_authority_of_http_2_becomes_the_host_header() {
    let gateway = serving("");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2-prior-knowledge", "--header", "host: example.com", "--request", "PUT"]);
    let output = curl.arg(gateway.url(&format!("{HTTP}/a"))).output().unwrap();
    let (request, headers): (Value, Vec<(String, String)>) = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(request, json!({"method": "PUT", "uri": "/a"}));
    assert!(headers.contains(&("host".to_owned(), "example.com".to_owned())), "{headers:?}");
}

#[test]
fn the_function_decides_status_headers_and_body() {
    let gateway = serving("");
    let headers = json!([["Content-Type", "text/html"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-ä", "no"]]);
    let bad = answered(&gateway, &json!({"status": 201, "headers": headers}));
    assert_refused(&bad, 502, "worker_protocol_error");
    let headers = json!([["Content-Type", "text/html"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-t", "ä"]]);
    let answer = answered(&gateway, &json!({"status": 201, "headers": headers, "body": "<p>ü</p>"}));
    assert_eq!((answer.status, answer.body.as_str()), (201, "<p>ü</p>"));
    assert_eq!((answer.header("content-type"), answer.header("x-t")), (Some("text/html"), Some("ä")));
    let cookies: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert!(answer.header("x-request-id").is_some());
    let answer = answered(&gateway, &json!({"status": 500, "base64": "AAECAw=="}));
    assert_eq!((answer.status, answer.body.as_bytes()), (500, &b"\x00\x01\x02\x03"[..]));
    assert_eq!((answer.header("content-type"), answer.header("x-metagate-error")), (None, None));
}

#[test]
fn headers_of_the_gateway_cannot_be_set_by_a_function() {
    let gateway = serving("");
    let names = [
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Proxy-Authenticate",
        "Proxy-X",
        "Content-Length",
        "X-Request-Id",
        "X-Metagate-Error",
    ];
    let headers: Vec<[&str; 2]> = names.iter().map(|name| [*name, "chunked"]).collect();
    let mut wire = Wire::open(&gateway);
    // Both on one connection: if the function could set the framing, the second answer would be misread.
    for _ in 0..2 {
        let body = json!({"status": 200, "headers": headers, "body": "1234"}).to_string();
        let answer = wire.send(wire::request("POST", &format!("{HTTP}/answer"), &[], body)).answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, "1234"));
        for name in names.into_iter().filter(|name| !name.eq_ignore_ascii_case("content-length")) {
            assert_ne!(answer.header(name), Some("chunked"), "{answer:?}");
        }
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    for status in [204, 304] {
        let body = json!({"status": status, "body": "not sent"}).to_string();
        let answer = wire.send(wire::request("POST", &format!("{HTTP}/answer"), &[], body)).answer_without_body();
        assert_eq!((answer.status, answer.header("content-length")), (status, None), "{answer:?}");
    }
    // The answer to a HEAD has the length of the body that the function returned, or none without a body.
    let body = json!({"status": 200, "body": "1234"}).to_string();
    let answer = wire.send(wire::request("HEAD", &format!("{HTTP}/answer"), &[], body)).answer_without_body();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")), "{answer:?}");
    let body = json!({"status": 200}).to_string();
    let answer = wire.send(wire::request("HEAD", &format!("{HTTP}/answer"), &[], body)).answer_without_body();
    assert_eq!((answer.status, answer.header("content-length")), (200, None), "{answer:?}");
    assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
    assert_eq!(wire.send(wire::request("GET", "/healthz", &[], "")).answer().body, "ok\n");
}

#[test]
fn a_result_that_is_not_an_answer_is_a_fault_of_the_worker() {
    let gateway = serving("");
    let workers = gateway.worker_pids();
    for bad in [
        json!(null),
        json!("text"),
        json!({"status": 101}),
        json!({"status": 999}),
        json!({"body": "text"}),
        json!({"status": 200, "base64": "?"}),
        json!({"status": 200, "headers": [["a\r\nb", "c"]]}),
        json!({"status": 200, "headers": [["a", "b\r\nc: d"]]}),
    ] {
        let answer = answered(&gateway, &bad);
        assert_refused(&answer, 502, "worker_protocol_error");
        assert!(answer.message().contains("returned an unusable HTTP answer"), "{answer:?}");
    }
    assert_eq!(gateway.worker_pids(), workers);
    // A worker that ends is answered for as with other calls.
    assert_refused(&gateway.get(&format!("{HTTP}/exit")), 502, "worker_crashed");
    wait_gone(&workers);
}

#[test]
fn only_whole_requests_reach_an_http_function() {
    let gateway = Gateway::ready(&(extended(&[("SERVES_HTTP", "yes")]) + &deployment("it")));
    for called in ["http", "web"] {
        assert_refused(&gateway.call("x", called, "[]"), 404, "function_not_found");
    }
    let answer = gateway.get("/local/it/v1/http/a");
    assert_refused(&answer, 404, "function_not_found");
    let words = "deployment \"it\" has no web app, nor a component that serves HTTP (wasi:http/incoming-handler)";
    assert_eq!(answer.message(), words);
    for nowhere in ["/local/none/v1/http/a", "/local/x/v2/http/a", "/other/x/v1/http"] {
        assert_refused(&gateway.get(nowhere), 404, "deployment_not_found");
    }
}

#[test]
fn before_hooks_see_the_request_and_set_its_headers() {
    let plugin = Plugin::new().before_invoke(|c| {
        let arguments = c.call("invocation", "arguments", "").text();
        let method = c.call("invocation", "method", "").text();
        let set = c.set_header("invocation", "x-seen", &arguments);
        c.expect_ok(set);
        let set = c.set_header("invocation", "connection", &method);
        c.expect_ok(set);
        let gone = c.text("cookie");
        c.call("invocation", "remove-header", gone);
        let asked = c.text("x-refuse");
        let asked = c.call("invocation", "header", asked);
        c.when(asked.byte(), |c| c.tell(&method));
    });
    let (gateway, _files) = with_plugin(plugin, "functions = [\"http\"]");
    let answer = wire::send(&gateway, "PUT", &format!("{HTTP}/a"), &[("cookie", "a=b")], "text");
    let (request, headers) = given(&answer);
    assert_eq!(request, json!({"method": "PUT", "uri": "/a", "body": "text"}));
    let value = |name: &str| headers.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str());
    assert_eq!(value("x-seen"), Some(r#"[{"method":"PUT","uri":"/a","body":"text"}]"#));
    assert_eq!((value("cookie"), value("connection")), (None, None));
    let refused = wire::send(&gateway, "PATCH", &format!("{HTTP}/a"), &[("x-refuse", "1")], "");
    assert_eq!((refused.message().as_str(), refused.header("content-type")), ("PATCH", Some("application/json")));
}

#[test]
fn after_hooks_see_and_change_the_answer() {
    let plugin = Plugin::new().after_invoke(|c| {
        let name = c.text("content-type");
        let kind = c.call("outcome", "header", name);
        let kind = c.or_empty(kind);
        let body = c.call("outcome", "body", "").text();
        let asked = c.text("x-body");
        let asked = c.call("invocation", "header", asked);
        c.when(asked.byte(), |c| {
            let json = c.text("{\"a\":1}");
            let set = c.call("outcome", "set-body", json);
            c.expect_ok(set);
        });
        let asked = c.text("x-problem");
        let asked = c.call("invocation", "header", asked);
        c.when(asked.byte(), |c| {
            let set = c.set_problem(503, "later", "come again", &[]);
            c.expect_ok(set);
        });
        for (header, value) in [("x-kind", &kind), ("x-seen", &body)] {
            let mark = c.text("=");
            let value = c.join(&[mark, value.clone()]);
            let set = c.set_header("outcome", header, &value);
            c.expect_ok(set);
        }
    });
    let (gateway, _files) = with_plugin(plugin, "");
    let call =
        |headers: &[(&str, &str)], answer: Value| gateway.post(&format!("{HTTP}/answer"), headers, answer.to_string());
    let html = json!([["content-type", "text/html"], ["content-encoding", "x"], ["etag", "\"1\""], ["x-own", "2"]]);
    let page = json!({"status": 404, "headers": html, "body": "<p>"});
    let seen =
        |answer: &Answer| (answer.header("x-kind").unwrap().to_owned(), answer.header("x-seen").unwrap().to_owned());

    let answer = call(&[], page.clone());
    assert_eq!((answer.status, answer.body.as_str()), (404, "<p>"));
    assert_eq!(seen(&answer), ("=text/html".to_owned(), "=<p>".to_owned()));
    assert_eq!(answer.header("content-encoding"), Some("x"));
    let answer = call(&[], json!({"status": 200, "base64": "/wA="}));
    assert_eq!((answer.header("content-type"), seen(&answer)), (None, ("=".to_owned(), "=".to_owned())));

    let replaced = call(&[("x-body", "1")], page.clone());
    assert_eq!((replaced.status, replaced.body.as_str()), (404, "{\"a\":1}"));
    let failed = call(&[("x-problem", "1")], page);
    assert_error(&failed, 503, "later");
    for answer in [replaced, failed] {
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (None, None));
        assert_eq!((answer.header("x-own"), answer.header("x-seen")), (Some("2"), Some("=<p>")));
    }
}

#[test]
fn a_renamed_function_takes_no_requests() {
    let plugin = Plugin::new().after_load(|c| {
        let (http, page) = (c.text("http"), c.text("page"));
        let renamed = c.call("release", "rename", format!("{http} {page}"));
        c.expect_ok(renamed);
    });
    let (gateway, _files) = with_plugin(plugin, "");
    assert_refused(&gateway.get(HTTP), 404, "function_not_found");
    assert_refused(&gateway.call("x", "page", "[]"), 404, "function_not_found");
}

//! What functions learn of the HTTP request, and how they decide the answer: responses of their own, and errors with a
//! status. The worker uses metagate's additions to the worker protocol.

use serde_json::{Value, json};

use crate::extended_protocol::extended;
use crate::faulty::assert_error;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::support::{Answer, Gateway};
use crate::wire;

const CALL: &str = "/local/x/v1/call";

fn responding() -> Gateway {
    Gateway::ready(&extended(&[]))
}

fn respond(gateway: &Gateway, response: &Value) -> Answer {
    gateway.call("x", "respond", &json!([response]).to_string())
}

#[test]
fn a_function_may_answer_with_a_response_of_its_own() {
    let gateway = responding();
    let answer = respond(
        &gateway,
        &json!({"status": 201, "headers": [["Content-Type", "image/gif"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
                "base64": "R0lGAA=="}),
    );
    assert_eq!((answer.status, answer.header("content-type")), (201, Some("image/gif")));
    let cookies: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.header("content-length"), Some("4"));
    let answer = respond(&gateway, &json!({"status": 204}));
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let answer = respond(&gateway, &json!({"status": 200, "body": "größe"}));
    assert_eq!((answer.body.as_str(), answer.header("content-type")), ("größe", None));
}

#[test]
fn a_response_cannot_inject_headers() {
    let gateway = responding();
    let bad = [json!([["x", "a\r\nset-cookie: b=1"]]), json!([["x\r\ny", "a"]]), json!([["x", "a\nb"]]), json!("x")];
    for headers in bad {
        let answer = respond(&gateway, &json!({"status": 200, "headers": headers}));
        assert_error(&answer, 502, "worker_protocol_error");
    }
    let headers = [["connection", "close"], ["transfer-encoding", "chunked"], ["content-length", "9"], ["x-a", "b"]];
    let answer = respond(&gateway, &json!({"status": 200, "headers": headers, "body": "ab"}));
    assert_eq!((answer.status, answer.body.as_str(), answer.header("x-a")), (200, "ab", Some("b")));
    assert_eq!((answer.header("transfer-encoding"), answer.header("content-length")), (None, Some("2")));
    let answer = respond(&gateway, &json!({"status": 99}));
    assert_error(&answer, 502, "worker_protocol_error");
}

#[test]
fn an_error_decides_its_status() {
    let gateway = responding();
    let raise = |error: Value| gateway.call("x", "raised", &json!([error]).to_string());
    let answer = raise(json!({"message": "no such order", "status": 404, "headers": [["retry-after", "5"]]}));
    assert_error(&answer, 404, "function_error");
    assert_eq!(answer.json()["error"]["message"], "no such order");
    assert_eq!((answer.header("retry-after"), answer.header("content-type")), (Some("5"), Some("application/json")));
    let answer = raise(json!({"status": 418, "payload": {"pot": 1}, "headers": [["content-type", "text/html"]]}));
    assert_error(&answer, 418, "function_error");
    assert_eq!(answer.json()["error"]["payload"], json!({"pot": 1}));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for status in [json!(200), json!(600), json!("404"), json!(null)] {
        let answer = raise(json!({"status": status, "headers": 7}));
        assert_error(&answer, 500, "function_error");
        assert_eq!(answer.json()["error"]["message"], "Failure: odd");
    }
}

#[test]
fn a_worker_that_accepts_it_gets_the_head_of_the_request() {
    let gateway = Gateway::ready(&extended(&[("ACCEPTS", "request"), ("SERVES_HTTP", "yes")]));
    let headers = [("x-request-id", "abc"), ("x-twice", "1"), ("X-Twice", "2"), ("proxy-authorization", "no")];
    let answer = wire::send(&gateway, "GET", &format!("{CALL}/told?a=1&b"), &headers, String::new());
    let request = &answer.json()["request"];
    for (member, value) in [
        ("id", json!("abc")),
        ("method", json!("GET")),
        ("path", json!("/local/x/v1/call/told")),
        ("query", json!("a=1&b")),
        ("client", json!("127.0.0.1")),
        ("scheme", json!("http")),
        ("base", json!("/local/x/v1/call")),
    ] {
        assert_eq!(request[member], value, "{member} of {request}");
    }
    let pairs: Vec<(String, String)> = serde_json::from_value(request["headers"].clone()).unwrap();
    let of = |name: &str| pairs.iter().filter(|(is, _)| is == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!((of("x-twice"), of("proxy-authorization")), (vec!["1", "2"], vec![]));
    assert_eq!(of("host"), [request["host"].as_str().unwrap()]);
    let answer = gateway.call("x", "told", "[]");
    assert!(answer.json()["request"]["query"].is_null(), "{answer:?}");
}

#[test]
fn plugins_share_values_for_the_function() {
    let plugin = Plugin::new().before_invoke(|c| {
        for (key, shared) in [("function.user", 1), ("function.own", 0), ("other", 1)] {
            let (key, value) = (c.text(key), c.text(r#"{"sub":"ada"}"#));
            let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const {shared})"));
            c.expect_ok(set);
        }
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&(extended(&[("ACCEPTS", "request")]) + &table("p", &file, "")));
    let answer = gateway.call("x", "told", "[]");
    assert_eq!(answer.json()["request"]["context"], json!({"user": {"sub": "ada"}}), "{answer:?}");
}

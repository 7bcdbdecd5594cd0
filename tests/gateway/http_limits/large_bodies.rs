//! Large and compressed bodies: refused by what their head shows, bounded in what they inflate to and hold, and worked
//! on without delaying others.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{path, serving};
use crate::support::{Answer, Gateway};
use crate::wire::{self, Wire, assert_refused, request};

/// Announced, but never sent.
const LARGE: &str = "content-length: 7000000\r\n";
const TOKEN: &str = "a-token-of-more-than-thirty-two-bytes";

/// The answer to a head whose body does not come.
#[track_caller]
fn refused_at_once(gateway: &Gateway, head: &str) -> Answer {
    let mut wire = Wire::open(gateway);
    let answer = wire.send(head).answer();
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    wire.wait_closed();
    answer
}

fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_large_body_for_a_name_that_does_not_exist_is_refused_before_it_arrives() {
    let gateway = serving("");
    let encoded = "content-length: 50\r\ncontent-encoding: br\r\nexpect: 100-continue\r\n";
    let cases = [
        ("POST", "/local/none/v1/call/args", LARGE, 404, "deployment_not_found"),
        ("POST", "/other/it/v1/call/args", LARGE, 404, "deployment_not_found"),
        ("POST", "/local/it/v2/call/args", LARGE, 404, "deployment_not_found"),
        ("POST", "/local/it/v1/call/none", LARGE, 404, "function_not_found"),
        ("POST", "/local/it/v1/http/page", LARGE, 404, "function_not_found"),
        ("PUT", "/local/it/v1/call/args", LARGE, 405, "method_not_allowed"),
        ("POST", "/local/it/v1/call/args", encoded, 415, "unsupported_media_type"),
        ("POST", "/api/none", LARGE, 404, "not_found"),
    ];
    for (method, path, headers, status, code) in cases {
        assert_refused(&refused_at_once(&gateway, &head(method, path, headers)), status, code);
    }
}

#[test]
fn a_small_body_of_a_refused_call_leaves_its_connection_open() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    for (path, status) in [
        ("/local/none/v1/call/args", 404),
        ("/local/it/v1/call/none", 404),
        ("/local/it/v1/call/a..b", 400),
        ("/local/it/v1/static/index.js", 405),
        ("/api/none", 404),
    ] {
        // The body comes only after its head has been read.
        wire.send(head("POST", path, "content-length: 5\r\n"));
        assert_eq!(wire::send(&gateway, "POST", &self::path("args"), &[], "[7]").body, "[7]");
        assert_eq!(wire.send("[1,2]").answer().status, status, "{path}");
        assert_eq!(wire.send(request("POST", &self::path("args"), &[], "[1]")).answer().body, "[1]");
    }
}

#[test]
fn a_body_for_the_admin_api_is_read_for_holders_of_the_token_only() {
    let gateway = Gateway::start(&format!("[admin]\ntoken = {TOKEN:?}\n"));
    for path in ["/api/deploy/create", "/api/deploy/logs", "/api/package/create", "/metrics"] {
        assert_refused(&refused_at_once(&gateway, &head("POST", path, LARGE)), 401, "unauthorized");
    }
    let bearer = format!("Bearer {TOKEN}");
    let body = gzip(br#"{"suffix":"none"}"#);
    let headers = [("authorization", bearer.as_str()), ("content-encoding", "gzip")];
    let answer = wire::send(&gateway, "POST", "/api/deploy/logs", &headers, body);
    assert_refused(&answer, 404, "deployment_not_found");
}

#[test]
fn more_than_ten_thousand_arguments_are_a_422() {
    let gateway = serving("");
    let array = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let object = |count: usize| {
        let keys: Vec<String> = (0..count).rev().map(|key| format!("\"{key}\":{key}")).collect();
        format!("{{{}}}", keys.join(","))
    };
    for most in [array(10_000), object(10_000)] {
        assert_eq!(gateway.call("it", "args", &most).json().as_array().unwrap().len(), 10_000);
    }
    for many in [array(10_001), object(10_001), array(400_000), object(400_000)] {
        let answer = gateway.call("it", "args", &many);
        assert_refused(&answer, 422, "bad_argument");
        assert_eq!(answer.message(), "more than 10000 arguments");
    }
    assert_eq!(gateway.call("it", "args", "[1]").json(), json!([1]), "the worker goes on");
}

#[test]
fn a_body_that_inflates_to_more_than_its_ratio_is_a_413() {
    let gateway = serving("");
    let send = |body: &[u8]| wire::send(&gateway, "POST", &path("args"), &[("content-encoding", "gzip")], gzip(body));
    let padded = |spaces: usize| [b"[", &vec![b' '; spaces][..], b"1]"].concat();
    assert_eq!(send(&padded(1_000_000)).body, "[1]", "repetitions of up to 1 MiB");
    let answer = send(&padded(2_000_000));
    assert_refused(&answer, 413, "payload_too_large");
    assert!(answer.message().contains("200 times"), "{answer:?}");
    // Within the ratio, large bodies arrive whole.
    let numbers: Vec<u32> = (0..300_000).map(|n: u32| n.wrapping_mul(2_654_435_761)).collect();
    let body = json!([numbers]);
    assert_eq!(send(body.to_string().as_bytes()).json(), body);
}

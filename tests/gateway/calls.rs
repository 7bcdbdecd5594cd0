//! The call route: what of a request reaches a function, and what of its result reaches the caller.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::{Answer, Gateway, fixture};
use crate::wire::{self, Wire, assert_refused};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A gateway with one deployment, named `it`.
fn serving(folder: &str) -> Gateway {
    with_server("", folder)
}

fn with_server(server: &str, folder: &str) -> Gateway {
    let path = fixture(folder);
    Gateway::ready(&format!("[server]\n{server}\n[[deployment]]\nname = \"it\"\npath = {path:?}\n"))
}

fn path(function: &str) -> String {
    format!("/local/it/v1/call/{function}")
}

#[track_caller]
fn result(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn h11_an_objects_values_are_the_arguments_in_javascripts_order() {
    let gateway = serving("echo-node");
    let sent = |function, body| result(&gateway.call("it", function, body));
    assert_eq!(sent("f", r#"{"b":2,"a":1}"#), json!({"b": 2, "a": 1}));
    assert_eq!(sent("f", r#"{"x":1,"y":2}"#), json!({"b": 1, "a": 2}), "none of the keys is a parameter");
    assert_eq!(sent("args", r#"{"2":"x","1":"y","a":"z"}"#), json!(["y", "x", "z"]));
    assert_eq!(sent("args", r#"{"a":1,"b":2,"a":3}"#), json!([3, 2]));
    assert_eq!(sent("args", r#"{"__proto__":1,"constructor":2,"01":3}"#), json!([1, 2, 3]));
    assert_eq!(sent("args", r#"[[1],{"z":1,"2":2},null]"#), json!([[1], {"z": 1, "2": 2}, null]));
    assert_eq!(sent("args", "{}"), json!([]));
}

#[test]
fn pretty_printed_bodies_arrive_whole() {
    for folder in ["echo-node", "echo-python"] {
        let gateway = serving(folder);
        let body = "\r\n{\r\n  \"a\": {\n\t\"text\": \"two\\nlines\"\n  },\n  \"b\": [\n    1,\r\n    2\r\n  ]\n}\n";
        let arguments = json!([{"text": "two\nlines"}, [1, 2]]);
        assert_eq!(result(&gateway.call("it", "args", body)), arguments, "{folder}");
        let array = serde_json::to_string_pretty(&arguments).unwrap();
        assert_eq!(result(&gateway.call("it", "args", &array)), arguments, "{folder}");
    }
}

#[test]
fn numbers_come_back_from_python_as_they_went_in() {
    let gateway = serving("echo-python");
    let numbers = format!("[9007199254740993,{},-1,0.1,1.0,5e-324,{}]", 1_u128 << 80, "9".repeat(400));
    let answer = gateway.call("it", "args", &numbers);
    assert_eq!((answer.status, answer.body.as_str()), (200, numbers.as_str()));
}

#[test]
fn a_json_body_is_json_unless_its_content_type_is_one_of_text_or_bytes() {
    let gateway = serving("echo-node");
    for content_type in ["application/x-www-form-urlencoded", "nonsense"] {
        let answer = gateway.post(&path("args"), &[("content-type", content_type)], r#"{"a":1,"b":2}"#);
        assert_eq!(result(&answer), json!([1, 2]), "{content_type}");
    }
    let answer = gateway.post(&path("args"), &[("content-type", "application/vnd.x+json; charset=utf-8")], "[1]");
    assert_eq!(result(&answer), json!([1]));
    for body in ["hello", "[1,2]", r#"{"a":1}"#, "\"a\""] {
        let text = gateway.post(&path("args"), &[("content-type", "text/plain;charset=UTF-8")], body);
        assert_eq!(result(&text), json!([body]));
    }
    let refused = wire::send(&gateway, "POST", &path("run"), &[JSON], "a=1");
    assert_refused(&refused, 400, "invalid_json");
    assert_eq!(result(&gateway.get(&path("runs"))), json!(0));
}

#[test]
fn a_forms_values_are_the_arguments_and_brackets_nest() {
    let gateway = serving("echo-node");
    let sent = |body: &str| result(&gateway.post(&path("args"), &[FORM], body));
    assert_eq!(sent("a=1&c[d]=3&e[]=4"), json!(["1", {"d": "3"}, ["4"]]));
    assert_eq!(sent("2=x&1=y&a=z"), json!(["y", "x", "z"]));
    assert_eq!(sent("a=x+y%21&b=%C3%A4"), json!(["x y!", "ä"]));
    assert_eq!(sent("a=1&a=2"), json!([["1", "2"]]));
    assert_eq!(sent("__proto__[x]=1&a=2").as_array().map(Vec::len), Some(2));
    let many = "a=1&".repeat(1001);
    assert_refused(&wire::send(&gateway, "POST", &path("args"), &[FORM], many), 400, "bad_request");
}

#[test]
fn no_body_gives_no_arguments_whatever_the_content_type() {
    let gateway = serving("echo-node");
    for address in [path("args"), path("args").replace("call", "await"), format!("{}?", path("args"))] {
        assert_eq!(result(&gateway.get(&address)), json!([]), "{address}");
        for headers in [&[][..], &[JSON], &[FORM], &[("content-type", "text/plain")]] {
            let answer = wire::send(&gateway, "POST", &address, headers, "");
            assert_eq!(result(&answer), json!([]), "{address} {headers:?}");
        }
    }
    let chunked = format!("POST {} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", path("args"));
    assert_eq!(result(&Wire::open(&gateway).send(chunked).answer()), json!([]));
}

#[test]
fn a_get_request_may_have_a_body() {
    let gateway = serving("echo-node");
    for address in [path("f"), path("f").replace("call", "await")] {
        let answer = wire::send(&gateway, "GET", &address, &[JSON], r#"{"b":2,"a":1}"#);
        assert_eq!(result(&answer), json!({"b": 2, "a": 1}));
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn post_packed(gateway: &Gateway, encoding: &str, body: &[u8]) -> Answer {
    wire::send(gateway, "POST", &path("args"), &[JSON, ("content-encoding", encoding)], body)
}

#[test]
fn packed_bodies_are_unpacked_and_broken_ones_refused() {
    let gateway = serving("echo-node");
    let text = br#"{"a":1,"b":[2]}"#;
    let (gzip, deflate) = (gzip(text), deflate(text));
    for (encoding, body) in [("gzip", &gzip[..]), ("GZIP", &gzip), ("deflate", &deflate), ("identity", text)] {
        assert_eq!(result(&post_packed(&gateway, encoding, body)), json!([1, [2]]), "{encoding}");
    }
    let mut flipped = gzip.clone();
    let checksum = flipped.len() - 6;
    flipped[checksum] ^= 1;
    let broken: [(&str, &[u8]); 5] = [
        ("gzip", text),
        ("gzip", &gzip[..gzip.len() - 9]),
        ("gzip", &flipped),
        ("deflate", &gzip),
        ("deflate", &deflate[..deflate.len() / 2]),
    ];
    for (at, (encoding, body)) in broken.into_iter().enumerate() {
        let answer = post_packed(&gateway, encoding, body);
        assert_eq!(answer.status, 400, "{at} {answer:?}");
        assert_refused(&answer, 400, "bad_request");
    }
    for encoding in ["br", "zstd", "gzip, gzip", "x"] {
        assert_refused(&post_packed(&gateway, encoding, &gzip), 415, "unsupported_media_type");
    }
}

#[test]
fn a_gzip_body_of_several_members_is_unpacked_whole() {
    let gateway = serving("echo-node");
    let body = [gzip(b"[1,"), gzip(b"2]")].concat();
    assert_eq!(result(&post_packed(&gateway, "gzip", &body)), json!([1, 2]));
}

#[test]
fn a_packed_bomb_is_refused_and_costs_no_more_than_the_limit() {
    let gateway = with_server("max_body = \"1MiB\"", "echo-node");
    let bomb = gzip(&vec![b' '; 256 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    let before = gateway.resident_bytes();
    assert_refused(&post_packed(&gateway, "gzip", &bomb), 413, "payload_too_large");
    assert_refused(&post_packed(&gateway, "deflate", &deflate(&vec![b' '; 2 * 1024 * 1024])), 413, "payload_too_large");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");
}

#[test]
fn bodies_may_have_8_mebibytes_and_no_more() {
    const LIMIT: usize = 8 * 1024 * 1024;
    let gateway = serving("echo-node");
    let body = |bytes: usize| format!("[\"{}\"]", "x".repeat(bytes - 4));
    assert_eq!(result(&gateway.call("it", "size", &body(LIMIT))), json!(LIMIT - 4));
    assert_refused(&wire::send(&gateway, "POST", &path("size"), &[JSON], body(LIMIT + 1)), 413, "payload_too_large");
}

#[test]
fn h4_a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let gateway = with_server("max_body = \"1KiB\"", "echo-node");
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!("POST {} HTTP/1.1\r\nhost: a\r\n{expect}content-length: 1025\r\n\r\n", path("size"));
        let mut wire = Wire::open(&gateway);
        // The first answer: no 100 Continue comes before it.
        let answer = wire.send(head).answer();
        assert_refused(&answer, 413, "payload_too_large");
        assert_eq!(answer.header("connection"), Some("close"));
        wire.wait_closed();
    }
    let fits =
        format!("POST {} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n", path("size"));
    let mut wire = Wire::open(&gateway);
    assert_eq!(wire.send(fits).answer_without_body().status, 100);
    assert_eq!(result(&wire.send("[\"\"]").answer()), json!(0));
}

#[test]
fn h4_a_chunked_body_is_cut_at_the_limit() {
    let gateway = with_server("max_body = \"1KiB\"", "echo-node");
    let chunk = format!("100\r\n{}\r\n", " ".repeat(256));
    let mut wire = Wire::open(&gateway);
    wire.send(format!("POST {} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", path("size")));
    for _ in 0..5 {
        wire.send(&chunk);
    }
    // The body has no end: the answer does not wait for one.
    let answer = wire.answer();
    assert_refused(&answer, 413, "payload_too_large");
    assert_eq!(answer.header("connection"), Some("close"));
    wire.wait_closed();
}

#[test]
fn undefined_is_an_empty_answer_and_null_is_null() {
    let gateway = serving("node-values");
    for (function, body) in [("nothing", ""), ("nil", "null"), ("echo", "[]")] {
        let answer = gateway.get(&path(function));
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{function}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{function}");
        assert_eq!(answer.header("x-metagate-error"), None, "{function}");
    }
}

/// What a call must give: a result as it stands on the wire, or the function's own error.
enum Gives {
    Result(&'static str),
    Error(&'static str),
}

/// Calls each function without arguments; the worker must be the same process afterwards.
#[track_caller]
fn assert_each(gateway: &Gateway, cases: &[(&str, Gives)]) {
    let workers = gateway.worker_pids();
    assert!(!workers.is_empty());
    for (function, gives) in cases {
        let answer = gateway.get(&path(function));
        match gives {
            Gives::Result(body) => assert_eq!((answer.status, answer.body.as_str()), (200, *body), "{function}"),
            Gives::Error(message) => {
                assert_refused(&answer, 500, "function_error");
                assert!(answer.message().starts_with(message), "{function}: {answer:?}");
            }
        }
    }
    assert_eq!(gateway.worker_pids(), workers);
    assert_eq!(gateway.readiness("it")["restarts"], 0);
}

#[test]
fn every_value_that_node_returns_or_throws_has_its_answer() {
    use Gives::{Error, Result};
    assert_each(
        &serving("node-values"),
        &[
            ("text", Result("\"π \\\"quoted\\\"\\n\u{2028} \\ud800\"")),
            ("nested", Result(r#"{"a":[1,{"b":null},null],"when":"1970-01-01T00:00:00.000Z","c":"own"}"#)),
            ("receiver", Result("true")),
            ("bigint", Result("10")),
            ("bigintInside", Result(r#"{"items":[0,1,2,{"total":-12157665459056928801}],"by":{"1":2},"text":"4"}"#)),
            ("circular", Error("TypeError: result.items[1].back is circular: it is result again")),
            ("symbol", Error("TypeError: result is a Symbol")),
            ("symbolInside", Error("TypeError: result[\"not a name\"][0] is a Symbol")),
            ("fn", Error("TypeError: result is a function")),
            ("fnInside", Error("TypeError: result.handlers.click is a function")),
            ("nan", Error("TypeError: result is NaN")),
            ("nanInside", Error("TypeError: result.rows[0].mean is NaN")),
            ("infinity", Error("TypeError: result[0] is -Infinity")),
            ("map", Result(r#"{"byName":{"a":1}}"#)),
            ("set", Result(r#"[1,{"of":[2]}]"#)),
            ("buffer", Result("\"iVBORw0KGgo=\"")),
            ("bytes", Result(r#"{"text":"hé"}"#)),
            ("floats", Result("[1,2.5]")),
            ("error", Result(r#"{"cause":{"name":"RangeError","message":"no"}}"#)),
            ("url", Result("\"http://a.test/b\"")),
            ("mapOfDates", Result(r#"{"12":2,"1970-01-01T00:00:00.000Z":1,"http://a.test/":3,"true":4,"null":5}"#)),
            ("mapOfOneText", Error("TypeError: result.map is a Map with keys that are not text, or two of one")),
            ("mapOfObjects", Error("TypeError: result.byKey is a Map")),
            ("response", Result("text")),
            ("arrayBuffer", Error("TypeError: result.data is an ArrayBuffer")),
            ("regex", Error("TypeError: result[0] is a RegExp")),
            ("promise", Error("TypeError: result.later is a Promise")),
            ("invalidDate", Error("TypeError: result.when is an invalid Date")),
            ("getterThrows", Error("RangeError: no total")),
            ("toJSONThrows", Error("RangeError: no JSON")),
            ("generator", Error("TypeError: result.rows is an iterator")),
            ("thenGetterThrows", Error("RangeError: no then")),
            ("thenable", Result("")),
            ("reject", Error("TypeError: ")),
            ("throwError", Error("TypeError: ")),
            ("throwString", Error("Error: a string")),
            ("throwUndefined", Error("Error: thrown, but not an Error: undefined")),
            ("throwNull", Error("Error: thrown, but not an Error: null")),
            ("throwObject", Error("Error: thrown, but not an Error: { code: 7 }")),
            ("throwHostile", Error("Error: thrown, but cannot be shown")),
            ("rejectNothing", Error("Error: thrown, but not an Error: undefined")),
        ],
    );
}

#[test]
fn every_value_that_python_returns_or_raises_has_its_answer() {
    use Gives::{Error, Result};
    assert_each(
        &serving("python-values"),
        &[
            ("nothing", Result("null")),
            ("dataclass", Result(r#"{"x":1,"y":2}"#)),
            ("dates", Result(r#"["2026-11-22T13:14:15+00:00","2026-11-22","13:14:00",60.5]"#)),
            ("decimals", Result(r#"["1.10","3"]"#)),
            ("texts", Result("[\"café\",\"abc\",\"//4=\",\"line\u{2028}end\\u0000\u{1f600}\",\"\\ud800\"]")),
            ("identifiers", Result(r#"["00000000-0000-0000-0000-000000000001","red","/tmp/a"]"#)),
            ("collections", Result(r#"[[3],[4],[1,2],[5],[1,2],["a"]]"#)),
            ("keys", Result(r#"{"a":1,"2":2,"1.5":3,"true":4,"null":5}"#)),
            ("converted_keys", Result(r#"{"2026-11-28":1,"red":{"true":2,"00000000-0000-0000-0000-000000000001":3}}"#)),
            ("lost_keys", Error("ValueError: result[\"a\"][0]: two keys are \"red\" as text")),
            ("numbers", Result(r#"["1/3",[1.0,2.5],{"a":1}]"#)),
            ("error", Result(r#"{"cause":{"name":"KeyError","message":"'no'"}}"#)),
            ("model", Result(r#"{"id":7,"at":"2026-11-22"}"#)),
            ("nan", Error("ValueError: result[\"mean\"][1]: nan")),
            ("opaque", Error("TypeError: result[\"items\"][3]: object of type Opaque")),
            ("tuple_key", Error("TypeError: result[\"map\"]: key (1, 2) of type tuple")),
            ("circular", Error("ValueError: result[\"self\"][0]: refers to itself")),
            ("generator", Error("TypeError: result[\"rows\"]: object of type generator")),
            ("async_generator", Error("TypeError: result[\"rows\"]: object of type async_generator")),
            ("fail", Error("ValueError: boom")),
            ("leave", Error("SystemExit: 3")),
            ("interrupt", Error("KeyboardInterrupt: ")),
            ("recurse", Error("RecursionError: ")),
        ],
    );
}

#[test]
fn a_result_that_is_nested_too_deeply_is_an_error_of_its_call_alone() {
    for (folder, function) in [("node-values", "deep"), ("echo-python", "deep")] {
        let gateway = serving(folder);
        let workers = gateway.worker_pids();
        let depths = [100, 119, 125, 126, 127, 128, 129, 200, 900, 100_000];
        for levels in depths {
            let answer = gateway.call("it", function, &format!("[{levels}]"));
            if answer.status == 200 {
                assert!(levels <= 128, "{folder} {levels}");
            } else {
                // The worker reports it, or the gateway does for Python; the worker survives both.
                let by_gateway = folder == "echo-python" && answer.status == 502;
                let (status, code) = if by_gateway { (502, "worker_protocol_error") } else { (500, "function_error") };
                assert_refused(&answer, status, code);
                assert!(levels >= 120, "{folder} {levels}");
            }
        }
        assert_eq!(gateway.worker_pids(), workers, "{folder}");
    }
}

#[test]
fn only_exported_functions_can_be_called() {
    for folder in ["echo-node", "echo-python"] {
        let gateway = serving(folder);
        for name in ["__proto__", "constructor", "toString", "hasOwnProperty", "nosuch", "__init__", "F", "f.call", "0"]
        {
            let answer = gateway.call("it", name, "[]");
            assert_refused(&answer, 404, "function_not_found");
            assert_eq!(answer.message(), format!("deployment \"it\" has no function {name:?}"), "{folder}");
        }
    }
}

#[test]
fn what_is_not_deployed_is_not_found() {
    let gateway = serving("echo-node");
    for address in [
        "/local/other/v1/call/run",
        "/local/IT/v1/call/run",
        "/elsewhere/it/v1/call/run",
        "/Local/it/v1/call/run",
        "/local/it/v2/call/run",
        "/local/it/V1/call/run",
        "/local/api/v1/call/run",
        "/local/constructor/v1/call/run",
    ] {
        assert_refused(&wire::send(&gateway, "POST", address, &[JSON], "[]"), 404, "deployment_not_found");
    }
    assert_eq!(result(&gateway.get(&path("runs"))), json!(0));
}

#[test]
fn an_answer_carries_the_callers_request_id_if_that_is_a_sane_one() {
    let gateway = serving("echo-node");
    let longest = "a".repeat(128);
    for id in ["abc-123", "01J:x/y+z=_.", &longest] {
        for function in ["args", "nosuch"] {
            let answer = wire::send(&gateway, "GET", &path(function), &[("x-request-id", id)], "");
            assert_eq!(answer.header("x-request-id"), Some(id));
        }
        assert_eq!(
            wire::send(&gateway, "GET", "/healthz", &[("X-Request-ID", id)], "").header("x-request-id"),
            Some(id)
        );
    }
    let too_long = "a".repeat(129);
    let mut seen = vec![];
    for id in ["", "a b", "<script>", "\"q\"", "ä", &too_long] {
        let answer = wire::send(&gateway, "GET", &path("nosuch"), &[("x-request-id", id)], "");
        assert_refused(&answer, 404, "function_not_found");
        seen.push(answer.header("x-request-id").unwrap().to_owned());
    }
    assert!(seen.iter().all(|id| id.len() == 26 && id.bytes().all(|b| b.is_ascii_alphanumeric())), "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "every request has an id of its own");
}

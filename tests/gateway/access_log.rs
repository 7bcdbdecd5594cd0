//! `[access_log]`: a line for each call, in both forms, sampled, rotated, without values of queries.

use std::fs;
use std::io::Read as _;

use serde_json::Value;

use crate::streams::{accepting, ask, raw};
use crate::support::{Gateway, metagate, wait_for};

fn logging(keys: &str) -> Gateway {
    Gateway::ready(&format!("{}[access_log]\nfile = \"access.log\"\n{keys}", crate::streams::config()))
}

/// The lines, once there are so many.
#[track_caller]
fn lines(gateway: &Gateway, count: usize) -> Vec<String> {
    let file = gateway.folder.path().join("access.log");
    wait_for("the lines", || {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (text.ends_with('\n') && lines.len() >= count).then_some(lines)
    })
}

#[test]
fn every_call_has_a_line_with_how_it_ended_and_how_long_it_took() {
    let gateway = logging("query = [\"page\"]\n");
    let path = "/local/x/v1/call/told?page=2&key=hunter2";
    let answer = gateway.get_with(path, &[("x-request-id", "mine"), ("user-agent", "tests \"1\"")]);
    gateway.call("x", "nothing-like-it", "[]");
    gateway.call("absent", "f", "[]");
    raw(&gateway, "application/x-ndjson", "fail_after", "[40000]");
    let mut leaves = ask(&gateway, "text/event-stream", "endless", "[10]");
    leaves.read_exact(&mut [0; 20]).unwrap();
    drop(leaves);
    let lines: Vec<Value> = lines(&gateway, 5).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    let first = &lines[0];
    for (key, value) in [
        ("request_id", Value::from("mine")),
        ("client", "127.0.0.1".into()),
        ("method", "GET".into()),
        ("path", "/local/x/v1/call/told".into()),
        ("query", "page=2&key=*".into()),
        ("deployment", "x".into()),
        ("function", "told".into()),
        ("status", 200.into()),
        ("request_bytes", 0.into()),
        ("answer_bytes", answer.body.len().into()),
        ("user_agent", "tests \"1\"".into()),
    ] {
        assert_eq!(first[key], value, "{key}: {first}");
    }
    let of = |key: &str| first[key].as_f64().unwrap();
    assert!(of("duration_ms") >= of("queue_ms") + of("worker_ms") && of("worker_ms") > 0.0, "{first}");
    assert!(first.get("code").is_none() && first.get("plugins_ms").is_none(), "{first}");
    assert!(first["time"].as_str().unwrap().ends_with('Z'), "{first}");
    let ends: Vec<(u64, &str)> =
        lines.iter().map(|line| (line["status"].as_u64().unwrap(), line["code"].as_str().unwrap_or(""))).collect();
    let expected = [
        (200, ""),
        (404, "function_not_found"),
        (404, "deployment_not_found"),
        (200, "function_error"),
        (200, "client_gone"),
    ];
    assert_eq!(ends, expected);
    assert!(lines[1]["answer_bytes"].as_u64() > Some(50) && lines[2]["answer_bytes"].as_u64() > Some(50), "{lines:?}");
    assert!(lines[3]["stream_ms"].is_number() && lines[3]["answer_bytes"].as_u64() > Some(100_000), "{}", lines[3]);
    assert!(!gateway.log().contains("hunter2"));
}

#[test]
fn the_combined_form_is_that_of_web_servers() {
    let gateway = logging("format = \"combined\"\n");
    let headers = [("x-request-id", "mine"), ("user-agent", "a\"b"), ("referer", "http://r/")];
    gateway.get_with("/local/x/v1/call/told?a=1", &headers);
    gateway.call("x", "fail_after", "[0]");
    let lines = lines(&gateway, 2);
    let (start, rest) = lines[0].split_once(" [").unwrap();
    let (_time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(start, "127.0.0.1 - -");
    assert!(rest.starts_with("\"GET /local/x/v1/call/told?a=* HTTP/1.1\" 200 "), "{rest}");
    assert!(rest.contains(" \"http://r/\" \"a\\\"b\" mine "), "{rest}");
    assert!(rest.contains(" queue=") && rest.contains(" worker="), "{rest}");
    assert!(lines[1].contains("\" 500 ") && lines[1].ends_with(" code=function_error"), "{}", lines[1]);
}

#[test]
fn of_calls_that_are_sampled_those_that_failed_all_have_a_line() {
    let gateway = logging("sample = 1000000\n");
    for _ in 0..50 {
        gateway.call("x", "told", "[]");
    }
    for _ in 0..3 {
        accepting(&gateway, "*/*", "fail_after", "[0]");
    }
    let lines = lines(&gateway, 3);
    assert_eq!(lines.iter().filter(|line| line.contains("function_error")).count(), 3);
    assert!(lines.len() < 10, "{lines:?}");
}

#[test]
fn a_full_file_is_rotated_and_lines_go_on() {
    let gateway = logging("max_size = \"64KiB\"\nkeep = 1\n");
    for _ in 0..600 {
        gateway.call("x", "told", "[]");
    }
    let folder = gateway.folder.path();
    let sizes = wait_for("the rotation", || {
        let size = |name: &str| fs::metadata(folder.join(name)).map(|metadata| metadata.len()).ok();
        Some((size("access.log")?, size("access.log.1")?))
    });
    assert!(sizes.0 <= 64 << 10 && sizes.1 <= 64 << 10, "{sizes:?}");
    assert!(!folder.join("access.log.2").exists());
}

#[test]
fn lines_go_to_standard_error_unless_a_file_is_named() {
    let gateway = Gateway::ready(&format!("{}[access_log]\n", crate::streams::config()));
    gateway.get_with("/local/x/v1/call/told", &[("x-request-id", "mine")]);
    gateway.wait_log("\"request_id\":\"mine\"");
}

#[test]
fn a_file_that_cannot_be_written_keeps_the_gateway_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagate.toml");
    let text = "[server]\nlisten = \"127.0.0.1:0\"\n[access_log]\nfile = \"absent/access.log\"\n";
    fs::write(&file, text).unwrap();
    let ended = metagate().arg("serve").arg(&file).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    let checked = metagate().arg("check").arg(&file).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("there is no folder"), "{checked:?}");
    assert!(told.contains("opening \"file\" of [access_log]") && told.contains("absent/access.log"), "{told}");
}

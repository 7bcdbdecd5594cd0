//! The gateway for its operator: health, inspection, the token, the admin listener, the data folder, the log.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::wire::{self, Wire, assert_refused, request};

const TOKEN: &str = "a-token-of-more-than-thirty-two-bytes";

fn deployment(name: &str, folder: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture(folder))
}

fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[], "")
}

#[test]
fn readiness_is_503_with_the_reason_while_a_deployment_fails() {
    let gateway = Gateway::start(&(deployment("good", "echo-node") + &deployment("bad", "broken-node")));
    let failed = wait_for("the failure", || {
        let bad = gateway.readiness("bad");
        (bad["status"] == "failed" && gateway.readiness("good")["status"] == "ready").then_some(bad)
    });
    assert_eq!(failed["ready_workers"], 0);
    assert_eq!(failed["error"]["code"], "load_failed");
    assert!(failed["error"]["message"].as_str().unwrap().contains("1"), "names the exit code: {failed}");
    assert!(failed["error"]["stderr"].as_str().unwrap().contains("RangeError: no luck today"), "{failed}");
    let answer = gateway.get("/readyz");
    assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("degraded")));
    assert_eq!((gateway.get("/healthz").status, gateway.get("/healthz").body.as_str()), (200, "ok\n"));
    assert_eq!((gateway.get("/api/readiness").status, gateway.get("/api/readiness").body.as_str()), (200, "OK"));
    assert_eq!(gateway.call("good", "args", "[1]").body, "[1]");
}

#[test]
fn readiness_is_200_when_everything_is_ready_and_when_nothing_is_deployed() {
    let gateway = Gateway::ready(&(deployment("a", "echo-node") + &deployment("b", "echo-python")));
    let detail = gateway.get("/readyz").json();
    assert_eq!(detail["status"], "ready");
    let names: Vec<&str> =
        detail["deployments"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    let empty = Gateway::start("").get("/readyz");
    assert_eq!(
        (empty.status, empty.json()),
        (200, json!({"status": "ready", "prefix": "local", "deployments": [], "plugins": []}))
    );
}

#[test]
fn inspection_has_the_shape_that_metacalls_clients_read() {
    let gateway = Gateway::ready(&(deployment("py", "echo-python") + &deployment("js", "echo-node")));
    let all = gateway.get("/api/inspect").json();
    let [js, py] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
    for (one, suffix, language, script) in [(js, "js", "node", "index.js"), (py, "py", "py", "main.py")] {
        let mut keys: Vec<&String> = one.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["packages", "ports", "prefix", "status", "suffix", "version"]);
        let head = [&one["status"], &one["prefix"], &one["suffix"], &one["version"], &one["ports"]];
        assert_eq!(head, [&json!("ready"), &json!("local"), &json!(suffix), &json!("v1"), &json!([])]);
        let handle = &one["packages"][language][0];
        assert_eq!(handle["name"], script);
        let scope = &handle["scope"];
        assert_eq!(scope["name"], "global_namespace");
        assert_eq!((&scope["classes"], &scope["objects"]), (&json!([]), &json!([])));
    }
    let unknown = json!({"name": "", "id": 20});
    let named = |names: &[&str]| names.iter().map(|name| json!({"name": name, "type": unknown})).collect::<Value>();
    assert_eq!(
        function(js, "node", "f"),
        json!({"name": "f", "signature": {"ret": {"type": unknown}, "args": named(&["b", "a"])}, "async": false,
            "schema": {"returns": {}, "parameters": [
                {"name": "b", "kind": "positional", "required": true, "schema": {}},
                {"name": "a", "kind": "positional", "required": true, "schema": {}}]}})
    );
    let kinds = [("count", "int", 4), ("ratio", "float", 6), ("text", "str", 7), ("flags", "list", 9)];
    let kinds = kinds.into_iter().chain([("options", "dict", 10), ("on", "bool", 0)]);
    let typed: Value = kinds.map(|(name, kind, id)| json!({"name": name, "type": {"name": kind, "id": id}})).collect();
    let string = json!({"name": "str", "id": 7});
    // An addition of metagate's own, which MetaCall's clients ignore.
    let mut shown = function(py, "py", "typed");
    let schema = shown.as_object_mut().unwrap().remove("schema").unwrap();
    let count = json!({"name": "count", "kind": "positional", "required": true, "schema": {"type": "integer"}});
    assert_eq!((&schema["parameters"][0], &schema["returns"]), (&count, &json!({"type": "string"})));
    assert_eq!(shown, json!({"name": "typed", "signature": {"ret": {"type": string}, "args": typed}, "async": false}));
    assert_eq!(function(py, "py", "later")["async"], true);
    assert_eq!(function(py, "py", "pair")["signature"]["args"], named(&["a", "b"]));
}

fn function(deployment: &Value, language: &str, name: &str) -> Value {
    let functions = deployment["packages"][language][0]["scope"]["funcs"].as_array().unwrap();
    functions.iter().find(|function| function["name"] == name).cloned().unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn an_admin_request_has_the_size_limit_of_a_call_and_the_same_form_of_error() {
    let gateway = Gateway::start("");
    let padded = |bytes: usize| format!("{}{{\"suffix\":\"other\"}}", " ".repeat(bytes));
    let send = |bytes| wire::send(&gateway, "POST", "/api/deploy/logs", &[], padded(bytes));
    assert_refused(&send(9 * 1024 * 1024), 413, "payload_too_large");
    assert_refused(&send(3 * 1024 * 1024), 404, "deployment_not_found");
}

#[test]
fn a1_with_a_token_the_api_needs_it() {
    let gateway = Gateway::ready(&format!("[admin]\ntoken = {TOKEN:?}\n{}", deployment("it", "echo-node")));
    let right = format!("Bearer {TOKEN}");
    let wrong: [&[(&str, &str)]; 9] = [
        &[],
        &[("authorization", "")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer wrong")],
        &[("authorization", TOKEN)],
        &[("authorization", "Basic eDp5")],
        &[("authorization", &format!("Basic {TOKEN}"))],
        &[("authorization", &right), ("authorization", &right)],
        &[("authorization", &format!("{right}x"))],
    ];
    let query = format!("?token={TOKEN}&access_token={TOKEN}");
    // Each combination from a peer of its own: a peer with many wrong tokens is answered otherwise.
    let mut peer = 0;
    for (method, path) in
        [("GET", "/api/inspect"), ("GET", "/api/logs/it"), ("GET", "/api/logs/none"), ("POST", "/api/deploy/logs")]
    {
        for headers in wrong {
            for query in ["", &query] {
                peer += 1;
                let request = request(method, &format!("{path}{query}"), headers, "");
                let answer = Wire::from([127, 0, 1, peer], &gateway).send(request).answer();
                assert_refused(&answer, 401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                assert!(!answer.body.contains(TOKEN));
            }
        }
    }
    for value in [right, format!("jwt {TOKEN}")] {
        let answer = wire::send(&gateway, "GET", "/api/inspect", &[("authorization", &value)], "");
        assert_eq!((answer.status, &answer.json()[0]["suffix"]), (200, &json!("it")));
    }
    for open in ["/healthz", "/readyz", "/api/readiness", "/local/it/v1/call/args"] {
        assert_eq!(gateway.get(open).status, 200, "{open}");
    }
    assert!(!gateway.log().contains(TOKEN));
}

#[test]
fn a1_a_peer_that_tries_many_tokens_is_limited_and_the_right_token_still_works() {
    let gateway = Gateway::start(&format!("[admin]\ntoken = {TOKEN:?}\n"));
    let with = |token: &str| request("GET", "/api/inspect", &[("authorization", &format!("Bearer {token}"))], "");
    for guess in 0..200 {
        let answer = Wire::open(&gateway).send(with(&format!("guess-{guess}"))).answer();
        if guess < 10 {
            assert_refused(&answer, 401, "unauthorized");
            continue;
        }
        assert_refused(&answer, 429, "rate_limited");
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{answer:?}");
    }
    assert_eq!(Wire::open(&gateway).send(with(TOKEN)).answer().status, 200, "the operator shares the address");
    assert_refused(&Wire::open(&gateway).send(get("/api/inspect")).answer(), 401, "unauthorized");
    assert_refused(&Wire::from([127, 0, 2, 1], &gateway).send(with("guess")).answer(), 401, "unauthorized");
    gateway.wait_log("too many wrong tokens");
    assert_eq!(gateway.log().matches("too many wrong tokens").count(), 1, "{}", gateway.log());
}

#[test]
fn a2_with_an_admin_listener_the_api_is_not_on_the_other() {
    let admin = wire::own_address(9001);
    let gateway = Gateway::ready(&format!("[admin]\nlisten = {admin:?}\n{}", deployment("it", "echo-node")));
    for path in ["/api/inspect", "/api/logs/it", "/api/readiness"] {
        assert_refused(&wire::send(&gateway, "GET", path, &[], ""), 404, "not_found");
        assert_eq!(Wire::to(&admin).send(get(path)).answer().status, 200, "{path}");
    }
    assert_refused(&wire::send(&gateway, "POST", "/api/deploy/logs", &[], r#"{"suffix":"it"}"#), 404, "not_found");
    assert_refused(&Wire::to(&admin).send(get("/local/it/v1/call/run")).answer(), 404, "not_found");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.get(path).status, 200);
        assert_eq!(Wire::to(&admin).send(get(path)).answer().status, 200);
    }
    assert_eq!(gateway.get("/local/it/v1/call/runs").body, "0");
}

#[test]
fn a3_web_pages_cannot_use_the_api() {
    let gateway = Gateway::ready(&deployment("it", "echo-node"));
    for origin in ["http://page.example", "https://localhost:9000", "null", ""] {
        for path in ["/api/reload", "/api/deploy/logs", "/api/deploy/create", "/api/deploy/delete", "/api/rollback/it"]
        {
            let answer = wire::send(&gateway, "POST", path, &[("origin", origin)], r#"{"suffix":"it"}"#);
            assert_refused(&answer, 403, "forbidden");
        }
    }
    // A page under a name that an attacker's name server points here would share the API's origin.
    let asked_as = |host: &str| {
        let answer = Wire::open(&gateway).send(format!("GET /api/inspect HTTP/1.1\r\nhost: {host}\r\n\r\n")).answer();
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")), "{answer:?}");
        answer
    };
    for host in ["page.example", "page.example:9000", "localhost.page.example", "127.0.0.1.page.example", "a.b."] {
        assert_refused(&asked_as(host), 403, "forbidden");
    }
    for host in ["localhost:9000", "127.0.0.1", "[::1]:9000", "gateway", "x.localhost"] {
        assert_eq!(asked_as(host).status, 200, "{host}");
    }
    assert_eq!(gateway.call("it", "args", "[1]").body, "[1]");
}

/// The names and labels of all metrics, without their values.
fn series(gateway: &Gateway) -> Vec<String> {
    let text = gateway.get("/metrics").body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn a9_names_that_callers_invent_make_no_metrics() {
    let gateway = Gateway::ready(&deployment("it", "echo-node"));
    // Names that are not known have one series, with an empty name.
    gateway.call("other", "args", "[]");
    gateway.call("it", "none", "[]");
    let before = series(&gateway);
    assert!(before.iter().any(|series| series.contains("deployment=\"it\"")), "{before:?}");
    for n in 0..100 {
        assert_eq!(gateway.call(&format!("other{n}"), "args", "[]").status, 404);
        assert_eq!(gateway.call("it", &format!("none{n}"), "[]").status, 404);
        assert_eq!(gateway.get(&format!("/nowhere/{n}")).status, 404);
    }
    assert_eq!(series(&gateway), before);
}

#[test]
fn a_second_gateway_does_not_touch_the_workers_of_the_first() {
    let first = Gateway::ready(&deployment("it", "echo-node"));
    let workers = first.worker_pids();
    let second = Gateway::ready(&deployment("it", "echo-node"));
    assert!(second.stop().success());
    assert_eq!(first.worker_pids(), workers);
    assert_eq!(first.call("it", "args", "[1]").body, "[1]");
}

#[test]
fn a_data_folder_is_for_one_gateway_at_a_time() {
    let first = Gateway::ready(&deployment("it", "echo-node"));
    let data = first.folder.path().join("data");
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = {data:?}\n");
    let file = folder.path().join("metagate.toml");
    fs::write(&file, text).unwrap();
    let mut child = metagate().arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let ended = loop {
        match child.try_wait().unwrap() {
            None if start.elapsed() < Duration::from_secs(3) => std::thread::sleep(Duration::from_millis(20)),
            ended => break ended,
        }
    };
    let _gone = child.kill();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(ended.and_then(|status| status.code()), Some(78), "{err}");
    assert!(err.contains("data folder"), "{err}");
}

#[test]
fn the_log_is_json_lines_when_asked_for() {
    let gateway = Gateway::start_with(&deployment("it", "echo-node"), |command| {
        command.args(["--log-format", "json"]);
    });
    gateway.wait_ready();
    let log = wait_for("the log", || Some(gateway.log()).filter(|log| log.contains("loaded")));
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn too_few_open_files_are_reported_once_however_many_listeners_there_are() {
    let admin = wire::own_address(9002);
    let tables = format!("[server]\nmax_connections = 10000000\n[admin]\nlisten = {admin:?}\n");
    let gateway = Gateway::start(&tables);
    let log = wait_for("the log", || Some(gateway.log()).filter(|log| log.contains("serving")));
    assert_eq!(log.matches("limit of open files is too low").count(), 1, "{log}");
    assert!(log.contains("connections=10000064"), "{log}");
}

//! What those who run the gateway see and use: health, inspection, logs, the token, the listener, the commands.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};
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
        json!({"name": "f", "signature": {"ret": {"type": unknown}, "args": named(&["b", "a"])}, "async": false})
    );
    let kinds = [("count", "int", 4), ("ratio", "float", 6), ("text", "str", 7), ("flags", "list", 9)];
    let kinds = kinds.into_iter().chain([("options", "dict", 10), ("on", "bool", 0)]);
    let typed: Value = kinds.map(|(name, kind, id)| json!({"name": name, "type": {"name": kind, "id": id}})).collect();
    let string = json!({"name": "str", "id": 7});
    assert_eq!(
        function(py, "py", "typed"),
        json!({"name": "typed", "signature": {"ret": {"type": string}, "args": typed}, "async": false})
    );
    assert_eq!(function(py, "py", "later")["async"], true);
    assert_eq!(function(py, "py", "pair")["signature"]["args"], named(&["a", "b"]));
}

fn function(deployment: &Value, language: &str, name: &str) -> Value {
    let functions = deployment["packages"][language][0]["scope"]["funcs"].as_array().unwrap();
    functions.iter().find(|function| function["name"] == name).cloned().unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn logs_are_told_as_text_and_as_a_json_string() {
    let gateway = Gateway::ready(&deployment("it", "python-values"));
    assert_eq!(gateway.call("it", "say", r#"["first \u001b[31mred"]"#).status, 200);
    let text = wait_for("both outputs", || {
        let text = gateway.worker_log("it");
        (text.contains(" out first") && text.contains(" err first")).then_some(text)
    });
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(gateway.get("/api/logs/it").header("content-type").unwrap().starts_with("text/plain"));
    let body = json!({"container": "deploy", "type": "deploy", "suffix": "it", "prefix": "local", "version": "v1"});
    let answer = gateway.post("/api/deploy/logs", &[("content-type", "application/json")], body.to_string());
    assert_eq!((answer.status, answer.json()), (200, json!(text)));

    assert_refused(&wire::send(&gateway, "GET", "/api/logs/other", &[], ""), 404, "deployment_not_found");
    assert_refused(&wire::send(&gateway, "GET", "/api/logs/it?follow=perhaps", &[], ""), 400, "bad_request");
    let unknown = wire::send(&gateway, "POST", "/api/deploy/logs", &[], r#"{"suffix":"other"}"#);
    assert_refused(&unknown, 404, "deployment_not_found");
    assert_refused(&wire::send(&gateway, "POST", "/api/deploy/logs", &[], "{"), 400, "invalid_json");
    assert_refused(&wire::send(&gateway, "POST", "/api/deploy/logs", &[], "{}"), 400, "invalid_json");
}

#[test]
fn an_admin_request_has_the_same_limit_as_a_call_and_its_refusal_the_one_shape() {
    let gateway = Gateway::start("");
    let padded = |bytes: usize| format!("{}{{\"suffix\":\"other\"}}", " ".repeat(bytes));
    let send = |bytes| wire::send(&gateway, "POST", "/api/deploy/logs", &[], padded(bytes));
    assert_refused(&send(9 * 1024 * 1024), 413, "payload_too_large");
    assert_refused(&send(3 * 1024 * 1024), 404, "deployment_not_found");
}

/// The next event of a followed log.
fn event(wire: &mut Wire) -> String {
    loop {
        let line = wire.line();
        assert_ne!(line, "", "the log ended");
        if let Some(text) = line.strip_prefix("data: ") {
            return text.trim_end().to_owned();
        }
    }
}

#[test]
fn a_followed_log_gives_each_line_as_it_is_printed() {
    let gateway = Gateway::ready(&format!("[server]\nidle_timeout = \"300ms\"\n{}", deployment("it", "echo-node")));
    gateway.call("it", "say", "[\"before\"]");
    wait_for("the line", || gateway.worker_log("it").contains("before").then_some(()));
    let mut wire = Wire::open(&gateway);
    let head = wire.send(get("/api/logs/it?follow=true")).answer_without_body();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    while !event(&mut wire).ends_with(" out before") {}
    for n in 0..3 {
        // Also when nothing has come for longer than a connection may idle.
        std::thread::sleep(Duration::from_millis(if n == 1 { 900 } else { 0 }));
        gateway.call("it", "say", &format!("[\"line {n}\"]"));
        let line = event(&mut wire);
        assert!(line.ends_with(&format!(" out line {n}")), "{line}");
    }
}

#[test]
fn a_followed_log_does_not_hold_up_the_gateways_end() {
    let mut gateway = Gateway::ready(&format!("[server]\ndrain = \"15s\"\n{}", deployment("it", "echo-node")));
    gateway.call("it", "say", "[\"something\"]");
    let mut wire = Wire::open(&gateway);
    assert_eq!(wire.send(get("/api/logs/it?follow=true")).answer_without_body().status, 200);
    event(&mut wire);
    let start = Instant::now();
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.wait_end().success());
    assert!(start.elapsed() < Duration::from_secs(5), "after {:?}", start.elapsed());
}

#[test]
fn logs_outlive_the_gateway() {
    let data = tempfile::tempdir().unwrap();
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        let server = format!("[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = {:?}\n", data.path());
        fs::write(folder.path().join("metagate.toml"), server + &deployment("it", "echo-node")).unwrap();
        let gateway = Gateway::start_in(folder, |_| {});
        gateway.wait_ready();
        gateway
    };
    let first = start();
    first.call("it", "say", "[\"in the first run\"]");
    wait_for("the line", || first.worker_log("it").contains("in the first run").then_some(()));
    assert!(first.stop().success());
    let second = start();
    second.call("it", "say", "[\"in the second run\"]");
    let text = wait_for("the line", || Some(second.worker_log("it")).filter(|text| text.contains("second run")));
    let [first, second] = ["in the first run", "in the second run"].map(|words| text.find(words).unwrap());
    assert!(first < second, "{text}");
}

#[test]
fn with_a_token_the_api_is_for_those_who_have_it() {
    let gateway = Gateway::ready(&format!("[admin]\ntoken = {TOKEN:?}\n{}", deployment("it", "echo-node")));
    let right = format!("Bearer {TOKEN}");
    let wrong: [&[(&str, &str)]; 9] = [
        &[],
        &[("authorization", "")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer wrong")],
        &[("authorization", TOKEN)],
        &[("authorization", "Basic eDp5")],
        &[("authorization", &format!("bearer {TOKEN}"))],
        &[("authorization", &right), ("authorization", &right)],
        &[("authorization", &format!("{right}x"))],
    ];
    let query = format!("?token={TOKEN}&access_token={TOKEN}");
    for (method, path) in
        [("GET", "/api/inspect"), ("GET", "/api/logs/it"), ("GET", "/api/logs/none"), ("POST", "/api/deploy/logs")]
    {
        for headers in wrong {
            for query in ["", &query] {
                let answer = wire::send(&gateway, method, &format!("{path}{query}"), headers, "");
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
fn a_listener_for_admins_takes_the_api_away_from_the_other() {
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

/// What a command did: exit code, standard output, standard error.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = metagate();
    command.args(arguments).stdin(Stdio::null()).env_remove("METAGATE_TOKEN").env_remove("METAGATE_URL");
    outcome(&command.output().unwrap())
}

#[test]
fn commands_talk_to_a_running_gateway() {
    let tables =
        format!("[admin]\ntoken = {TOKEN:?}\n{}{}", deployment("js", "echo-node"), deployment("py", "echo-python"));
    let gateway = Gateway::ready(&tables);
    let url = gateway.url("");
    let client = |arguments: &[&str]| run(&[arguments, &["--url", &url, "--token", TOKEN]].concat());

    assert_eq!(
        client(&["invoke", "js", "f", "2", "\"x\""]),
        (Some(0), "{\"b\":2,\"a\":\"x\"}\n".to_owned(), String::new())
    );
    assert_eq!(client(&["invoke", "py", "args", "9007199254740993"]).1, "[9007199254740993]\n");
    assert_eq!(client(&["invoke", "js", "say", "\"from a command\""]), (Some(0), "\n".to_owned(), String::new()));
    let failures = [
        (&["invoke", "js", "f", "{x"][..], 2, "is not JSON"),
        (&["invoke", "js"], 2, "required"),
        (
            &["invoke", "js", "nosuch"],
            1,
            "deployment \"js\" has no function \"nosuch\" (function_not_found, status 404)",
        ),
        (&["invoke", "other", "f"], 1, "no deployment \"other\": there are py, js"),
        (&["invoke", "py", "pair", "1"], 1, "missing 1 required positional argument: 'b' (function_error, status 500)"),
        (&["inspect", "other"], 1, "no deployment \"other\""),
        (&["logs", "other"], 1, "no deployment \"other\" (deployment_not_found, status 404)"),
        (&["nosuch"], 2, "unrecognized subcommand"),
        (&["inspect", "--nosuch"], 2, "unexpected argument"),
    ];
    for (arguments, code, words) in failures {
        let (exit, out, err) = client(arguments);
        assert_eq!((exit, out.as_str()), (Some(code), ""), "{arguments:?} {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }

    let (code, out, _) = client(&["inspect"]);
    assert_eq!(code, Some(0));
    let cells: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["NAME", "STATUS", "RELEASE", "ORIGIN", "FUNCTIONS", "ADDRESS"]);
    for (row, name) in cells[1..].iter().zip(["py", "js"]) {
        assert_eq!((row[0], row[1]), (name, "ready"), "{out}");
        assert_eq!(row[5], format!("{url}/local/{name}/v1/call/"));
    }
    let (_, out, _) = client(&["inspect", "js"]);
    for line in ["js  ready  /local/js/v1/call/", "  f(b, a)  (node, index.js)"] {
        assert!(out.lines().any(|one| one == line), "{line:?} in\n{out}");
    }
    let typed =
        "  typed(count: int, ratio: float, text: str, flags: list, options: dict, on: bool) -> str  (py, main.py)";
    let (_, out, _) = client(&["inspect", "py"]);
    assert!(out.contains(typed) && !out.contains("js  ready"), "{out}");
    assert!(out.lines().any(|line| line == "  async later(value)  (py, main.py)"), "{out}");
    let (_, out, _) = client(&["inspect", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().len(), 2);
    let (_, out, _) = client(&["inspect", "js", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["suffix"], "js");
    wait_for("the line", || client(&["logs", "js"]).1.contains(" out from a command\n").then_some(()));

    for arguments in [&["inspect", "--url", &url][..], &["logs", "js", "--url", &url, "--token", "wrong"]] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(err.contains("(unauthorized, status 401)"), "{err}");
    }
    let by_environment =
        metagate().arg("inspect").env("METAGATE_URL", &url).env("METAGATE_TOKEN", TOKEN).output().unwrap();
    assert_eq!(by_environment.status.code(), Some(0));
}

#[test]
fn the_logs_command_follows_what_is_printed() {
    let gateway = Gateway::ready(&deployment("it", "echo-node"));
    let mut command = metagate();
    command.args(["logs", "it", "--follow", "--url", &gateway.url("")]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for words in ["one", "two"] {
        gateway.call("it", "say", &format!("[{words:?}]"));
        assert!(lines.any(|line| line.ends_with(&format!(" out {words}"))));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_command_without_a_gateway_says_where_it_looked() {
    let address = wire::own_address(9);
    let (code, out, err) = run(&["inspect", "--url", &format!("http://{address}")]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(&address) && err.contains("metagate serve"), "{err}");
}

fn written(folder: &Path, text: &str) -> String {
    let file = folder.join("metagate.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn check_finds_every_fault_at_its_place_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let good = written(folder.path(), &deployment("it", "echo-node"));
    let (code, out, err) = run(&["check", &good]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("1 deployments, no faults") || out.contains("1 deployment, no faults"), "{out}");

    let text = "[server]\nprot = 1\n\n[[deployment]]\nname = \"a b\"\npath = \"x\"\n";
    let bad = written(folder.path(), text);
    let (code, out, err) = run(&["check", &bad]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for place in [":2:1: unknown key \"prot\"", ":5:8: "] {
        assert!(err.contains(&format!("{bad}{place}")), "{err}");
    }
    let missing = written(folder.path(), "[[deployment]]\nname = \"it\"\npath = \"nowhere\"\n");
    let (code, _, err) = run(&["check", &missing]);
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("{missing}:3:8: ")), "{err}");
    let both = "[server]\nprot = 1\n[[deployment]]\nname = \"a\"\npath = \"nowhere\"\n\
        [[deployment]]\nname = \"b\"\npath = \".\"\ninterpreter = \"/no/node\"\nruntime = \"node\"\n";
    fs::write(folder.path().join("index.js"), "exports.f = () => 1;\n").unwrap();
    let several = written(folder.path(), both);
    let (_, _, err) = run(&["check", &several]);
    for place in [":2:1: unknown key", ":5:8: deployment \"a\"", ":9:15: deployment \"b\""] {
        assert!(err.contains(&format!("{several}{place}")), "all at once: {err}");
    }
    fs::remove_file(folder.path().join("index.js")).unwrap();
    let (code, _, err) = run(&["check", "no-such-file.toml"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no-such-file.toml"), "{err}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["metagate.toml"]);
}

#[test]
fn the_schema_is_json_and_names_every_table() {
    let (code, out, err) = run(&["schema"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&out).unwrap();
    for table in ["server", "admin", "deployment"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn serve_refuses_what_it_cannot_serve_with_78() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\n";
    for (text, words) in [
        ("[server]\nprot = 1\n".to_owned(), ":2:1: unknown key \"prot\""),
        (format!("{server}data_dir = \"file\"\n"), "data folder "),
        (format!("{server}data_dir = \"file/below\"\n"), "data folder "),
        ("[server]\nlisten = \"0.0.0.0:0\"\n".to_owned(), "token"),
    ] {
        let (code, out, err) = run(&["serve", &written(folder.path(), &text)]);
        assert_eq!((code, out.as_str()), (Some(78), ""), "{text}{err}");
        assert!(err.contains(words), "{words}: {err}");
    }
    let (code, _, err) = run(&["serve", "no-such-file.toml"]);
    assert_eq!(code, Some(78), "{err}");
    let (code, _, _) = run(&["serve", "a", "b"]);
    assert_eq!(code, Some(2));
}

#[test]
fn serve_names_the_address_that_is_taken() {
    let gateway = Gateway::start("");
    let address = gateway.address;
    let folder = tempfile::tempdir().unwrap();
    for text in [
        format!("[server]\nlisten = \"{address}\"\n"),
        format!("[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{address}\"\n"),
    ] {
        let (code, out, err) = run(&["serve", &written(folder.path(), &text)]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains(&address.to_string()) && err.contains("in use"), "{err}");
    }
    assert_eq!(gateway.get("/healthz").status, 200);
}

#[test]
fn a_second_gateway_leaves_the_first_ones_workers_alone() {
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
    let file = written(folder.path(), &text);
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

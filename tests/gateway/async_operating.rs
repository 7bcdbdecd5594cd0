//! Asynchronous calls for those who operate a gateway: lists, counts, what can be done with many of them, and the
//! limits of deployments that come over the API.

use std::path::Path;

use serde_json::{Value, json};

use crate::async_calls::{FUNCTIONS, accepted, ended, gateway_with};
use crate::descriptions::{assert_valid, document};
use crate::exports::folder;
use crate::support::{Answer, Gateway, metagate, wait_for};

const ADMIN: &str = "Bearer everything";
const TOKENS: &str = "[admin]\ntoken = \"everything\"\n\
                      tokens = [{ name = \"looker\", token = \"look\", may = [\"read\"] }, \
                      { name = \"others\", token = \"others\", may = [\"deploy:other\"] }]\n";

fn asynchronous(gateway: &Gateway, deployment: &str, function: &str, body: &str) -> String {
    let address = format!("/local/{deployment}/v1/async/{function}");
    accepted(&gateway.post(&address, &[("content-type", "application/json"), ("x-request-id", "asked-for")], body))
}

fn ask(gateway: &Gateway, token: &str, path: &str) -> Answer {
    gateway.get_with(path, &[("authorization", token)])
}

#[track_caller]
fn change(gateway: &Gateway, path: &str, body: &str) -> Value {
    let answer = gateway.post(path, &[("authorization", ADMIN)], body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["calls"].clone()
}

#[test]
fn calls_are_counted_by_deployment_and_chosen_by_function() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with(&format!("{TOKENS}[async]\nattempts = 1\n"), functions.path());
    let done = asynchronous(&gateway, "m", "add", "[1]");
    let dead: Vec<String> = ["fails", "gone"].map(|name| asynchronous(&gateway, "m", name, "[]")).into();
    for location in dead.iter().chain([&done]) {
        ended(&gateway, location);
    }
    let counts = || ask(&gateway, "Bearer look", "/api/overview").json()["deployments"][0]["async"].clone();
    wait_for("the dead calls in the overview", || {
        (counts() == json!({"queued": 0, "running": 0, "dead": 2})).then_some(())
    });
    // Only who may change calls sees their ids: an id is enough to take a call back.
    let listed = |token: &str, query: &str| {
        let answer = ask(&gateway, token, &format!("/api/calls?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let calls: Vec<Value> = answer.json()["calls"].as_array().unwrap().clone();
        calls.into_iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let id_of = |location: &str| location.rsplit('/').next().unwrap().to_owned();
    assert_eq!(listed(ADMIN, "function=gone"), [id_of(&dead[1])]);
    assert_eq!(listed("Bearer look", "function=gone"), [format!("{}…", &id_of(&dead[1])[..8])]);
    assert!(listed(ADMIN, "function=none").is_empty());
    assert_eq!(ask(&gateway, "Bearer others", "/api/calls").code(), "forbidden");
    // What a call is made of: never its arguments.
    let request = format!("{}/request", dead[1]);
    let made_of = ask(&gateway, ADMIN, &request).json();
    assert_eq!(made_of, json!({"request_id": "asked-for", "arguments_bytes": 2, "passed": []}));
    assert_eq!(ask(&gateway, ADMIN, &format!("{done}/request")).code(), "call_not_found", "it is done");
    assert_eq!((gateway.get(&request).status, ask(&gateway, "Bearer others", &request).status), (401, 403));
    // Those of one function are queued again and removed.
    for (path, body, code) in [
        ("/api/calls/purge", "function=gone", "invalid_json"),
        ("/api/calls/purge", r#"{"functions":"gone"}"#, "invalid_json"),
        ("/api/calls/purge?deployment=m", r#"{"deployment":"n"}"#, "bad_request"),
        ("/api/calls/redrive", r#"{"state":"done"}"#, "bad_request"),
    ] {
        let refused = gateway.post(path, &[("authorization", ADMIN), ("content-type", "application/json")], body);
        assert_eq!((refused.status, refused.code()), (400, code), "{path} {body}");
    }
    assert_eq!(change(&gateway, "/api/calls/redrive", r#"{"function":"gone"}"#), 1);
    assert_eq!(ended(&gateway, &dead[1])["tries"], 2);
    assert_eq!(change(&gateway, "/api/calls/purge?deployment=m", r#"{"function":"gone","state":"dead"}"#), 1);
    assert_eq!((gateway.get(&dead[1]).status, gateway.get(&dead[0]).status), (404, 200));
    wait_for("the one that is left", || (counts()["dead"] == 1).then_some(()));
}

fn run(arguments: &[&str]) -> String {
    let output = metagate().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn config(deployment: &Path, deploy: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n[async]\nbackoff = \"10ms\"\n\
         {deploy}[[deployment]]\nname = \"own\"\npath = {deployment:?}\nasync = {{ attempts = 3 }}\n"
    )
}

#[test]
fn deployments_over_the_api_have_limits_of_asynchronous_calls_of_their_own() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagate.toml");
    let deploy = |attempts: u32| config(functions.path(), &format!("[deploy.async]\nattempts = {attempts}\n"));
    std::fs::write(&file, deploy(2)).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    let url = gateway.url("");
    run(&["deploy", "--name", "sent", "--url", &url, functions.path().to_str().unwrap()]);
    let tries = |deployment: &str| ended(&gateway, &asynchronous(&gateway, deployment, "fails", "[]"))["tries"].clone();
    assert_eq!((tries("sent"), tries("own")), (json!(2), json!(3)));
    let shown = run(&["inspect", "sent", "--url", &url]);
    assert!(shown.contains("  async attempts 2 ([deploy.async])\n"), "{shown}");
    let explained = run(&["explain", "-c", file.to_str().unwrap(), "own"]);
    let line = "  async        attempts 3 ([deployment.async]); enabled true, backoff 10ms, max_backoff 300s, \
                max_age 1d, keep 1d, keep_dead 7d, concurrency 16, rate none ([async])\n";
    assert!(explained.contains(line), "{explained}");
    // A reload replaces them, without a restart.
    std::fs::write(&file, deploy(1)).unwrap();
    wait_for("the reload", || run(&["inspect", "sent", "--url", &url]).contains("async attempts 1").then_some(()));
    assert_eq!(tries("sent"), json!(1));
    assert!(!gateway.log().contains("need a restart"), "{}", gateway.log());
}

#[test]
fn a_document_has_no_asynchronous_calls_where_there_are_none() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let table = format!("[[deployment]]\nname = \"py\"\npath = {:?}\n", functions.path());
    let gateway = Gateway::ready(&format!("{table}async = {{ enabled = false }}\n"));
    let document = document(&gateway, "py");
    assert_valid(&gateway, &document);
    let add = &document["paths"]["/local/py/v1/call/add"]["post"];
    assert_eq!(add["responses"].get("202"), None);
    assert_eq!(add["parameters"], json!([{"$ref": "#/components/parameters/IdempotencyKey"}]));
}

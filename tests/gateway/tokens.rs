//! `[admin] tokens`: each holder may do what its token is for, and nothing else.

use std::fs;
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use crate::faulty::assert_error;
use crate::support::{Answer, Gateway, fixture, metagate, wait_for};

/// The SHA-256 of `a-token-for-shops-that-is-long-enough`.
const SHOPS_SHA256: &str = "1edf0fffe1eb20dc749dfed1af257d615abed95ba4e0f051fc1a260a984329e9";
const SHOPS: &str = "a-token-for-shops-that-is-long-enough";

fn gateway() -> Gateway {
    Gateway::ready(&format!(
        "[admin]\ntoken = \"everything\"\n\
         tokens = [\n    {{ name = \"prometheus\", token = \"figures\", may = [\"metrics\"] }},\n    \
         {{ name = \"shops\", sha256 = {SHOPS_SHA256:?}, may = [\"deploy:shop-*\"] }},\n    \
         {{ name = \"looker\", token = \"look\", may = [\"read\"] }},\n]\n\
         [[deployment]]\nname = \"it\"\npath = {:?}\n",
        fixture("echo-node")
    ))
}

fn get(gateway: &Gateway, path: &str, token: &str) -> Answer {
    gateway.get_with(path, &[("authorization", &format!("Bearer {token}"))])
}

fn post(gateway: &Gateway, path: &str, token: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    gateway.post(path, &[("authorization", &authorization), ("content-type", "application/json")], body)
}

#[test]
fn a_token_is_for_what_it_may_and_nothing_else() {
    let gateway = gateway();
    let statuses = |path: &str| ["everything", "figures", SHOPS, "look"].map(|token| get(&gateway, path, token).status);
    assert_eq!(statuses("/metrics"), [200, 200, 403, 200]);
    assert_eq!(statuses("/api/inspect"), [200, 403, 200, 200]);
    assert_eq!(statuses("/api/plugins"), [200, 403, 403, 200]);
    assert_eq!(statuses("/api/logs/it"), [200, 403, 403, 200]);
    assert_eq!(statuses("/api/logs/shop-1"), [404, 403, 404, 404]);
    assert_eq!(statuses("/validate"), [200, 403, 200, 200]);
    let posted = |path: &str, body: &str| {
        ["everything", "figures", SHOPS, "look"].map(|token| post(&gateway, path, token, body).status)
    };
    assert_eq!(posted("/api/reload", ""), [200, 403, 403, 403]);
    assert_eq!(posted("/api/deploy/delete", "{\"suffix\":\"shop-1\"}"), [404, 403, 404, 403]);
    assert_eq!(posted("/api/deploy/delete", "{\"suffix\":\"other\"}"), [404, 403, 403, 403]);
    assert_eq!(posted("/api/deploy/create", "{\"suffix\":\"other\"}"), [400, 403, 403, 403]);
    assert_eq!(posted("/api/rollback/other", ""), [404, 403, 403, 403]);
    // The names are compared as the handlers read them.
    assert_eq!(posted("/api/rollback/%73hop-1", ""), [404, 403, 404, 403]);
    assert_eq!(posted("/api/rollback/shop%2D1", ""), [404, 403, 404, 403]);
    assert_eq!(posted("/api/deploy/logs", "{\"suffix\":\"it\"}"), [200, 403, 403, 200]);
    assert_eq!(get(&gateway, "/api/inspect", SHOPS).body, "[]", "it sees its own deployments");
    let refused = get(&gateway, "/api/inspect", "figures");
    assert_error(&refused, 403, "forbidden");
    assert_eq!(
        refused.message(),
        "the token \"prometheus\" may \"metrics\"; this needs \"read\", \"deploy:<name>\" or \"admin\""
    );
    assert_error(&get(&gateway, "/metrics", SHOPS_SHA256), 401, "unauthorized");
    let details = |token| get(&gateway, "/readyz", token).json()["deployments"].is_array();
    assert_eq!(["everything", "look"].map(details), [true; 2]);
}

fn deploy(gateway: &Gateway, name: &str, token: &str) -> Output {
    let folder = fixture("echo-node");
    let mut command = metagate();
    command.arg("deploy").arg(folder).args(["--name", name, "--url", &gateway.url(""), "--token", token]);
    command.output().unwrap()
}

#[test]
fn a_token_for_some_deployments_deploys_these_alone() {
    let gateway = gateway();
    let done = deploy(&gateway, "shop-1", SHOPS);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(gateway.call("shop-1", "args", "[1]").status, 200);
    assert_eq!(get(&gateway, "/api/inspect", SHOPS).json().as_array().unwrap().len(), 1);
    for (name, token) in [("other", SHOPS), ("shop-2", "look"), ("shop-2", "figures")] {
        let refused = deploy(&gateway, name, token);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains("the token"), "{name} {token}: {words}");
        assert_eq!(gateway.call(name, "args", "[1]").status, 404, "{name}");
    }
}

/// The faults that `check` finds in these tokens.
fn faults(tokens: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagate.toml");
    fs::write(&file, format!("[admin]\ntokens = {tokens}\n")).unwrap();
    let checked = metagate().arg("check").arg(&file).output().unwrap();
    String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout)
}

#[test]
fn faults_of_tokens_stand_at_their_row_and_do_not_hide_behind_others() {
    let told =
        faults("[\n{ name = \"a\", may = [\"read\"] },\n{ name = \"b\", token = \"\", may = [\"read\"] },\n]\nx = 1");
    for fault in [":3:1: \"a\" has neither", ":4:23: the token of \"b\" is empty", ":6:1: unknown key"] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
}

#[test]
fn the_names_of_schemes_are_case_insensitive() {
    let gateway = Gateway::ready("[admin]\ntoken = \"everything\"\n");
    for (value, status) in
        [("bearer everything", 200), ("JWT everything", 200), ("everything", 401), ("Basic everything", 401)]
    {
        assert_eq!(gateway.get_with("/api/inspect", &[("authorization", value)]).status, status, "{value}");
    }
}

#[test]
fn faults_of_tokens_are_told_without_the_token() {
    for (tokens, fault) in [
        ("[{ name = \"a\", token = \"s3cret\" }]", "needs \"may\""),
        ("[{ name = \"a\", token = \"s3cret\", may = [] }]", "\"may\": the list is empty"),
        ("[{ name = \"a\", may = [\"read\"] }]", "neither \"token\" nor \"sha256\""),
        ("[{ name = \"\", token = \"s3cret\", may = [\"read\"] }]", "\"\" is no name of a token"),
        ("[{ name = \"token\", token = \"s3cret\", may = [\"read\"] }]", "it is that of \"token\""),
        ("[{ name = \"a\", token = \"s3cret\", may = [\"write\"] }]", "\"write\" is not \"read\""),
        ("[{ name = \"a\", token = \"s3cret\", may = [\"deploy\"] }]", "\"deploy\" is not \"read\""),
        ("[{ name = \"a\", token = \"\", may = [\"read\"] }]", "the token of \"a\" is empty"),
        ("[\"s3cret\"]", "takes a table, not text"),
        ("[{ name = \"a\", sha256 = \"s3cret\", may = [\"read\"] }]", "\"sha256\" takes a SHA-256"),
        ("[{ name = \"local\", token = \"s3cret\", may = [\"read\"] }]", "it is for callers who need none"),
        (
            "[{ name = \"a\", token = \"s3cret\", may = [\"read\"] }, \
             { name = \"b\", token = \"s3cret\", may = [\"admin\"] }]",
            "the tokens of \"a\" and \"b\" are the same",
        ),
    ] {
        let told = faults(tokens);
        assert!(told.contains(fault) && !told.contains("s3cret"), "{tokens}: {told}");
    }
}

#[test]
fn changes_are_in_the_audit_log_with_who_asked_for_what() {
    let text = format!(
        "[admin]\naudit_log = \"audit.log\"\ntoken = \"everything\"\n\
         tokens = [{{ name = \"shops\", sha256 = {SHOPS_SHA256:?}, may = [\"deploy:shop-*\"] }}]\n"
    );
    let gateway = Gateway::ready(&text);
    assert!(deploy(&gateway, "shop-1", SHOPS).status.success());
    assert!(!deploy(&gateway, "other", SHOPS).status.success());
    let headers = [("authorization", "Bearer everything"), ("x-request-id", "mine")];
    assert_eq!(gateway.post("/api/deploy/delete", &headers, "{\"suffix\":\"shop-1\"}").status, 200);
    assert_eq!(post(&gateway, "/api/reload", "wrong", "").status, 401);
    get(&gateway, "/api/inspect", "everything");
    gateway.signal(Signal::HUP);
    let file = gateway.folder.path().join("audit.log");
    let lines: Vec<Value> = wait_for("the reload", || {
        let text = fs::read_to_string(&file).unwrap();
        text.contains("SIGHUP").then(|| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    });
    let told = |line: &Value| {
        ["who", "what", "deployment", "outcome"].map(|key| line[key].as_str().unwrap_or_default().to_owned()).join(" ")
    };
    let told: Vec<String> = lines.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "shops POST /api/package/create shop-1 201",
            "shops POST /api/deploy/create shop-1 200",
            "shops POST /api/package/create other 403",
            "token POST /api/deploy/delete shop-1 200",
            "SIGHUP reload  ok",
        ]
    );
    assert_eq!((&lines[3]["from"], &lines[3]["request_id"]), (&"127.0.0.1".into(), &"mine".into()));
    let log = gateway.log();
    assert!(log.contains("audit") && log.contains("who=\"shops\"") && !log.contains("everything"), "{log}");
    let metrics = get(&gateway, "/metrics", "everything").body;
    for (change, outcome) in [("deploy", "ok"), ("delete", "ok"), ("reload", "ok")] {
        let line = format!("metagate_changes_total{{change=\"{change}\",outcome=\"{outcome}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

//! What the dashboard shows of plugins, chains and wiring, and calls through the admin API.

use std::path::Path;

use serde_json::{Value, json};

use crate::dashboard::browse;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, asked as asked_by_header, call_do, deployment, table};
use crate::readme::repository;
use crate::support::{Answer, Gateway, fixture, metagate, wait_for};
use crate::wire::{Wire, assert_refused, own_address, request};

const TOKENS: &str = "token = \"everything\"\ntokens = [\
                      { name = \"looker\", token = \"look\", may = [\"read\"] }, \
                      { name = \"maths\", token = \"maths\", may = [\"deploy:math\"] }, \
                      { name = \"shops\", token = \"shops\", may = [\"deploy:shop-*\"] }]\n";

const BUILT: &str = "tests/fixtures/plugins-0.1.0";

/// A gateway whose admin API has the address `admin`, with the deployment `math` behind a plugin that wants a key,
/// `cached` behind one that keeps results, and `it` behind one that traps when it is asked to.
fn apart(admin: &str) -> (Gateway, Files) {
    let files = Files::new();
    let trapper = Plugin::new().before_invoke(|c| {
        let asked = asked_by_header(c);
        asked.on(c, 'u', |c| c.raw("(unreachable)"));
    });
    let built = |name: &str| repository().join(BUILT).join(name);
    let keys = "deployments = [\"math\"]\nconfig.keys = { alice = \"k-alice-1\" }";
    let keeps = "deployments = [\"cached\"]\nfunctions = [\"sum\"]\ngrants.store = true\nconfig.ttl = \"1h\"";
    let folder = fixture("dashboard");
    let gateway = Gateway::ready(&format!(
        "[admin]\nlisten = {admin:?}\n{TOKENS}{}{}{}{}[[deployment]]\nname = \"math\"\npath = {folder:?}\n\
         env = {{ GREETING = \"hello-from-the-configuration\", ACCENT = \"none\" }}\n\
         [[deployment]]\nname = \"cached\"\npath = {folder:?}\nworkers = 2\n\
         [[route]]\npath = \"/sums/{{a}}\"\nto = \"math/sum\"\n[[route]]\npath = \"/cached\"\nto = \"cached/sum\"\n",
        table("api-key", &built("api-key.wasm"), keys),
        table("cache", &built("cache.wasm"), keeps),
        table("trapper", &files.put("trapper.wasm", trapper.component()), "deployments = [\"it\"]"),
        deployment("it"),
    ));
    (gateway, files)
}

fn asked(admin: &str, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    Wire::to(admin).send(request(method, path, &headers, body)).answer()
}

fn invoke(admin: &str, function: &str, body: &Value) -> Value {
    let answer = asked(admin, "everything", "POST", &format!("/api/invoke/math/{function}"), &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

const KEY: [&str; 2] = ["x-api-key", "k-alice-1"];

#[test]
fn a_call_through_the_admin_api_is_the_call_of_the_functions_own_address() {
    let admin = own_address(9011);
    let (gateway, _files) = apart(&admin);
    let called = invoke(&admin, "sum", &json!({ "body": "[1, 2]", "headers": [KEY, ["x-request-id", "mine"]] }));
    assert_eq!((&called["status"], &called["body"], &called["complete"]), (&json!(200), &json!("3"), &json!(true)));
    assert_eq!((&called["encoding"], &called["request_id"]), (&json!("utf-8"), &json!("mine")));
    assert!(called["headers"].as_array().unwrap().contains(&json!(["content-type", "application/json"])), "{called}");
    // What the plugin and the gateway refuse has the same status and body as at the function's address.
    for (function, body, key) in [("sum", "[1, 2]", false), ("sum", "{", true), ("none", "[]", true)] {
        let headers = if key { json!([KEY]) } else { json!([]) };
        let through = invoke(&admin, function, &json!({ "body": body, "headers": headers }));
        let sent: &[(&str, &str)] = if key { &[("x-api-key", "k-alice-1")] } else { &[] };
        let path = format!("/local/math/v1/call/{function}");
        let direct = gateway.post(&path, &[&[("content-type", "application/json")], sent].concat(), body);
        let error = |text: &str| serde_json::from_str::<Value>(text).unwrap()["error"]["code"].clone();
        assert_eq!(through["status"], direct.status, "{function}: {through}");
        assert_eq!(error(through["body"].as_str().unwrap()), error(&direct.body), "{function}");
    }
    assert_eq!(invoke(&admin, "sum", &json!({ "headers": [KEY] }))["status"], gateway_status_of_nothing(&gateway));
    let metrics = asked(&admin, "everything", "GET", "/metrics", "").body;
    assert!(metrics.contains("metagate_calls_total{deployment=\"math\",function=\"sum\""), "it counts: {metrics}");
}

/// The status of a call of `sum` without a body.
fn gateway_status_of_nothing(gateway: &Gateway) -> u16 {
    gateway.post("/local/math/v1/call/sum", &[("x-api-key", "k-alice-1")], "").status
}

#[test]
fn a_call_through_the_admin_api_needs_the_right_to_change_the_deployment() {
    let admin = own_address(9012);
    let (_gateway, _files) = apart(&admin);
    let body = json!({ "body": "[1, 2]", "headers": [KEY] }).to_string();
    for (token, status) in [("everything", 200), ("maths", 200), ("look", 403), ("shops", 403), ("wrong", 401)] {
        assert_eq!(asked(&admin, token, "POST", "/api/invoke/math/sum", &body).status, status, "{token}");
    }
    for (path, body) in [
        ("/api/invoke/math/sum", r#"{"headers": [["host", "elsewhere"]]}"#),
        ("/api/invoke/math/sum", r#"{"headers": [["x-forwarded-for", "192.0.2.1"]]}"#),
        ("/api/invoke/math/sum", r#"{"headers": [["X-Client-Subject", "CN=root"]]}"#),
        ("/api/invoke/math/sum", r#"{"headers": [["a b", "c"]]}"#),
        ("/api/invoke/math/sum", r#"{"headers": [["a", "b\nc: d"]]}"#),
    ] {
        assert_refused(&asked(&admin, "everything", "POST", path, body), 400, "bad_request");
    }
    assert_refused(&asked(&admin, "everything", "POST", "/api/invoke/math/sum", r#"{"x": 1}"#), 400, "invalid_json");
    assert_refused(&asked(&admin, "everything", "GET", "/api/invoke/math/sum", ""), 405, "method_not_allowed");
    let page = [("authorization", "Bearer everything"), ("origin", "http://page.example")];
    let answer = Wire::to(&admin).send(request("POST", "/api/invoke/math/sum", &page, body_of_nothing())).answer();
    assert_refused(&answer, 403, "forbidden");
    let nowhere = asked(&admin, "everything", "POST", "/api/invoke/none/sum", "{}").json();
    assert_eq!(
        (&nowhere["status"], nowhere["body"].as_str().unwrap().contains("deployment_not_found")),
        (&json!(404), true)
    );
}

fn body_of_nothing() -> String {
    "{}".to_owned()
}

#[test]
fn a_deployment_shows_the_cost_of_its_plugins_and_the_names_of_its_variables() {
    let admin = own_address(9013);
    let (gateway, _files) = apart(&admin);
    for key in ["k-alice-1", "wrong", "k-alice-1"] {
        gateway.post("/local/math/v1/call/sum", &[("x-api-key", key), ("content-type", "application/json")], "[1, 2]");
    }
    for token in ["everything", "look", "maths"] {
        let answer = asked(&admin, token, "GET", "/api/chain/math", "");
        assert!(!answer.body.contains("hello-from") && !answer.body.contains("k-alice"), "{}", answer.body);
        let chain = answer.json();
        assert_eq!(chain["variables"], json!(["ACCENT", "GREETING"]), "{chain}");
        assert_eq!((&chain["calls"]["count"], &chain["calls_here"]), (&json!(3), &json!(false)), "{chain}");
        let plugin = &chain["plugins"][0];
        assert_eq!((&plugin["name"], &plugin["status"]), (&json!("api-key"), &json!("ready")), "{chain}");
        let hook = &plugin["hooks"][0];
        let figures = (&hook["hook"], &hook["on_error"], &hook["count"], &hook["share"]);
        assert_eq!(figures, (&json!("before-invoke"), &json!("reject"), &json!(3), &json!(1.0)), "{chain}");
        assert!(hook["mean_microseconds"].as_f64() > Some(0.0), "{chain}");
    }
    assert_refused(&asked(&admin, "shops", "GET", "/api/chain/math", ""), 403, "forbidden");
    assert_refused(&asked(&admin, "look", "GET", "/api/chain/none", ""), 404, "deployment_not_found");
}

#[test]
fn the_wiring_shows_what_leads_to_the_deployments_that_a_caller_may_see() {
    let admin = own_address(9015);
    let (_gateway, _files) = apart(&admin);
    let wiring = |token: &str, query: &str| asked(&admin, token, "GET", &format!("/api/wiring{query}"), "").json();
    let names = |wiring: &Value| -> Vec<String> {
        wiring["lanes"].as_array().unwrap().iter().map(|lane| lane["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = wait_for("two workers", || Some(wiring("look", "")).filter(|all| all["lanes"][0]["ready"] == 2));
    assert_eq!((names(&all), &all["prefix"]), (vec!["cached".into(), "it".into(), "math".into()], &json!("local")));
    let [cached, it, math] = &all["lanes"].as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!(math["routes"], json!([{ "path": "/sums/{a}", "function": "sum" }]));
    assert_eq!(math["plugins"], json!([{ "name": "api-key", "status": "ready", "partly": false }]));
    assert_eq!(cached["plugins"], json!([{ "name": "cache", "status": "ready", "partly": true }]));
    assert_eq!((&cached["ready"], &cached["workers"], &it["routes"]), (&json!(2), &json!(2), &json!([])));
    for (query, found) in [
        ("?filter=MAT", vec!["math"]),
        ("?filter=sums", vec!["math"]),
        ("?filter=trap", vec!["it"]),
        ("?filter=no", vec![]),
    ] {
        assert_eq!(names(&wiring("look", query)), found, "{query}");
    }
    let first = wiring("look", "?first=1");
    assert_eq!((names(&first), &first["matching"]), (vec!["cached".to_owned()], &json!(3)));
    assert_eq!(names(&wiring("maths", "")), ["math"], "it sees its own deployments");
    assert_refused(&asked(&admin, "look", "GET", "/api/wiring?first=all", ""), 400, "bad_request");
}

fn plugin(admin: &str, token: &str, name: &str) -> Value {
    let answer = asked(admin, token, "GET", "/api/plugins", "");
    assert!(!answer.body.contains("k-alice"), "no values: {}", answer.body);
    let all = answer.json();
    all.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

#[test]
fn a_plugin_shows_its_settings_and_its_last_failures_and_no_value_of_its_configuration() {
    let admin = own_address(9016);
    let (gateway, _files) = apart(&admin);
    let shown = plugin(&admin, "look", "api-key");
    assert_eq!((&shown["config_keys"], &shown["last_errors"]), (&json!(["keys"]), &json!([])), "{shown}");
    assert_eq!((&shown["settings"]["deployments"], &shown["settings"]["timeout"]), (&json!(["math"]), &json!("50ms")));
    assert_eq!(plugin(&admin, "look", "cache")["grants"], json!(["store"]));
    while plugin(&admin, "look", "trapper")["breaker_refusals"] == 0 {
        call_do(&gateway, "unreachable");
    }
    let shown = plugin(&admin, "everything", "trapper");
    let [refused, trapped] = &shown["last_errors"].as_array().unwrap()[..] else { panic!("{shown}") };
    assert_eq!((&trapped["kind"], &refused["kind"]), (&json!("trap"), &json!("breaker_open")), "{shown}");
    assert_eq!((&trapped["deployment"], &trapped["function"]), (&json!("it"), &json!("args")), "{shown}");
    assert!(trapped["message"].as_str().unwrap().contains("unreachable"), "{shown}");
    assert!(trapped["count"].as_u64() > Some(1) && trapped["first"].as_str() <= trapped["last"].as_str(), "{shown}");
    let hook = &shown["hook_figures"][0];
    assert_eq!((&hook["hook"], &hook["failures"]["trap"]), (&json!("before-invoke"), &trapped["count"]), "{shown}");
}

#[test]
fn recorded_calls_are_the_cases_of_plugin_test_and_run_again_in_a_world_of_their_own() {
    let admin = own_address(9017);
    let (gateway, files) = apart(&admin);
    let base = "/api/plugins/cache/recording";
    let ask =
        |method: &str, path: &str, body: &str| asked(&admin, "everything", method, &format!("{base}{path}"), body);
    assert_eq!(ask("GET", "", "").json(), json!({ "state": null, "cases": [] }));
    assert_refused(&ask("POST", "/replay", "{}"), 404, "not_found");
    assert_refused(&ask("GET", "/cases", ""), 404, "not_found");
    assert_eq!(gateway.call("cached", "sum", "[1, 1]").body, "2", "not recorded");
    let started = ask("POST", "", r#"{"cases": 3, "seconds": 600}"#).json();
    assert_eq!((&started["recorded"], &started["ended"], &started["max_cases"]), (&json!(0), &Value::Null, &json!(3)));
    // The second call is answered from what was kept of the first; the third comes after the recording.
    for _ in 0..3 {
        assert_eq!(gateway.call("cached", "sum", "[20, 22]").body, "42");
    }
    let shown = ask("GET", "", "").json();
    assert_eq!(shown["state"]["ended"], "cases", "{shown}");
    let verdicts: Vec<&str> =
        shown["cases"].as_array().unwrap().iter().map(|c| c["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["proceed", "done", "respond"], "{shown}");

    let file = ask("GET", "/cases", "");
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"cache.jsonl\""));
    let cases = files.put("cases.jsonl", &file.body);
    let config = files.put("config.toml", "config.ttl = \"1h\"\n");
    let component = repository().join(BUILT).join("cache.wasm");
    let mut test = metagate();
    let ran = test.args(["plugin", "test"]).args([&component, &cases]).arg("--config").arg(&config).output().unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));

    let all = ask("POST", "/replay", "").json();
    let passed = all["results"].as_array().unwrap().iter().filter(|one| one["ok"] == true).count();
    assert_eq!((passed, &all["complete"]), (3, &json!(true)), "{all}");
    let alone = ask("POST", "/replay", r#"{"case": 2}"#).json();
    let difference = &alone["results"][0]["differences"][0];
    assert_eq!((&difference["what"], &difference["expected"]), (&json!("verdict"), &json!("respond")), "{alone}");
    assert_refused(&ask("POST", "/replay", r#"{"case": 3}"#), 404, "not_found");
    assert_eq!(plugin(&admin, "look", "cache")["hook_figures"][0]["count"], 4, "replays are not hook calls");

    assert_eq!(ask("DELETE", "", "").json()["discarded"], true);
    assert_eq!(ask("GET", "", "").json()["state"], Value::Null);
}

#[test]
fn recordings_are_bounded_and_for_administrators() {
    let admin = own_address(9018);
    let (gateway, _files) = apart(&admin);
    let base = "/api/plugins/api-key/recording";
    for (method, path) in
        [("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/stop"), ("GET", "/cases"), ("POST", "/replay")]
    {
        for (token, status) in [("look", 403), ("maths", 403), ("wrong", 401)] {
            assert_eq!(asked(&admin, token, method, &format!("{base}{path}"), "").status, status, "{method} {path}");
        }
    }
    let ask =
        |method: &str, path: &str, body: &str| asked(&admin, "everything", method, &format!("{base}{path}"), body);
    for body in [r#"{"cases": 0}"#, r#"{"cases": 1001}"#, r#"{"bytes": 4194305}"#, r#"{"seconds": 3601}"#] {
        assert_refused(&ask("POST", "", body), 400, "bad_request");
    }
    assert_refused(&ask("POST", "", r#"{"case": 1}"#), 400, "invalid_json");
    assert_refused(&asked(&admin, "everything", "POST", "/api/plugins/none/recording", ""), 404, "not_found");
    assert_eq!(ask("POST", "", r#"{"bytes": 2000}"#).status, 200);
    let call = |body: &str| gateway.post("/local/math/v1/call/say", &[("x-api-key", "k-alice-1")], body).status;
    assert_eq!((call("[\"x\"]"), call(&format!("[{:?}]", "y".repeat(3000)))), (200, 200));
    let state = ask("GET", "", "").json()["state"].clone();
    assert_eq!((&state["recorded"], &state["ended"]), (&json!(1), &json!("bytes")), "{state}");
    assert_eq!(ask("POST", "/stop", "").json()["ended"], "bytes");
    assert_eq!(ask("POST", "/replay", "").json()["results"][0]["ok"], true);
    let audit = gateway.log();
    assert!(!audit.contains("k-alice-1"), "{audit}");
}

#[test]
fn the_dashboard_of_an_admin_listener_is_used_in_a_browser() {
    let admin = own_address(9014);
    let (gateway, _files) = apart(&admin);
    while plugin(&admin, "look", "trapper")["breaker_refusals"] == 0 {
        call_do(&gateway, "unreachable");
    }
    browse("apart.mjs", &format!("http://{admin}"), &[] as &[&Path]);
}

//! The example plugins, as drop-ins: each answers in a process of its own as it does in the gateway.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::plugins::{Files, deployment};
use crate::support::Gateway;

/// The plugins in the order of their chain, and their settings.
const PLUGINS: [(&str, &str); 6] = [
    ("policy-on-load", "config = { hide_functions = [\"size\"], env = { REGION = \"eu\" } }"),
    ("api-key", "config = { keys = { alice = \"alice-key\" } }"),
    ("rate-limit", "grants = { store = true }\nconfig = { limit = 12, window = \"60s\", by = \"caller\" }"),
    (
        "transform-args",
        "hooks = [\"before-invoke\"]\n[[config.rules]]\nfunction = \"f\"\nnames = [\"b\", \"a\"]\n\
         coerce = { b = \"integer\" }\ndefaults = { a = 1 }\nschema_of = \"named\"\n\
         schema = { properties = { b = { minimum = 0 } } }",
    ),
    ("cache", "grants = { store = true }\nconfig = { ttl = \"60s\", functions = [\"run\"] }"),
    ("shape-result", "config = { envelope = \"data\", redact = [\"a\"] }"),
];

/// Function, arguments and key of each call.
const CALLS: [(&str, &str, &str); 15] = [
    ("args", "[1]", ""),
    ("args", "[1]", "wrong"),
    ("args", "[\"a\", {\"b\": null}]", "alice-key"),
    ("f", "[\"7\"]", "alice-key"),
    ("f", "[\"x\"]", "alice-key"),
    ("f", "[-1, 2]", "alice-key"),
    ("run", "[]", "alice-key"),
    ("run", "[]", "alice-key"),
    ("runs", "[]", "alice-key"),
    ("size", "[\"abc\"]", "alice-key"),
    ("large", "[100000]", "alice-key"),
    ("say", "[]", "alice-key"),
    ("none", "[]", "alice-key"),
    ("args", "[3]", "alice-key"),
    ("args", "[4]", "alice-key"),
];

/// Status, headers and body.
type Answered = (u16, Vec<(String, String)>, Value);

/// The answers to all calls, without what differs from request to request.
fn answers(isolation: &str) -> Vec<Answered> {
    let files = Files::new();
    for (at, (name, settings)) in PLUGINS.into_iter().enumerate() {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/{name}/{name}.wasm"));
        fs::copy(built, files.path().join(format!("{at}-{name}.wasm"))).unwrap();
        files.put(&format!("{at}-{name}.toml"), format!("isolation = {isolation:?}\n{settings}\n"));
    }
    let gateway = Gateway::ready(&format!("[plugins]\ndir = {:?}\n{}", files.path(), deployment("it")));
    let call = |(function, arguments, key): (&str, &str, &str)| {
        let headers = [("content-type", "application/json"), ("x-api-key", key)];
        let answer = gateway.post(&format!("/local/it/v1/call/{function}"), &headers, arguments);
        let mut body = serde_json::from_str(&answer.body).unwrap_or(Value::from(answer.body.clone()));
        if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
            error.remove("request_id");
        }
        let ignored = ["date", "x-request-id", "content-length", "age", "retry-after"];
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| !ignored.contains(&name.as_str()));
        headers.sort();
        (answer.status, headers, body)
    };
    CALLS.map(call).to_vec()
}

#[test]
fn the_example_plugins_answer_alike_in_processes_of_their_own() {
    let (here, apart) = (answers("none"), answers("process"));
    let statuses: Vec<u16> = here.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [401, 401, 200, 200, 422, 422, 200, 200, 200, 404, 200, 200, 404, 200, 429]);
    for (call, (here, apart)) in CALLS.iter().zip(here.into_iter().zip(apart)) {
        assert_eq!(here, apart, "{call:?}");
    }
}

//! What functions and plugins see of asynchronous calls.

use serde_json::{Value, json};

use crate::async_calls::{accepted, ended, gateway_with};
use crate::exports::folder;
use crate::plugins::chains::context;
use crate::plugins::component::Plugin;
use crate::plugins::with_plugin;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_function_reads_its_own_call() {
    let reads = "
import json
import urllib.request

import metagate


def reads(address: str):
    own = metagate.request().context['async']
    with urllib.request.urlopen(f\"{address}/api/calls/{own['id']}\") as answer:
        return {'own': own, 'call': json.load(answer)}
";
    let functions = folder(&[("main.py", reads)]);
    let gateway = gateway_with("", functions.path());
    let body = json!([gateway.url("")]).to_string();
    let done = ended(&gateway, &accepted(&gateway.post("/local/m/v1/async/reads", &[JSON], body)));
    let (own, call) = (&done["result"]["own"], &done["result"]["call"]);
    assert_eq!((&own["id"], &own["try"]), (&done["id"], &json!(1)), "{done}");
    assert_eq!((&call["id"], &call["state"], &call["tries"]), (&done["id"], &json!("running"), &json!(1)), "{done}");
}

#[test]
fn plugins_see_which_try_of_which_call_it_is() {
    let plugin = Plugin::new()
        .before_invoke(|c| {
            let seen = context(c, "function.async");
            c.set_header("invocation", "x-accepted", &seen);
        })
        .after_invoke(|c| {
            let seen = context(c, "function.async");
            c.set_header("outcome", "x-tried", &seen);
            let name = c.text("x-accepted");
            let before = c.call("invocation", "header", name);
            let before = c.or_empty(before);
            c.set_header("outcome", "x-accepted", &before);
        });
    let (gateway, _files) = with_plugin("", plugin, "");
    let location = accepted(&gateway.post("/local/it/v1/async/args", &[JSON], "[1]"));
    let done = ended(&gateway, &location);
    let result = gateway.get(&format!("{location}/result"));
    assert_eq!(result.header("cache-control"), Some("no-store"));
    let seen = |name: &str| serde_json::from_str::<Value>(result.header(name).unwrap()).unwrap();
    assert_eq!(seen("x-accepted"), json!({"id": done["id"], "try": 0}), "{result:?}");
    assert_eq!(seen("x-tried"), json!({"id": done["id"], "try": 1}), "{result:?}");
    let plain = gateway.post("/local/it/v1/call/args", &[JSON], "[1]");
    assert_eq!((plain.header("x-accepted"), plain.header("x-tried")), (Some(""), Some("")));
}

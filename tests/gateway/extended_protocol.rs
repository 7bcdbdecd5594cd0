//! metagate's additions to the worker protocol, with a worker that uses them: names and timeout of a call, aliases of
//! functions, errors of arguments and payloads of errors.

use std::fs;

use serde_json::{Value, json};

use crate::faulty::{assert_error, python};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::{Files, table};
use crate::support::{Answer, Gateway, fixture, metagate};
use crate::wire::{self, Wire, assert_refused};

/// The deployment `x` with the worker and variables of its environment.
pub(crate) fn extended(env: &[(&str, &str)]) -> String {
    let env: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    format!(
        "[[deployment]]\nname = \"x\"\npath = {:?}\nruntime = \"command\"\ncommand = [{:?}, \"-S\", \"worker.py\"]\n\
         env = {{ {} }}\n",
        fixture("worker-extended"),
        python(),
        env.join(", ")
    )
}

/// The members of a call that the worker got, except for its timeout.
fn received(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut members = answer.json();
    let timeout = members.as_object_mut().unwrap().remove("timeout");
    assert!((1..=30_000).contains(&timeout.unwrap().as_u64().unwrap()), "{answer:?}");
    members
}

#[test]
fn a_worker_that_accepts_names_gets_the_keys_of_an_object() {
    let gateway = Gateway::ready(&extended(&[]));
    for (body, args, names) in [
        (r#"{"b":2,"a":1}"#, json!([2, 1]), Some(json!(["b", "a"]))),
        (r#"{"b":2,"7":0,"b":3,"\n":4}"#, json!([0, 3, 4]), Some(json!(["7", "b", "\n"]))),
        ("{}", json!([]), Some(json!([]))),
        ("[2,1]", json!([2, 1]), None),
        ("", json!([]), None),
    ] {
        let mut expected = json!({"name": "told", "args": args});
        if let Some(names) = names {
            expected["names"] = names;
        }
        assert_eq!(received(&gateway.call("x", "told", body)), expected, "{body}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = gateway.post("/local/x/v1/call/told", &form, "b=2&a[]=1");
    assert_eq!(received(&answer), json!({"name": "told", "args": ["2", ["1"]], "names": ["b", "a"], "text": true}));
}

#[test]
fn a_worker_gets_no_members_that_it_does_not_accept() {
    for (accepts, keys) in [("", &["name", "args"][..]), ("names later", &["name", "args", "names"])] {
        let gateway = Gateway::ready(&extended(&[("ACCEPTS", accepts)]));
        let answer = gateway.call("x", "told", r#"{"a":1}"#).json();
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), keys, "{accepts:?}");
    }
}

#[test]
fn names_are_dropped_when_a_plugin_replaces_the_arguments() {
    let plugin = Plugin::new().before_invoke(|c| {
        let arguments = c.text("[7]");
        let set = c.call("invocation", "set-arguments", arguments);
        c.expect_ok(set);
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&(extended(&[]) + &table("p", &file, "functions = [\"told\"]")));
    assert_eq!(received(&gateway.call("x", "told", r#"{"b":2}"#)), json!({"name": "told", "args": [7]}));
    let kept = received(&gateway.call("x", "other", r#"{"b":2}"#));
    assert_eq!(kept, json!({"name": "other", "args": [2], "names": ["b"]}));
}

#[test]
fn a_function_is_called_by_its_other_names_and_sees_its_own() {
    let gateway = Gateway::ready(&extended(&[]));
    for called in ["told", "ops/told", "example:calc/ops@0.1.0/told"] {
        assert_eq!(received(&gateway.call("x", called, "[1]")), json!({"name": "told", "args": [1]}), "{called}");
        let awaited = gateway.get(&format!("/local/x/v1/await/{called}"));
        assert_eq!(received(&awaited)["name"], "told");
    }
    // A name takes precedence over an alias, and an alias that two functions claim is ignored.
    assert_eq!(received(&gateway.call("x", "other", "[]"))["name"], "other");
    for unknown in ["claimed", "ops", "ops/none", "told/ops"] {
        let answer = gateway.call("x", unknown, "[]");
        assert_refused(&answer, 404, "function_not_found");
        assert_eq!(answer.message(), format!("deployment \"x\" has no function {unknown:?}"));
    }
    assert_refused(&gateway.call("x", &format!("{}b", "a/".repeat(16)), "[]"), 404, "not_found");
}

#[test]
fn the_command_line_calls_by_other_names_and_shows_the_value_of_an_error() {
    let gateway = Gateway::ready(&extended(&[]));
    let invoke = |arguments: &[&str]| {
        let mut command = metagate();
        command.args(["invoke", "--url", &gateway.url(""), "x"]).args(arguments).output().unwrap()
    };
    let called = invoke(&["example:calc/ops@0.1.0/told", "1"]);
    assert!(called.status.success(), "{called:?}");
    let failed = invoke(&["fail", r#"{"left":0}"#]);
    let words = String::from_utf8(failed.stderr).unwrap();
    assert!(words.contains("Failure: no room (function_error, status 500)\n{\"left\":0}"), "{words}");
}

/// Refuses with the function's name as the message.
fn naming() -> Plugin {
    Plugin::new().before_invoke(|c| {
        let function = c.call("invocation", "function", "").text();
        c.tell(&function);
    })
}

#[test]
fn another_name_does_not_lead_around_the_plugins_of_a_function() {
    let files = Files::new();
    let file = files.put("p.wasm", naming().component());
    let gateway = Gateway::ready(&(extended(&[]) + &table("p", &file, "functions = [\"told\"]")));
    for called in ["told", "ops/told", "example:calc/ops@0.1.0/told"] {
        assert_eq!(gateway.call("x", called, "[]").message(), "told", "{called}");
    }
    assert_eq!(gateway.call("x", "ops/other", "[]").status, 200);
}

#[test]
fn another_name_does_not_lead_around_the_plugins_before_the_first_load_either() {
    let files = Files::new();
    let file = files.put("p.wasm", naming().component());
    let go = files.path().join("go");
    let deployment = extended(&[("LOAD_WHEN", go.to_str().unwrap())]);
    let gateway = Gateway::start(&(deployment + &table("p", &file, "functions = [\"told\"]")));
    let mut calls: Vec<(Wire, &str)> = ["told", "ops/told", "ops/other", "nosuch"]
        .map(|called| {
            let mut wire = Wire::open(&gateway);
            wire.send(wire::request("POST", &format!("/local/x/v1/call/{called}"), &[], ""));
            (wire, called)
        })
        .into();
    assert_eq!(gateway.readiness("x")["status"], "starting");
    fs::write(&go, "").unwrap();
    for (wire, called) in &mut calls {
        let answer = wire.answer();
        match *called {
            "told" | "ops/told" => assert_eq!(answer.message(), "told", "{called}"),
            "ops/other" => assert_eq!(received(&answer)["name"], "other"),
            _ => assert_refused(&answer, 404, "function_not_found"),
        }
    }
}

#[test]
fn a_function_that_a_plugin_hides_or_renames_loses_its_other_names() {
    let plugin = Plugin::new().after_load(|c: &mut Code| {
        let (told, told_now, fail) = (c.text("told"), c.text("told.now"), c.text("fail"));
        let renamed = c.call("release", "rename", format!("{told} {told_now}"));
        c.expect_ok(renamed);
        c.call("release", "hide", fail);
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&(extended(&[]) + &table("p", &file, "")));
    for gone in ["told", "ops/told", "example:calc/ops@0.1.0/told", "fail", "ops/fail"] {
        assert_refused(&gateway.call("x", gone, "[]"), 404, "function_not_found");
    }
    for there in ["told.now", "other", "ops/other"] {
        assert_eq!(gateway.call("x", there, "[]").status, 200, "{there}");
    }
    let inspected = gateway.get("/api/inspect").json();
    let functions = inspected[0]["packages"]["py"][0]["scope"]["funcs"].as_array().unwrap();
    let with_aliases: Vec<&Value> =
        functions.iter().filter(|one| one.get("aliases").is_some()).map(|one| &one["name"]).collect();
    assert_eq!(with_aliases, ["other", "refuse", "odd", "raised", "respond"]);
}

#[test]
fn arguments_that_do_not_fit_are_the_callers_fault() {
    let gateway = Gateway::ready(&extended(&[]));
    let answer = gateway.call("x", "refuse", "[-1]");
    assert_refused(&answer, 422, "bad_argument");
    assert_eq!(answer.message(), "argument 1 (n): expected u32, found -1");
    assert!(!gateway.worker_log("x").contains("refuse failed"));
}

#[test]
fn the_value_of_an_error_reaches_the_caller_as_it_is() {
    let gateway = Gateway::ready(&extended(&[]));
    for payload in [r#"{"b":[1,2],"a":null}"#, "\"text\"", "null", "[]"] {
        let answer = gateway.call("x", "ops/fail", &format!("[{payload}]"));
        assert_error(&answer, 500, "function_error");
        assert_eq!(answer.message(), "Failure: no room");
        assert!(answer.body.ends_with(&format!(",\"payload\":{payload}}}}}")), "{answer:?}");
    }
    let answer = gateway.call("x", "odd", "[]");
    assert_error(&answer, 500, "function_error");
    assert_eq!((answer.message().as_str(), &answer.json()["error"]["payload"]), ("Failure: odd", &Value::Null));
    assert!(answer.body.contains("\"payload\":null"), "{answer:?}");
}

#[test]
fn after_hooks_see_the_value_of_an_error_and_their_own_errors_have_none() {
    let plugin = Plugin::new().after_invoke(|c| {
        let body = c.call("outcome", "body", "").text();
        c.set_header("outcome", "x-body", &body);
        let asked = c.text("x-do");
        let asked = c.call("invocation", "header", asked);
        c.when(asked.byte(), |c| {
            let set = c.set_problem(503, "later", "come again", &[]);
            c.expect_ok(set);
        });
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&(extended(&[]) + &table("p", &file, "")));
    let call = |headers: &[(&str, &str)]| gateway.post("/local/x/v1/call/fail", headers, "[{\"left\":0}]");
    let answer = call(&[]);
    assert_error(&answer, 500, "function_error");
    assert_eq!(answer.json()["error"]["payload"], json!({"left": 0}));
    assert_eq!(answer.header("x-body"), Some(answer.body.as_str()));
    let replaced = call(&[("x-do", "replace")]);
    assert_refused(&replaced, 503, "later");
    assert!(replaced.header("x-body").unwrap().contains("\"payload\":{\"left\":0}"));
}

//! Load hooks refuse and adjust releases, when the gateway starts and when it reloads.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faulty::{assert_error, assert_ok, timed};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::{Files, count_of, put, reload, state_of, table};
use crate::support::{Gateway, wait_for};

const FUNCTIONS: &str = "module.exports = {
  one: (a, b) => 1,
  two: async () => 2,
  variable: (name) => process.env[name] ?? null,
  sleep: (ms) => new Promise((resolve) => { setTimeout(resolve, ms, ms); }),
};\n";

/// A gateway with the deployment `app`, which has the functions above, and a plugin. It may not be ready.
fn with_app(plugin: Plugin, keys: &str) -> (Gateway, Files) {
    let files = Files::new();
    std::fs::create_dir(files.path().join("app")).unwrap();
    files.put("app/index.js", FUNCTIONS);
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::start(&(app(files.path(), "") + &table("p", &file, keys)));
    (gateway, files)
}

fn app(folder: &Path, keys: &str) -> String {
    format!("[[deployment]]\nname = \"app\"\npath = {:?}\n{keys}\n", folder.join("app"))
}

fn inspected(gateway: &Gateway) -> Value {
    let all = gateway.get("/api/inspect").json();
    all.as_array().unwrap().iter().find(|one| one["suffix"] == "app").cloned().unwrap_or(Value::Null)
}

fn names(inspected: &Value) -> Vec<String> {
    let functions = inspected["packages"]["node"][0]["scope"]["funcs"].as_array().unwrap();
    let mut names: Vec<String> = functions.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn wait_failed(gateway: &Gateway) -> Value {
    wait_for("the failure", || {
        Some(gateway.readiness("app")).filter(|state| state["status"] == "failed").map(|state| state["error"].clone())
    })
}

fn refusing(before: bool) -> Plugin {
    let refuse = |c: &mut Code| {
        let reason = c.text("no releases on Sundays");
        c.refuse(&reason);
    };
    if before { Plugin::new().before_load(refuse) } else { Plugin::new().after_load(refuse) }
}

#[test]
fn a_refused_release_is_not_served_and_the_reason_is_reported() {
    for before in [true, false] {
        let (gateway, _files) = with_app(refusing(before), "");
        let error = wait_failed(&gateway);
        assert_eq!(error["code"], "refused_by_plugin", "{error}");
        assert_eq!(error["message"], "plugin \"p\" refused the release: no releases on Sundays");
        assert_eq!(gateway.get("/readyz").status, 503);
        let inspected = inspected(&gateway);
        assert_eq!((&inspected["status"], &inspected["error"]["code"]), (&json!("fail"), &json!("refused_by_plugin")));
        let answer = gateway.call("app", "one", "[]");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(count_of(&gateway, "p", "refusals") >= 1);
        assert_eq!(state_of(&gateway, "p")["status"], "ready", "a refusal is not a failure");
    }
}

#[test]
fn load_hooks_do_not_run_for_an_excluded_deployment() {
    for keys in ["deployments = [\"other\"]", "exclude = [\"app\"]"] {
        let (gateway, _files) = with_app(refusing(true), keys);
        gateway.wait_ready();
        assert_eq!(count_of(&gateway, "p", "calls"), 0);
    }
}

fn set(c: &mut Code, function: &str, name: &str, value: &str) {
    let (name, value) = (c.text(name), c.text(value));
    let set = c.call("release", function, format!("{name} {value}"));
    c.when(set.byte(), |c| c.refuse(&set.inner()));
}

#[test]
pub(super) fn before_load_sets_environment_limits_and_labels() {
    let plugin = Plugin::new().before_load(|c| {
        set(c, "set-environment", "REGION", "eu");
        set(c, "set-limit", "timeout", "300ms");
        set(c, "set-label", "team", "payments");
    });
    let (gateway, _files) = with_app(plugin, "");
    gateway.wait_ready();
    assert_ok(&gateway.call("app", "variable", "[\"REGION\"]"), "\"eu\"");
    let (answer, time) = timed(|| gateway.call("app", "sleep", "[20000]"));
    assert_error(&answer, 504, "call_timeout");
    assert!(time >= Duration::from_millis(300) && time < Duration::from_secs(2), "{time:?}");
    assert_eq!(inspected(&gateway)["labels"], json!({ "team": "payments" }));
}

#[test]
pub(super) fn before_load_gets_the_reason_for_what_it_may_not_set() {
    for (function, name, value, reason) in [
        ("set-environment", "LD_PRELOAD", "x", "LD_PRELOAD"),
        ("set-environment", "a=b", "x", "a=b"),
        ("set-limit", "timeout", "10m", "timeout can only be tightened"),
        ("set-limit", "queue", "999999", "queue can only be tightened"),
        ("set-limit", "speed", "1", "\"speed\" is not a limit"),
        ("set-limit", "timeout", "soon", "soon"),
        ("set-label", "a label", "x", "a label's name must be"),
    ] {
        let (gateway, _files) = with_app(Plugin::new().before_load(|c| set(c, function, name, value)), "");
        let error = wait_failed(&gateway);
        assert_eq!(error["code"], "refused_by_plugin", "{error}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{reason}: {error}");
    }
}

#[test]
pub(super) fn a_load_hook_reads_the_release_and_its_files_and_nothing_else() {
    let plugin = Plugin::new().before_load(|c| {
        let mut told = Vec::new();
        for what in ["deployment", "version", "origin", "runtime"] {
            let text = c.call("release", what, "");
            told.push(text.text());
            told.push(c.text(" "));
        }
        for what in ["languages", "files", "environment", "limits", "labels", "functions"] {
            let list = c.call("release", what, "");
            told.push(c.decimal32(list.i32_at(4)));
            told.push(c.text(" "));
        }
        let (there, out) = (c.text("index.js"), c.text("../p.wasm"));
        let read = c.call("release", "read", there);
        c.expect_ok(read);
        told.push(c.decimal32(read.i32_at(8)));
        told.push(c.text(" "));
        let read = c.call("release", "read", out);
        told.push(read.inner());
        let told = c.join(&told);
        c.refuse(&told);
    });
    let (gateway, _files) = with_app(plugin, "");
    let error = wait_failed(&gateway);
    let words = format!(
        "plugin \"p\" refused the release: app v1 toml node 1 1 0 4 0 0 {} \"../p.wasm\" leads out of the release",
        FUNCTIONS.len()
    );
    assert_eq!(error["message"], words);
}

#[test]
fn after_load_hides_and_renames_functions_and_labels_the_release() {
    let plugin = Plugin::new().after_load(|c| {
        let (two, variable, names) = (c.text("two"), c.text("variable"), c.text("one uno"));
        let hidden = c.call("release", "hide", two.clone());
        c.expect_ok(hidden);
        let gone = c.call("release", "hide", two);
        c.when(format!("(i32.eqz {})", gone.byte()), |c| c.raw("(unreachable)"));
        let (one, uno) = (names.part(0, 3), names.part(4, 3));
        let renamed = c.call("release", "rename", format!("{one} {uno}"));
        c.expect_ok(renamed);
        let taken = c.call("release", "rename", format!("{uno} {variable}"));
        c.when(format!("(i32.eqz {})", taken.byte()), |c| c.raw("(unreachable)"));
        set(c, "set-label", "checked", "yes");
        let functions = c.call("release", "functions", "");
        c.when(format!("(i32.ne {} (i32.const 3))", functions.i32_at(4)), |c| c.raw("(unreachable)"));
        // Only before-load may do this.
        let environment = c.call("release", "set-environment", format!("{one} {uno}"));
        c.when(format!("(i32.eqz {})", environment.byte()), |c| c.raw("(unreachable)"));
    });
    let (gateway, _files) = with_app(plugin, "on_error = \"reject\"");
    gateway.wait_ready();
    assert_ok(&gateway.call("app", "uno", "[]"), "1");
    for gone in ["one", "two"] {
        assert_error(&gateway.call("app", gone, "[]"), 404, "function_not_found");
    }
    let inspected = inspected(&gateway);
    assert_eq!(names(&inspected), ["sleep", "uno", "variable"]);
    assert_eq!(inspected["labels"], json!({ "checked": "yes" }));
    // A restarted worker offers the same functions.
    let worker = *gateway.worker_pids().first().unwrap();
    crate::faulty::send_signal(worker, rustix::process::Signal::KILL);
    wait_for("the next worker", || (gateway.readiness("app")["restarts"] == 1).then_some(()));
    gateway.wait_ready();
    assert_ok(&gateway.call("app", "uno", "[]"), "1");
    assert_error(&gateway.call("app", "two", "[]"), 404, "function_not_found");
}

#[test]
fn a_failing_load_hook_refuses_the_release_in_before_load_and_is_skipped_in_after_load() {
    let trap = |c: &mut Code| {
        let two = c.text("two");
        c.call("release", "hide", two);
        set(c, "set-label", "half", "done");
        c.raw("(unreachable)");
    };
    let cases = [
        (true, "", false),
        (true, "on_error = \"skip\"", true),
        (false, "", true),
        (false, "on_error = \"reject\"", false),
        (false, "on_error = \"reject\"\nmode = \"observe\"", true),
    ];
    for (before, keys, served) in cases {
        let plugin = if before { Plugin::new().before_load(trap) } else { Plugin::new().after_load(trap) };
        let (gateway, _files) = with_app(plugin, keys);
        if served {
            gateway.wait_ready();
            assert_ok(&gateway.call("app", "two", "[]"), "2");
            assert_eq!(inspected(&gateway)["labels"], Value::Null, "{before} {keys:?}");
        } else {
            let error = wait_failed(&gateway);
            assert_eq!(error["code"], "refused_by_plugin", "{error}");
            assert!(error["message"].as_str().unwrap().starts_with("plugin \"p\" trapped: "), "{error}");
        }
    }
}

#[test]
fn in_observe_mode_a_refusal_is_only_counted() {
    for before in [true, false] {
        let (gateway, _files) = with_app(refusing(before), "mode = \"observe\"");
        gateway.wait_ready();
        assert_ok(&gateway.call("app", "one", "[]"), "1");
        let state = state_of(&gateway, "p");
        assert!(state["observed"].as_u64().unwrap() >= 1 && state["refusals"] == 0, "{state}");
        wait_for("the refusal in the log", || gateway.log().contains("would have refused the release").then_some(()));
    }
}

#[test]
fn a_refusal_at_a_reload_leaves_the_old_release_serving() {
    for before in [true, false] {
        let check = |c: &mut Code| {
            let environment = c.call("release", "environment", "");
            let reason = c.text("variables are not allowed");
            c.when(environment.i32_at(4), |c| c.refuse(&reason));
        };
        let plugin = if before { Plugin::new().before_load(check) } else { Plugin::new().after_load(check) };
        let (gateway, files) = with_app(plugin, "");
        gateway.wait_ready();
        let worker = gateway.worker_pids();
        let toml = gateway.folder.path().join("metagate.toml");
        let old = std::fs::read_to_string(&toml).unwrap();
        let new = old.replace(&app(files.path(), ""), &app(files.path(), "env = { TAG = \"new\" }"));
        assert_ne!(old, new);
        put(&toml, new);
        let answer = reload(&gateway);
        assert_error(&answer, 422, "refused_by_plugin");
        let message = answer.message();
        assert!(message.contains("plugin \"p\" refused the release: variables are not allowed"), "{message}");
        assert!(message.contains("deployment \"app\""), "{message}");
        assert_ok(&gateway.call("app", "variable", "[\"TAG\"]"), "null");
        let readiness = gateway.get("/readyz");
        assert_eq!(readiness.status, 200, "the old release still serves: {readiness:?}");
        assert!(readiness.json()["reload_error"].as_str().unwrap().contains("refused the release"), "{readiness:?}");
        // No worker of the refused release is left.
        wait_for("the old worker alone", || (gateway.worker_pids() == worker).then_some(()));
        // Without the plugin the same release is accepted.
        let file = files.path().join("p.wasm");
        let without = std::fs::read_to_string(&toml).unwrap().replace(&table("p", &file, ""), "");
        put(&toml, without);
        let answer = reload(&gateway);
        assert_eq!((answer.status, &answer.json()["deployed"]), (200, &json!(["app"])), "{answer:?}");
        assert_ok(&gateway.call("app", "variable", "[\"TAG\"]"), "\"new\"");
        assert_eq!(gateway.get("/readyz").json()["reload_error"], Value::Null);
    }
}

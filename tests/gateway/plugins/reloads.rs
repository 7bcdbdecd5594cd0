//! Plugins that are added, changed and removed while the gateway serves: drop-ins, a changed configuration, a thousand
//! reloads.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::faulty::{assert_error, assert_ok};
use crate::plugins::component::Plugin;
use crate::plugins::held::{self, Held};
use crate::plugins::{
    Files, asked, call_do, count_of, deployment, put, refusal_of, reload, state_of, table, wait_status, with_plugin,
};
use crate::support::{Gateway, wait_for};

/// A plugin that adds its configuration and its version to answers.
fn version(version: &str) -> Vec<u8> {
    let plugin = Plugin::new()
        .before_invoke(|c| {
            let (key, value) = (c.text("version"), c.text(format!("\"{version}\"")));
            let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const 0)"));
            c.expect_ok(set);
        })
        .after_invoke(|c| {
            let key = c.text("version");
            let begun = c.call("invocation", "context", &key);
            let begun = c.or_empty(begun);
            let now = c.text(format!("\"{version}\""));
            let config = c.call("config", "get", "");
            for (header, value) in [("x-begun", begun), ("x-ended", now), ("x-config", config.text())] {
                let set = c.set_header("outcome", header, &value);
                c.expect_ok(set);
            }
        });
    plugin.component()
}

/// The headers that the plugin in service sets.
fn shown(gateway: &Gateway, header: &str) -> String {
    let answer = call_do(gateway, "x");
    assert_ok(&answer, "[1]");
    answer.header(header).unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_shown(gateway: &Gateway, header: &str, value: &str) {
    wait_for(&format!("{header}: {value}"), || (shown(gateway, header) == value).then_some(()));
}

fn plugin_names(gateway: &Gateway) -> Vec<String> {
    let all = gateway.get("/api/plugins").json();
    all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn toml_of(gateway: &Gateway) -> PathBuf {
    gateway.folder.path().join("metagate.toml")
}

/// Changes a part of the configuration's file.
fn change(gateway: &Gateway, from: &str, to: &str) {
    let toml = toml_of(gateway);
    let before = fs::read_to_string(&toml).unwrap();
    assert!(before.contains(from), "{from:?} in {before}");
    put(&toml, before.replace(from, to));
}

#[test]
fn a_drop_in_is_loaded_changed_and_removed_with_its_file() {
    let files = Files::new();
    let fixed = Files::new();
    let first = fixed.put("zz.wasm", Plugin::new().before_invoke(|_| {}).component());
    let tables = format!("[plugins]\ndir = {:?}\n{}{}", files.path(), deployment("it"), table("zz", &first, ""));
    let gateway = Gateway::ready(&tables);
    assert_eq!(plugin_names(&gateway), ["zz"]);
    assert_eq!(shown(&gateway, "x-begun"), "");

    files.put("20-shown.wasm", version("one"));
    wait_shown(&gateway, "x-begun", "\"one\"");
    // Other files of the folder are ignored. Drop-ins run in the order of their names, after the plugins of the
    // configuration.
    files.put("README", "not a plugin");
    files.put(".hidden.wasm", "not one either");
    files.put("10-other.wasm", Plugin::new().before_invoke(|_| {}).component());
    wait_for("all three", || (plugin_names(&gateway) == ["zz", "10-other", "20-shown"]).then_some(()));

    files.put("20-shown.toml", "config = { a = 1 }\n");
    wait_shown(&gateway, "x-config", "{\"a\":1}");
    files.put("20-shown.toml", "config = { a = 2 }\nfunctions = [\"args\"]\n");
    wait_shown(&gateway, "x-config", "{\"a\":2}");
    assert_eq!(gateway.call("it", "size", "[\"\"]").header("x-config"), None);

    files.put("20-shown.wasm", version("two"));
    wait_shown(&gateway, "x-begun", "\"two\"");

    // Invalid settings: the old version serves, and its state has the reason.
    files.put("20-shown.toml", "confgi = { a = 3 }\n");
    wait_for("the fault", || {
        let readiness = gateway.get("/readyz").json();
        readiness["reload_error"].as_str().filter(|words| words.contains("confgi")).map(str::to_owned)
    });
    assert_eq!((shown(&gateway, "x-begun"), shown(&gateway, "x-config")), ("\"two\"".into(), "{\"a\":2}".into()));
    assert_eq!(plugin_names(&gateway), ["zz", "10-other", "20-shown"]);

    fs::remove_file(files.path().join("20-shown.toml")).unwrap();
    wait_shown(&gateway, "x-config", "{}");
    fs::remove_file(files.path().join("20-shown.wasm")).unwrap();
    wait_shown(&gateway, "x-begun", "");
    wait_for("the others alone", || (plugin_names(&gateway) == ["zz", "10-other"]).then_some(()));
    assert_eq!(gateway.get("/readyz").json()["reload_error"], Value::Null);
}

#[test]
fn settings_of_a_drop_in_with_a_name_or_a_plugin_table_are_refused() {
    let files = Files::new();
    files.put("p.wasm", version("one"));
    for (toml, words) in [("name = \"q\"\n", "name"), ("[[plugin]]\nmode = \"observe\"\n", "without [[plugin]]")] {
        files.put("p.toml", toml);
        let reason = refusal_of(&format!("[plugins]\ndir = {:?}\n", files.path()));
        assert!(reason.contains(words) && reason.contains("p.toml:"), "{reason}");
    }
}

#[test]
fn a_changed_configuration_takes_effect_when_it_is_written() {
    let files = Files::new();
    let file = files.put("p.wasm", version("one"));
    let keys = "config = { limit = 1 }";
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, keys)));
    assert_eq!(shown(&gateway, "x-config"), "{\"limit\":1}");
    change(&gateway, "limit = 1", "limit = 2");
    wait_shown(&gateway, "x-config", "{\"limit\":2}");
    // Written in place, as some editors do.
    let text = fs::read_to_string(toml_of(&gateway)).unwrap();
    fs::write(toml_of(&gateway), text.replace("limit = 2", "limit = 3")).unwrap();
    wait_shown(&gateway, "x-config", "{\"limit\":3}");
    gateway.wait_log("a file has changed");
    // The plugin is removed with its table.
    change(&gateway, &table("p", &file, "config = { limit = 3 }"), "");
    wait_shown(&gateway, "x-config", "");
    assert_eq!(gateway.get("/api/plugins").json(), json!([]));
}

#[test]
fn sighup_reads_the_configuration_again() {
    let (files, secret) = (Files::new(), Files::new());
    // In a folder that the gateway does not watch.
    let limit = secret.put("limit", "first");
    let file = files.put("p.wasm", version("one"));
    let value = format!("${{file:{}}}", limit.display());
    let gateway =
        Gateway::ready(&(deployment("it") + &table("p", &file, &format!("config = {{ limit = {value:?} }}"))));
    assert_eq!(shown(&gateway, "x-config"), "{\"limit\":\"first\"}");
    secret.put("limit", "second");
    assert_eq!(shown(&gateway, "x-config"), "{\"limit\":\"first\"}");
    gateway.signal(Signal::HUP);
    wait_shown(&gateway, "x-config", "{\"limit\":\"second\"}");
    gateway.wait_log("SIGHUP");
}

#[test]
fn l18_an_invalid_configuration_changes_nothing() {
    let (gateway, _files) = {
        let files = Files::new();
        let file = files.put("p.wasm", version("one"));
        (Gateway::ready(&(deployment("it") + &table("p", &file, ""))), files)
    };
    let good = fs::read_to_string(toml_of(&gateway)).unwrap();
    let worker = gateway.worker_pids();
    for (broken, words) in [
        (format!("{good}\n[[plugin\n"), "metagate.toml:"),
        (good.replace("[[plugin]]", "[[plugin]]\ntimeuot = \"1s\""), "timeuot"),
        (good.replace("name = \"p\"", "name = \"p\"\nmax_memory = \"1 furlong\""), "max_memory"),
        (good.replace("name = \"it\"", "name = \"../it\""), "name"),
    ] {
        put(&toml_of(&gateway), broken);
        let answer = reload(&gateway);
        assert_error(&answer, 422, "bad_config");
        assert!(answer.message().contains(words), "{words}: {answer:?}");
        assert_eq!(shown(&gateway, "x-begun"), "\"one\"");
        let readiness = gateway.get("/readyz");
        assert_eq!(readiness.status, 200, "{readiness:?}");
        assert!(readiness.json()["reload_error"].as_str().unwrap().contains(words), "{readiness:?}");
    }
    put(&toml_of(&gateway), good);
    let answer = reload(&gateway);
    assert_eq!((answer.status, answer.json()), (200, json!({"plugins": ["p"], "deployed": [], "removed": []})));
    assert_eq!(gateway.get("/readyz").json()["reload_error"], Value::Null);
    assert_eq!(gateway.worker_pids(), worker);
}

#[test]
fn a_refused_configuration_of_one_plugin_keeps_its_old_one_and_the_others_change() {
    let strict = Plugin::new()
        .start(|c| {
            let reason = c.text("limit 13 brings bad luck");
            c.when("(i32.eq (local.get $length) (i32.const 12))", |c| c.refuse(&reason));
        })
        .before_invoke(|_| {});
    let files = Files::new();
    let (p, q) = (files.put("p.wasm", strict.component()), files.put("q.wasm", version("one")));
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &p, "config = { limit = 1 }") + &table("q", &q, "")));
    files.put("q.wasm", version("two"));
    change(&gateway, "limit = 1", "limit = 13");
    let answer = reload(&gateway);
    assert_error(&answer, 422, "bad_plugin");
    assert!(answer.message().contains("plugin \"p\": it refused its configuration: limit 13 brings bad luck"));
    wait_status(&gateway, "p", "stale");
    assert_eq!(state_of(&gateway, "q")["status"], "ready");
    assert_eq!(shown(&gateway, "x-begun"), "\"two\"");
}

#[test]
fn a_call_in_flight_finishes_with_the_plugin_with_which_it_started() {
    let held = Held::new();
    let slow = |version: &'static str| {
        Plugin::new()
            .before_invoke(|c| {
                let asked = asked(c);
                asked.on(c, 'w', |c| {
                    held::get(c, &held.url("/"));
                });
            })
            .after_invoke(|c| {
                let value = c.text(version);
                c.set_header("outcome", "x-ended", &value);
            })
    };
    let keys = format!("timeout = \"20s\"\ngrants = {{ http = [{:?}] }}", held.origin);
    let (gateway, files) = with_plugin("", slow("one"), &keys);
    thread::scope(|scope| {
        let under_way = scope.spawn(|| call_do(&gateway, "wait"));
        let request = held.next();
        files.put("p.wasm", slow("two").component());
        assert_eq!(reload(&gateway).status, 200);
        assert_eq!(shown(&gateway, "x-ended"), "two");
        assert!(!under_way.is_finished());
        // Also if the plugin has been removed.
        change(&gateway, &table("p", &files.path().join("p.wasm"), &keys), "");
        assert_eq!(reload(&gateway).json()["plugins"], json!([]));
        assert_eq!(shown(&gateway, "x-ended"), "");
        request.answer("200 OK", "", "");
        let answer = under_way.join().unwrap();
        assert_ok(&answer, "[1]");
        assert_eq!(answer.header("x-ended"), Some("one"));
    });
}

#[test]
fn a_deployment_that_changes_keeps_its_plugins() {
    let files = Files::new();
    let file = files.put("p.wasm", version("one"));
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, "")));
    change(&gateway, "name = \"it\"", "name = \"it\"\nenv = { A = \"1\" }");
    let answer = reload(&gateway);
    assert_eq!((answer.status, &answer.json()["deployed"]), (200, &json!(["it"])), "{answer:?}");
    assert_eq!(shown(&gateway, "x-begun"), "\"one\"");
    let calls = count_of(&gateway, "p", "calls");
    assert!(calls >= 2, "the plugin was loaded again: {calls}");
}

/// Reloads a plugin `reloads` times, each time after `change`, at 500 calls a second. No call may fail, both hooks of a
/// call run in the same version, and memory does not grow.
fn reload_under_load(gateway: &Gateway, reloads: usize, change: impl Fn(usize)) {
    const CALLERS: u32 = 4;
    let (ends, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    let mut after_warm_up = 0;
    // A pace, not a wait.
    let pace = Duration::from_millis(2) * CALLERS;
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut next = Instant::now();
                while !ends.load(Ordering::Relaxed) {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    next += pace;
                    let answer = call_do(gateway, "x");
                    assert_ok(&answer, "[1]");
                    let (begun, ended) = (answer.header("x-begun"), answer.header("x-ended"));
                    assert!(begun.is_some() && begun == ended, "both hooks ran in one version: {answer:?}");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _ends = Ends(&ends);
        let mut before = state_of(gateway, "p")["sha256"].clone();
        for n in 1..=reloads {
            change(n);
            before = wait_for("another plugin in its place", || {
                Some(state_of(gateway, "p")["sha256"].clone()).filter(|now| *now != before)
            });
            if n == reloads / 5 {
                after_warm_up = gateway.resident_bytes();
            }
        }
    });
    let (at_the_end, calls) = (gateway.resident_bytes(), calls.into_inner());
    assert!(at_the_end < after_warm_up + (24 << 20), "{after_warm_up} → {at_the_end} bytes");
    let wanted = start.elapsed().as_secs() * 250;
    assert!(calls > wanted, "{calls} calls in {:?}", start.elapsed());
    assert_eq!(state_of(gateway, "p")["failures"], 0);
    assert_eq!(gateway.get("/readyz").json()["reload_error"], Value::Null);
    eprintln!("{calls} calls in {:?}, {after_warm_up} → {at_the_end} bytes", start.elapsed());
}

#[test]
fn a_thousand_reloads_at_five_hundred_calls_a_second_fail_no_call() {
    // The folder of the file is not watched: the watcher waits for more changes, and a reload over HTTP does not.
    let (files, links) = (Files::new(), Files::new());
    let versions = [version("one"), version("two")];
    let link = links.path().join("p.wasm");
    std::os::unix::fs::symlink(files.put("p.wasm", &versions[0]), &link).unwrap();
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &link, "timeout = \"2s\"")));
    reload_under_load(&gateway, 1_000, |n| {
        files.put("p.wasm", &versions[n % 2]);
        assert_eq!(reload(&gateway).status, 200, "reload {n}");
    });
}

#[test]
fn files_that_change_as_fast_as_they_are_read_fail_no_call() {
    let files = Files::new();
    let versions = [version("one"), version("two")];
    let file = files.put("p.wasm", &versions[0]);
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, "timeout = \"2s\"")));
    reload_under_load(&gateway, 50, |n| drop(files.put("p.wasm", &versions[n % 2])));
}

/// Stops the callers, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A plugin that rejects every call.
fn closed() -> Vec<u8> {
    let plugin = Plugin::new().before_invoke(|c| {
        let message = c.text("closed");
        c.reject(401, "unauthorized", &message, &[]);
    });
    plugin.component()
}

#[test]
fn an_unreadable_drop_in_folder_removes_no_plugin() {
    let around = Files::new();
    let folder = around.path().join("drop-ins");
    fs::create_dir(&folder).unwrap();
    put(&folder.join("auth.wasm"), closed());
    let gateway = Gateway::ready(&format!("[plugins]\ndir = {folder:?}\n{}", deployment("it")));
    assert_error(&call_do(&gateway, "x"), 401, "unauthorized");
    fs::rename(&folder, around.path().join("away")).unwrap();
    reload(&gateway);
    let readiness = gateway.get("/readyz").json();
    assert!(readiness["reload_error"].as_str().unwrap().contains("reading the drop-in folder"), "{readiness}");
    assert_error(&call_do(&gateway, "x"), 401, "unauthorized");
    // An empty folder removes its plugins.
    fs::create_dir(&folder).unwrap();
    assert_eq!(reload(&gateway).json()["plugins"], json!([]));
    assert_ok(&call_do(&gateway, "x"), "[1]");
    // The new folder is watched like the old one.
    put(&folder.join("auth.wasm"), closed());
    wait_for("the drop-in", || (call_do(&gateway, "x").status == 401).then_some(()));
}

#[test]
fn an_invalid_drop_in_keeps_its_old_version_and_holds_up_no_other_change() {
    let (fixed, files) = (Files::new(), Files::new());
    let shown = |name: &str, letter: &str| {
        let plugin = Plugin::new().before_invoke(|c| {
            let (name, letter) = (c.text("x-order"), c.text(letter));
            let before = c.call("invocation", "header", &name);
            let before = c.or_empty(before);
            let after = c.join(&[before, letter]);
            let set = c.call("invocation", "set-header", format!("{name} {after}"));
            c.expect_ok(set);
        });
        let plugin = plugin.after_invoke(|c| {
            let name = c.text("x-order");
            let order = c.call("invocation", "header", name);
            let order = c.or_empty(order);
            c.set_header("outcome", "x-order", &order);
        });
        (format!("{name}.wasm"), plugin.component())
    };
    let (first, second) = (shown("first", "a"), shown("second", "b"));
    // Last by name and first by `order`.
    fs::create_dir(fixed.path().join("zzz")).unwrap();
    let (first, second) = (fixed.put("zzz/first.wasm", first.1), fixed.put(&second.0, second.1));
    for (name, letter) in [("10-drop", "c"), ("20-drop", "d")] {
        let (file, bytes) = shown(name, letter);
        files.put(&file, bytes);
    }
    let (first, second) = (table("first", &first, ""), table("second", &second, ""));
    let tables = format!("[plugins]\ndir = {:?}\n{}{first}{second}", files.path(), deployment("it"));
    let gateway = Gateway::ready(&tables);
    let order = || call_do(&gateway, "x").header("x-order").unwrap().to_owned();
    assert_eq!(order(), "abcd");
    files.put("10-drop.toml", "nonsense = 1\n");
    reload(&gateway);
    assert_eq!(order(), "abcd");
    // A plugin that was removed from the configuration is gone, even if others are faulty.
    change(&gateway, &second, "");
    reload(&gateway);
    assert_eq!(order(), "acd");
}

#[test]
fn a_new_deployment_does_not_start_without_a_plugin_that_applies_to_it() {
    let files = Files::new();
    let gateway = Gateway::ready(&deployment("it"));
    let toml = gateway.folder.path().join("metagate.toml");
    let guard = files.put("guard.wasm", "this is none");
    let added = format!("{}{}", table("guard", &guard, "deployments = [\"new\"]"), deployment("new"));
    put(&toml, fs::read_to_string(&toml).unwrap() + &added);
    let answer = reload(&gateway);
    assert_error(&answer, 422, "bad_plugin");
    assert_error(&gateway.call("new", "args", "[1]"), 404, "deployment_not_found");
    assert_ok(&call_do(&gateway, "x"), "[1]");
    put(&guard, version("1"));
    wait_for("the deployment", || (reload(&gateway).status == 200).then_some(()));
    let answer = gateway.call("new", "args", "[1]");
    assert_ok(&answer, "[1]");
    assert_eq!(answer.header("x-ended"), Some("\"1\""));
}

#[test]
fn a_plugin_that_is_renamed_and_broken_at_once_serves_under_its_old_name() {
    let files = Files::new();
    let good = files.put("good.wasm", version("1"));
    let gateway = Gateway::ready(&format!("{}{}", deployment("it"), table("old", &good, "")));
    let toml = gateway.folder.path().join("metagate.toml");
    let broken = files.put("broken.wasm", "this is none");
    put(&toml, fs::read_to_string(&toml).unwrap().replace(&table("old", &good, ""), &table("new", &broken, "")));
    assert_error(&reload(&gateway), 422, "bad_plugin");
    assert_eq!(call_do(&gateway, "x").header("x-ended"), Some("\"1\""));
    let states = (state_of(&gateway, "old")["status"].clone(), state_of(&gateway, "new")["status"].clone());
    assert_eq!(states, (json!("stale"), json!("failed")));
}

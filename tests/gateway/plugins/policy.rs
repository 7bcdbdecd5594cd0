//! Scope, consequences of failures, the limit on concurrent hook calls, and recordings.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::faulty::{assert_error, assert_ok, timed, wait_count};
use crate::plugins::chains::{context, marking, set_context, with_plugins};
use crate::plugins::component::Plugin;
use crate::plugins::held::{self, Held};
use crate::plugins::{
    Files, asked, assert_failed, call_do, count_of, deployment, refusal_of, reload, state_of, table, wait_status,
    with_plugin,
};
use crate::support::{Gateway, wait_for};

/// Changes everything that it can change, and then traps.
fn trapping() -> Plugin {
    Plugin::new()
        .before_invoke(|c| {
            let asked = asked(c);
            asked.on(c, 'b', |c| {
                let (value, arguments) = (c.text("changed"), c.text("[\"changed\"]"));
                c.set_header("invocation", "x-changed", &value);
                c.call("invocation", "set-arguments", arguments);
                set_context(c, "changed", "true", true);
                c.raw("(unreachable)");
            });
        })
        .after_invoke(|c| {
            let asked = asked(c);
            asked.on(c, 'a', |c| {
                let body = c.text("\"changed\"");
                c.call("outcome", "set-status", "(i32.const 202)");
                c.call("outcome", "set-body", &body);
                c.set_header("outcome", "x-changed", &body);
                c.raw("(unreachable)");
            });
        })
}

#[test]
fn on_error_decides_about_a_call_whose_hook_fails() {
    for (keys, before, after) in [
        ("", 503, 200),
        ("on_error = \"skip\"", 200, 200),
        ("on_error = \"reject\"", 503, 503),
        ("on_error = \"reject\"\nmode = \"observe\"", 200, 200),
    ] {
        let (gateway, _files) = with_plugin("", trapping(), keys);
        for (what, status) in [("before", before), ("after", after)] {
            let answer = call_do(&gateway, what);
            assert_eq!(answer.status, status, "{keys:?} {what}: {answer:?}");
            if status == 200 {
                assert_ok(&answer, "[1]");
                assert_eq!(answer.header("x-changed"), None, "{keys:?} {what}: {answer:?}");
            } else {
                assert_eq!((answer.code(), answer.header("x-changed")), ("plugin_failed", None), "{keys:?} {what}");
            }
        }
        assert_eq!(count_of(&gateway, "p", "failures"), 2, "{keys:?}");
    }
}

#[test]
fn changes_of_a_failed_hook_have_no_effect() {
    let second = Plugin::new().before_invoke(|c| {
        let name = c.text("x-changed");
        let header = c.call("invocation", "header", name);
        let (header, shared) = (c.or_empty(header), context(c, "changed"));
        let arguments = c.call("invocation", "arguments", "");
        let between = c.text("|");
        let told = c.join(&[header, between.clone(), shared, between, arguments.text()]);
        c.tell(&told);
    });
    let (gateway, _files) = with_plugins(vec![("p", trapping(), "on_error = \"skip\""), ("second", second, "")]);
    assert_eq!(call_do(&gateway, "before").message(), "||[1]");
}

#[test]
pub(super) fn in_observe_mode_verdicts_are_counted_and_not_applied() {
    let plugin = Plugin::new()
        .before_invoke(|c| {
            let asked = asked(c);
            let message = c.text("no");
            asked.on(c, 'r', |c| c.reject(403, "forbidden", &message, &[]));
            let arguments = c.text("[\"changed\"]");
            c.call("invocation", "set-arguments", arguments);
        })
        .after_invoke(|c| {
            c.call("outcome", "set-status", "(i32.const 202)");
        });
    let (gateway, _files) = with_plugin("", plugin, "mode = \"observe\"");
    assert_ok(&call_do(&gateway, "reject"), "[1]");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
    let state = state_of(&gateway, "p");
    assert_eq!((&state["mode"], &state["calls"], &state["refusals"]), (&json!("observe"), &json!(4), &json!(0)));
    // One rejection and two changes of outcomes.
    assert_eq!(state["observed"], 3, "{state}");
    let log = wait_for("the last line", || Some(gateway.log()).filter(|log| log.contains("to=202")));
    assert!(log.contains("would have ended the call") && log.contains("forbidden"), "{log}");
    assert!(log.contains("would have changed the outcome") && log.contains("to=202"), "{log}");
}

#[test]
fn a_plugin_runs_within_its_patterns_and_exclusions() {
    let files = Files::new();
    let telling = Plugin::new().before_invoke(|c| {
        let here = c.text("here");
        c.tell(&here);
    });
    let file = files.put("p.wasm", telling.component());
    let deployments: String = ["math", "report-a", "report-b", "other"].map(deployment).concat();
    let runs_on = |keys: &str| {
        let gateway = Gateway::ready(&(deployments.clone() + &table("p", &file, keys)));
        let mut found = Vec::new();
        for name in ["math", "report-a", "report-b", "other"] {
            for function in ["args", "size"] {
                let answer = gateway.call(name, function, "[\"\"]");
                if answer.header("x-metagate-error") == Some("told") {
                    found.push(format!("{name}/{function}"));
                } else {
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            }
        }
        assert_eq!(count_of(&gateway, "p", "calls"), found.len() as u64);
        found.join(" ")
    };
    assert_eq!(
        runs_on("deployments = [\"math\", \"report-?\"]\nexclude = [\"report-b\"]"),
        "math/args math/size report-a/args report-a/size"
    );
    assert_eq!(runs_on("functions = [\"s*e\"]\nexclude = [\"*-a/size\", \"oth*\"]"), "math/size report-b/size");
    assert_eq!(runs_on("exclude = [\"*/args\", \"*/s?ze\"]"), "");
}

#[test]
fn only_named_hooks_run_and_the_component_must_export_them() {
    let (gateway, files) = with_plugin("", marking("abc"), "hooks = [\"after-invoke\"]");
    let answer = call_do(&gateway, "b");
    assert_ok(&answer, "[1]");
    assert!(answer.header("x-abc").is_some());
    assert_eq!(state_of(&gateway, "p")["hooks"], json!(["after-invoke"]));
    let words = refusal_of(&table("p", &files.path().join("p.wasm"), "hooks = [\"before-load\"]"));
    assert!(words.contains("it has no hook \"before-load\": it exports before-invoke, after-invoke"), "{words}");
}

#[test]
fn a_file_with_another_sha256_is_refused() {
    let files = Files::new();
    let file = files.put("p.wasm", marking("abc").component());
    let wrong = "0".repeat(64);
    let words = refusal_of(&table("p", &file, &format!("sha256 = {wrong:?}")));
    let found = words.split("SHA-256 is ").nth(1).unwrap_or_else(|| panic!("{words}")).split(',').next().unwrap();
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, &format!("sha256 = {found:?}"))));
    assert_eq!(state_of(&gateway, "p")["sha256"], found);
    // A replaced file is not loaded.
    files.put("p.wasm", marking("def").component());
    let answer = reload(&gateway);
    assert_error(&answer, 422, "bad_plugin");
    assert!(answer.message().contains("which differs from sha256"), "{answer:?}");
    assert!(call_do(&gateway, "z").header("x-abc").is_some());
}

#[test]
fn an_instance_is_replaced_after_max_uses() {
    let plugin = Plugin::new().item("(global $count (mut i32) (i32.const 0))").before_invoke(|c| {
        c.raw("(global.set $count (i32.add (global.get $count) (i32.const 1)))");
        let count = c.decimal32("(global.get $count)");
        c.tell(&count);
    });
    let (gateway, _files) = with_plugin("", plugin, "max_uses = 3");
    let counts: Vec<u32> = (0..12).map(|_| call_do(&gateway, "x").message().parse().unwrap()).collect();
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
    assert!(counts.iter().filter(|count| **count == 1).count() >= 4, "{counts:?}");
    assert!(count_of(&gateway, "p", "instances") >= 4);
}

#[test]
fn a_plugin_does_not_run_outside_its_scope() {
    let files = Files::new();
    let file = files.put("p.wasm", marking("abc").component());
    let tables = deployment("it") + &deployment("other") + &table("p", &file, "deployments = [\"other\"]");
    let gateway = Gateway::ready(&tables);
    let loaded = count_of(&gateway, "p", "instances");
    for _ in 0..50 {
        assert_ok(&call_do(&gateway, "b"), "[1]");
    }
    let state = state_of(&gateway, "p");
    assert_eq!((&state["calls"], &state["instances"]), (&json!(0), &json!(loaded)), "{state}");
    assert_eq!(gateway.call("other", "args", "[1]").header("x-abc"), Some("abc"));
}

/// Waits for the answer of a server before each call, and counts hook calls at their start and end.
fn waiting(url: &str) -> Plugin {
    Plugin::new()
        .before_invoke(|c| {
            let asked = asked(c);
            asked.on(c, 'w', |c| {
                held::get(c, url);
            });
        })
        .after_invoke(|c| {
            let name = c.text("after");
            c.call("metrics", "add", format!("{name} (i64.const 1)"));
        })
}

/// Sends a call that makes the plugin wait, and closes the connection once its hook waits.
fn call_and_go(gateway: &Gateway, held: &Held) -> held::Request {
    let mut caller = gateway.connect();
    caller
        .write_all(
            b"POST /local/it/v1/call/args HTTP/1.1\r\nhost: x\r\nx-do: wait\r\ncontent-type: application/json\r\n\
              content-length: 3\r\n\r\n[1]",
        )
        .unwrap();
    let request = held.next();
    drop(caller);
    // Once the gateway has served a later caller, it has noticed that the first one closed the connection.
    assert_ok(&call_do(gateway, "x"), "[1]");
    request
}

#[test]
fn the_after_hook_runs_for_a_caller_that_has_gone_away_and_the_instance_is_kept() {
    let held = Held::new();
    let keys = format!("timeout = \"20s\"\ngrants = {{ metrics = true, http = [{:?}] }}", held.origin);
    let (gateway, _files) = with_plugin("", waiting(&held.url("/")), &keys);
    assert_ok(&call_do(&gateway, "x"), "[1]");
    let before = state_of(&gateway, "p");
    let request = call_and_go(&gateway, &held);
    let counted = |gateway: &Gateway| state_of(gateway, "p")["counters"]["after"].as_u64().unwrap();
    assert_eq!(counted(&gateway), 2);
    request.answer("200 OK", "", "");
    wait_for("the after-hook of the call without a caller", || (counted(&gateway) == 3).then_some(()));
    // Two calls at once needed two instances; none was lost.
    let after = state_of(&gateway, "p");
    assert_eq!(after["failures"], 0, "{after}");
    let more = after["instances"].as_u64().unwrap() - before["instances"].as_u64().unwrap();
    assert!(more <= 1, "{before} → {after}");
    for _ in 0..5 {
        assert_ok(&call_do(&gateway, "x"), "[1]");
    }
    assert_eq!(count_of(&gateway, "p", "instances"), after["instances"].as_u64().unwrap());
}

#[test]
fn h7_a_call_with_an_after_hook_leaves_the_queue_with_its_caller() {
    let files = Files::new();
    let plugin = Plugin::new().after_invoke(|c| {
        let name = c.text("after");
        c.call("metrics", "add", format!("{name} (i64.const 1)"));
    });
    let file = files.put("p.wasm", plugin.component());
    let echo = deployment("it") + "concurrency = 1\nqueue = 1\n";
    let gateway = Gateway::ready(&(echo + &table("p", &file, "grants = { metrics = true }")));
    thread::scope(|scope| {
        let running = scope.spawn(|| gateway.call("it", "sleep", "[1500,1]"));
        wait_count(&gateway, "it", "in_flight", 1);
        let mut caller = gateway.connect();
        caller.write_all(b"POST /local/it/v1/call/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
        wait_count(&gateway, "it", "waiting", 1);
        drop(caller);
        wait_count(&gateway, "it", "waiting", 0);
        wait_for("its after-hook", || (state_of(&gateway, "p")["counters"]["after"] == 1).then_some(()));
        assert_eq!(gateway.readiness("it")["in_flight"], 1, "the first call has ended, so this shows nothing");
        assert_ok(&running.join().unwrap(), "1");
    });
}

#[test]
pub(super) fn a_hook_runs_to_its_end_when_its_caller_goes_away() {
    let held = Held::new();
    let url = held.url("/");
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'w', |c| {
            held::get(c, &url);
            let name = c.text("waited");
            c.call("metrics", "add", format!("{name} (i64.const 1)"));
        });
    });
    let keys =
        format!("max_instances = 2\ntimeout = \"20s\"\ngrants = {{ metrics = true, http = [{:?}] }}", held.origin);
    let (gateway, _files) = with_plugin("", plugin, &keys);
    for n in 1..=4 {
        let request = call_and_go(&gateway, &held);
        request.answer("200 OK", "", "");
        wait_for("the end of the hook", || (state_of(&gateway, "p")["counters"]["waited"] == n).then_some(()));
    }
    let state = state_of(&gateway, "p");
    assert!(state["failures"] == 0 && state["instances"].as_u64().unwrap() <= 2, "{state}");
}

#[test]
pub(super) fn hook_calls_beyond_max_instances_wait_and_those_beyond_the_queue_are_refused() {
    let held = Held::new();
    let keys =
        format!("timeout = \"3s\"\nmax_instances = 1\ngrants = {{ metrics = true, http = [{:?}] }}", held.origin);
    let (gateway, _files) = with_plugin("", waiting(&held.url("/")), &keys);
    thread::scope(|scope| {
        let first = scope.spawn(|| call_do(&gateway, "wait"));
        let request = held.next();
        let others: Vec<_> = (0..70).map(|_| scope.spawn(|| timed(|| call_do(&gateway, "x")))).collect();
        let refused = wait_for("those beyond the queue", || {
            let ended = others.iter().filter(|other| other.is_finished()).count();
            (ended >= 6).then_some(ended)
        });
        assert_eq!(refused, 6);
        request.answer("200 OK", "", "");
        assert_ok(&first.join().unwrap(), "[1]");
        let answers: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(answer, _)| answer.status == 200);
        assert_eq!((served.len(), refused.len()), (64, 6));
        for (answer, time) in refused {
            assert_error(answer, 503, "overloaded");
            assert!(answer.header("retry-after").is_some() && *time < Duration::from_secs(2), "{time:?} {answer:?}");
        }
    });
    // Overload does not open the breaker.
    wait_status(&gateway, "p", "ready");
}

#[test]
fn callers_that_go_away_leave_the_queue() {
    let held = Held::new();
    let keys =
        format!("timeout = \"20s\"\nmax_instances = 1\ngrants = {{ metrics = true, http = [{:?}] }}", held.origin);
    // Without an after-hook a call ends when its caller goes away.
    let plugin = waiting(&held.url("/"));
    let (gateway, _files) = with_plugin("", plugin, &format!("hooks = [\"before-invoke\"]\n{keys}"));
    thread::scope(|scope| {
        let first = scope.spawn(|| call_do(&gateway, "wait"));
        let request = held.next();
        for _ in 0..3 {
            let callers: Vec<_> = (0..64)
                .map(|_| {
                    let mut caller = gateway.connect();
                    caller
                        .write_all(b"POST /local/it/v1/call/args HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
                        .unwrap();
                    caller
                })
                .collect();
            drop(callers);
        }
        // A caller that stays gets the instance.
        let other = scope.spawn(|| timed(|| call_do(&gateway, "x")));
        wait_for("a caller who waits", || {
            let (until, mut waits) = (Instant::now() + Duration::from_millis(300), true);
            while waits && Instant::now() < until {
                waits = !other.is_finished();
                thread::yield_now();
            }
            waits.then_some(())
        });
        request.answer("200 OK", "", "");
        assert_ok(&first.join().unwrap(), "[1]");
        assert_ok(&other.join().unwrap().0, "[1]");
    });
}

#[test]
fn live_hook_calls_are_recorded_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    let file = files.put("p.wasm", marking("abc").component());
    let record = files.path().join("calls.jsonl");
    let tables = deployment("it") + &table("p", &file, &format!("record = {record:?}"));
    let gateway = Gateway::ready(&tables);
    assert_error(&call_do(&gateway, "b"), 403, "forbidden");
    assert_ok(&call_do(&gateway, "z"), "[1]");
    let lines = wait_for("three lines", || {
        let text = fs::read_to_string(&record).unwrap_or_default();
        let lines: Vec<serde_json::Value> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= 3).then_some(lines)
    });
    assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
    let told = |at: usize| (lines[at]["hook"].clone(), lines[at]["expect"]["verdict"].clone());
    assert_eq!(told(0), (json!("before-invoke"), json!("reject")));
    assert_eq!(told(1), (json!("before-invoke"), json!("proceed")));
    assert_eq!(told(2), (json!("after-invoke"), json!("done")));
    assert_eq!(lines[0]["call"]["headers"]["x-do"], "b");
}

#[test]
fn a_flood_of_failures_writes_few_lines_and_says_how_many_there_were() {
    let plugin = Plugin::new().before_invoke(|c| asked(c).on(c, 't', |c| c.raw("(unreachable)")));
    let (gateway, _files) = with_plugin("", plugin, "");
    let begun = Instant::now();
    // Fewer failures than would open a breaker.
    let fail_once = || {
        assert_failed(&call_do(&gateway, "trap"));
        assert_ok(&call_do(&gateway, "nothing"), "[1]");
        assert_ok(&call_do(&gateway, "nothing"), "[1]");
    };
    (0..100).for_each(|_| fail_once());
    let is_later = |line: &str| line.contains("plugin failed") && !line.contains("count=1 ");
    wait_for("a line that counts more than one failure", || {
        fail_once();
        gateway.log().lines().any(is_later).then_some(())
    });
    let lines = gateway.log().matches("plugin failed").count() as u64;
    assert!(lines <= 5 * (begun.elapsed().as_secs() + 2), "{lines} lines in {:?}", begun.elapsed());
}

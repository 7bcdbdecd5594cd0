//! Calls through their plugins: order, verdicts, what hooks see and change, what a plugin applies to, and what becomes of a
//! call when one fails.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::faulty::{assert_error, assert_ok, timed};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::held::Held;
use crate::plugins::{
    Files, asked, call_do, call_with, count_of, deployment, refusal_of, state_of, table, wait_status, with_plugin,
};
use crate::support::{Gateway, fixture, wait_for};

/// Adds a letter to a request's header `x-order`, and to that of the answer.
fn ordered(letter: &str) -> Plugin {
    Plugin::new().before_invoke(|c| append(c, "invocation", "x-order", letter)).after_invoke(|c| {
        append(c, "outcome", "x-after", letter);
        let name = c.text("x-order");
        let before = c.call("invocation", "header", name);
        let before = c.or_empty(before);
        c.set_header("outcome", "x-before", &before);
    })
}

fn append(c: &mut Code, of: &str, header: &str, letter: &str) {
    let (name, letter) = (c.text(header), c.text(letter));
    let before = c.call(of, "header", name);
    let before = c.or_empty(before);
    let after = c.join(&[before, letter]);
    let set = c.set_header(of, header, &after);
    c.expect_ok(set);
}

/// A gateway with the deployment `it` and these plugins, in order.
#[track_caller]
fn with_plugins(plugins: Vec<(&str, Plugin, &str)>) -> (Gateway, Files) {
    let files = Files::new();
    let mut tables = deployment("it");
    for (name, plugin, keys) in plugins {
        let file = files.put(&format!("{name}.wasm"), plugin.component());
        tables += &table(name, &file, keys);
    }
    (Gateway::ready(&tables), files)
}

#[test]
fn before_hooks_run_in_order_and_after_hooks_in_reverse() {
    let plugins = vec![("first", ordered("a"), ""), ("second", ordered("b"), ""), ("third", ordered("c"), "")];
    let (gateway, _files) = with_plugins(plugins);
    let answer = call_do(&gateway, "x");
    assert_ok(&answer, "[1]");
    assert_eq!((answer.header("x-before"), answer.header("x-after")), (Some("abc"), Some("cba")));
    let readiness = gateway.get("/readyz").json();
    let names: Vec<_> = readiness["plugins"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["first", "second", "third"]);
}

fn set_context(c: &mut Code, key: &str, value: &str, shared: bool) {
    let (key, value) = (c.text(key), c.text(value));
    let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const {})", i32::from(shared)));
    c.expect_ok(set);
}

fn context(c: &mut Code, key: &str) -> crate::plugins::component::Text {
    let key = c.text(key);
    let found = c.call("invocation", "context", key);
    c.or_empty(found)
}

#[test]
fn the_context_goes_with_the_call_and_private_values_stay_private() {
    let first = Plugin::new()
        .before_invoke(|c| {
            set_context(c, "caller", "\"alice\"", true);
            set_context(c, "mine", "{\"n\":1}", false);
            set_context(c, "both", "\"of the first\"", false);
        })
        .after_invoke(|c| {
            for (header, key) in [("x-caller", "caller"), ("x-mine", "mine"), ("x-both", "both"), ("x-late", "late")] {
                let value = context(c, key);
                c.set_header("outcome", header, &value);
            }
        });
    let second = Plugin::new().before_invoke(|c| {
        set_context(c, "both", "\"of the second\"", true);
        set_context(c, "late", "[2]", true);
        let seen = ["caller", "mine", "both"].map(|key| context(c, key));
        let between = c.text("|");
        let [caller, mine, both] = seen;
        let told = c.join(&[caller, between.clone(), mine, between, both]);
        c.tell(&told);
    });
    let (gateway, _files) = with_plugins(vec![("first", first, ""), ("second", second, "")]);
    // Twice: the second call has a bag of its own.
    for _ in 0..2 {
        let answer = call_do(&gateway, "x");
        assert_eq!(answer.message(), "\"alice\"||\"of the second\"");
        let header = |name: &str| answer.header(name).unwrap().to_owned();
        assert_eq!(header("x-caller"), "\"alice\"");
        assert_eq!(header("x-mine"), "{\"n\":1}");
        assert_eq!(header("x-both"), "\"of the first\"", "the own value before a shared one");
        assert_eq!(header("x-late"), "[2]");
    }
}

#[test]
fn the_context_has_its_limits() {
    let plugin = Plugin::new().item("(global $n (mut i32) (i32.const 0))").before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'l', |c| {
            let (key, value) = (c.text("large"), c.text(format!("\"{}\"", "x".repeat(70_000))));
            let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const 0)"));
            c.when(set.byte(), |c| c.tell(&set.inner()));
        });
        asked.on(c, 'm', |c| {
            c.raw("(global.set $n (i32.const 0)) (loop $more");
            c.raw("(global.set $n (i32.add (global.get $n) (i32.const 1)))");
            let (key, value) = (c.decimal32("(global.get $n)"), c.text("1"));
            let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const 0)"));
            c.when(set.byte(), |c| {
                let told = c.join(&[key.clone(), set.inner()]);
                c.tell(&told);
            });
            c.raw("(br $more))");
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    assert!(call_do(&gateway, "large").message().contains("limit 65536"));
    assert!(call_do(&gateway, "many").message().starts_with("65a context of more than 64 values"));
}

#[test]
fn a_before_hook_answers_with_status_headers_and_body() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        let (body, none) = (c.text("{\"cached\": true}"), c.text(""));
        let plain = ("content-type", "application/vnd.api+json");
        asked.on(c, 'r', |c| c.respond(201, &[("x-made", "here"), plain, ("x-made", "twice")], &body));
        asked.on(c, 'e', |c| c.respond(204, &[], &none));
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    let answer = call_do(&gateway, "respond");
    assert_eq!((answer.status, answer.body.as_str()), (201, "{\"cached\": true}"));
    assert_eq!(answer.header("content-type"), Some("application/vnd.api+json"));
    let made: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-made").map(|(_, value)| value).collect();
    assert_eq!(made, ["here", "twice"]);
    assert!(answer.header("x-request-id").is_some() && answer.header("x-metagate-error").is_none(), "{answer:?}");
    let answer = call_do(&gateway, "empty");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(count_of(&gateway, "p", "refusals"), 2);
}

#[test]
fn a_rejection_has_the_one_shape_of_errors() {
    let plugin = Plugin::new().before_invoke(|c| {
        let message = c.text("a key is needed: \"x-api-key\"");
        c.reject(401, "unauthorized", &message, &[("WWW-Authenticate", "ApiKey"), ("retry-after", "7")]);
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    let answer = call_do(&gateway, "x");
    assert_error(&answer, 401, "unauthorized");
    let error = &answer.json()["error"];
    assert_eq!(error["message"], "a key is needed: \"x-api-key\"");
    assert_eq!(error["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!((answer.header("www-authenticate"), answer.header("retry-after")), (Some("ApiKey"), Some("7")));
    // The function was not called, whether it is there or not.
    assert_error(&gateway.call("it", "nothing_of_this_name", "[]"), 401, "unauthorized");
}

#[test]
fn arguments_and_headers_are_changed_for_those_behind() {
    let first = Plugin::new().before_invoke(|c| {
        let (arguments, secret, user) = (c.text("[7,\n {\"a\": 8}]"), c.text("X-Secret"), c.text("x-user"));
        let set = c.call("invocation", "set-arguments", arguments);
        c.expect_ok(set);
        c.call("invocation", "remove-header", secret);
        let value = c.text("alice");
        let set = c.set_header("invocation", "X-User", &value);
        c.expect_ok(set);
        // Seen by itself as well.
        let own = c.call("invocation", "header", user);
        c.when(format!("(i32.ne {} (i32.const 5))", own.i32_at(8)), |c| c.raw("(unreachable)"));
    });
    let second = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        let (secret, user) = (c.text("x-secret"), c.text("x-user"));
        let (secret, user) = (c.call("invocation", "header", secret), c.call("invocation", "header", user));
        let arguments = c.call("invocation", "arguments", "");
        let size = c.call("invocation", "arguments-size", "");
        let (secret, user, size) = (c.or_empty(secret), c.or_empty(user), c.decimal(size.i64_at(0)));
        let between = c.text("|");
        let told = c.join(&[secret, between.clone(), user, between.clone(), arguments.text(), between, size]);
        asked.on(c, 't', |c| c.tell(&told));
    });
    let (gateway, _files) = with_plugins(vec![("first", first, ""), ("second", second, "")]);
    let headers = [("x-secret", "s"), ("x-user", "mallory"), ("x-do", "tell")];
    let answer = call_with(&gateway, "args", &headers, "[1]");
    assert_eq!(answer.message(), "|alice|[7,  {\"a\": 8}]|14");
    assert_ok(&call_with(&gateway, "args", &headers[..2], "[1]"), "[7,{\"a\":8}]");
}

#[test]
fn a_hook_sees_what_the_call_is() {
    let plugin = Plugin::new().before_invoke(|c| {
        let mut told = Vec::new();
        for what in ["deployment", "version", "function", "method", "peer", "id"] {
            let text = c.call("invocation", what, "");
            told.push(text.text());
            told.push(c.text(" "));
        }
        let remaining = c.call("invocation", "remaining", "");
        told.push(c.decimal(remaining.i64_at(0)));
        let headers = c.call("invocation", "headers", "");
        told.push(c.text(" "));
        told.push(c.decimal32(headers.i32_at(4)));
        let told = c.join(&told);
        c.tell(&told);
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    let answer = call_with(&gateway, "nowhere", &[("x-a", "1")], "[]");
    let message = answer.message();
    let words: Vec<&str> = message.split(' ').collect();
    assert_eq!(words[..5], ["it", "v1", "nowhere", "POST", "127.0.0.1"], "{message}");
    assert_eq!(words[5], answer.header("x-request-id").unwrap());
    let remaining: u64 = words[6].parse().unwrap();
    assert!((20_000..=30_000).contains(&remaining), "{message}");
    assert!(words[7].parse::<u32>().unwrap() >= 3, "{message}");
    assert!(gateway.get("/local/it/v1/call/f").message().contains("it v1 f GET 127.0.0.1"));
}

/// Writes onto the answer what the outcome was.
fn seeing() -> Plugin {
    Plugin::new().after_invoke(|c| {
        let source = c.call("outcome", "source", "");
        let status = c.call("outcome", "status", "");
        let code = c.call("outcome", "code", "");
        let size = c.call("outcome", "body-size", "");
        let body = c.call("outcome", "body", "");
        let (elapsed, worker) = (c.call("outcome", "elapsed", ""), c.call("outcome", "in-worker", ""));
        c.when(format!("(i64.gt_u {} {})", worker.i64_at(0), elapsed.i64_at(0)), |c| c.raw("(unreachable)"));
        let worked = c.decimal32(format!("(i64.ne {} (i64.const 0))", worker.i64_at(0)));
        let same = c.decimal32(format!("(i64.eq {} (i64.extend_i32_u {}))", size.i64_at(0), body.i32_at(4)));
        let (source, status, code) = (c.decimal32(source.i32()), c.decimal32(status.i32()), c.or_empty(code));
        let between = c.text(" ");
        let texts = [source, between.clone(), status, between.clone(), code, between.clone(), worked, between, same];
        let seen = c.join(&texts);
        c.set_header("outcome", "x-seen", &seen);
    })
}

#[test]
fn an_after_hook_sees_every_outcome() {
    let files = Files::new();
    let seeing = files.put("seeing.wasm", seeing().component());
    let rejecting = Plugin::new().before_invoke(|c| {
        let message = c.text("not this one");
        c.reject(403, "forbidden", &message, &[]);
    });
    let rejecting = files.put("rejecting.wasm", rejecting.component());
    let folder = fixture("node-values");
    let deployments = format!("[[deployment]]\nname = \"it\"\npath = {folder:?}\ntimeout = \"400ms\"\n");
    let gateway = Gateway::ready(
        &(deployments + &table("seeing", &seeing, "") + &table("rejecting", &rejecting, "functions = [\"refused\"]")),
    );
    // Source, status, code, whether it was in the worker, whether body and size agree.
    for (function, body, seen) in [
        ("echo", "[1]", "0 200  1 1"),
        ("nothing", "[]", "0 200  1 1"),
        ("throwError", "[\"no\"]", "1 500 function_error 1 1"),
        ("reject", "[\"no\"]", "1 500 function_error 1 1"),
        ("nowhere", "[]", "3 404 function_not_found 1 1"),
        ("sleep", "[5000]", "3 504 call_timeout 1 1"),
        ("refused", "[]", "2 403 forbidden 0 1"),
        ("exit", "[3]", "3 502 worker_crashed 1 1"),
    ] {
        let answer = gateway.call("it", function, body);
        assert_eq!(answer.header("x-seen"), Some(seen), "{function}: {answer:?}\n{}", gateway.log());
    }
}

#[test]
fn an_after_hook_changes_status_headers_body_and_problem() {
    let plugin = Plugin::new().after_invoke(|c| {
        let asked = asked(c);
        let status = |c: &mut Code, status: u16| {
            let set = c.call("outcome", "set-status", format!("(i32.const {status})"));
            c.expect_ok(set);
        };
        let body = |c: &mut Code, body: &str| {
            let body = c.text(body);
            let set = c.call("outcome", "set-body", body);
            c.expect_ok(set);
        };
        asked.on(c, 's', |c| status(c, 202));
        asked.on(c, 'b', |c| body(c, "{\"data\": 1}"));
        asked.on(c, 'n', |c| body(c, ""));
        asked.on(c, 'a', |c| {
            status(c, 299);
            body(c, "3");
            status(c, 203);
        });
        asked.on(c, 'h', |c| {
            for (name, value) in [("x-one", "1"), ("x-two", "2"), ("X-One", "3")] {
                let value = c.text(value);
                let set = c.set_header("outcome", name, &value);
                c.expect_ok(set);
            }
            let gone = c.text("X-TWO");
            c.call("outcome", "remove-header", gone);
        });
        asked.on(c, 'p', |c| {
            let set = c.set_problem(451, "not_here", "for a reason", &[("x-why", "law")]);
            c.expect_ok(set);
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    let made = |what: &str, function: &str| {
        let answer = call_with(&gateway, function, &[("x-do", what)], "[1]");
        (answer.status, answer.body.clone(), answer)
    };
    let ok = |status: u16, body: &str, (got, found, answer): (u16, String, crate::support::Answer)| {
        assert_eq!((got, found.as_str()), (status, body), "{answer:?}");
        assert_eq!(answer.header("x-metagate-error"), None, "{answer:?}");
    };
    ok(202, "[1]", made("status", "args"));
    ok(200, "{\"data\": 1}", made("body", "args"));
    ok(200, "", made("nothing", "args"));
    ok(203, "3", made("all", "args"));
    // A failure becomes a result.
    ok(200, "{\"data\": 1}", made("body", "nowhere"));
    ok(203, "3", made("all", "nowhere"));
    let (status, _, answer) = made("status", "nowhere");
    assert_eq!((status, answer.header("x-metagate-error")), (202, Some("function_not_found")), "still an error");
    let (_, _, answer) = made("headers", "args");
    assert_eq!((answer.header("x-one"), answer.header("x-two")), (Some("3"), None));
    for function in ["args", "nowhere"] {
        let (_, _, answer) = made("problem", function);
        assert_error(&answer, 451, "not_here");
        assert_eq!((answer.message().as_str(), answer.header("x-why")), ("for a reason", Some("law")));
    }
}

/// Marks answers with its name; ends calls where it is asked to.
fn marking(name: &'static str) -> Plugin {
    Plugin::new()
        .before_invoke(|c| {
            let asked = asked(c);
            let body = c.text("0");
            asked.on(c, name.chars().next().unwrap(), |c| c.respond(200, &[], &body));
            asked.on(c, name.chars().nth(1).unwrap(), |c| c.reject(403, "forbidden", &body, &[]));
            asked.on(c, name.chars().nth(2).unwrap(), |c| c.raw("(unreachable)"));
        })
        .after_invoke(|c| {
            let value = c.text(name);
            c.set_header("outcome", &format!("x-{name}"), &value);
        })
}

#[test]
fn when_a_plugin_ends_a_call_the_after_hooks_of_those_before_it_run() {
    let plugins = vec![("first", marking("abc"), ""), ("second", marking("def"), ""), ("third", marking("ghi"), "")];
    let (gateway, _files) = with_plugins(plugins);
    let names = ["x-abc", "x-def", "x-ghi"];
    for (what, status, marked) in [
        ("d", 200, [true, false, false]),
        ("e", 403, [true, false, false]),
        ("f", 503, [true, false, false]),
        ("a", 200, [false, false, false]),
        ("h", 403, [true, true, false]),
        ("z", 200, [true, true, true]),
    ] {
        let answer = call_do(&gateway, what);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(names.map(|name| answer.header(name).is_some()), marked, "{what}: {answer:?}");
    }
}

/// Changes what it can and then traps.
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
fn on_error_says_what_a_failure_leads_to() {
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
fn what_a_hook_changed_before_it_failed_is_not_seen_by_others() {
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
fn in_observe_mode_nothing_is_carried_out_and_everything_is_counted() {
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
    let log = gateway.log();
    assert!(log.contains("would have ended the call") && log.contains("forbidden"), "{log}");
    assert!(log.contains("would have changed the outcome") && log.contains("to=202"), "{log}");
}

#[test]
fn a_plugin_runs_where_its_patterns_and_exclusions_say() {
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
fn only_the_hooks_that_are_named_run_and_they_have_to_be_there() {
    let (gateway, files) = with_plugin("", marking("abc"), "hooks = [\"after-invoke\"]");
    let answer = call_do(&gateway, "b");
    assert_ok(&answer, "[1]");
    assert!(answer.header("x-abc").is_some());
    assert_eq!(state_of(&gateway, "p")["hooks"], json!(["after-invoke"]));
    let words = refusal_of(&table("p", &files.path().join("p.wasm"), "hooks = [\"before-load\"]"));
    assert!(words.contains("it has no hook \"before-load\": it exports before-invoke, after-invoke"), "{words}");
}

#[test]
fn a_pinned_file_has_to_be_the_one() {
    let files = Files::new();
    let file = files.put("p.wasm", marking("abc").component());
    let wrong = "0".repeat(64);
    let words = refusal_of(&table("p", &file, &format!("sha256 = {wrong:?}")));
    let found = words.split("SHA-256 is ").nth(1).unwrap_or_else(|| panic!("{words}")).split(',').next().unwrap();
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, &format!("sha256 = {found:?}"))));
    assert_eq!(state_of(&gateway, "p")["sha256"], found);
    // Another file is not taken in its place.
    files.put("p.wasm", marking("def").component());
    let answer = crate::plugins::reload(&gateway);
    assert_error(&answer, 422, "bad_plugin");
    assert!(answer.message().contains("not the one in sha256"), "{answer:?}");
    assert!(call_do(&gateway, "z").header("x-abc").is_some());
}

#[test]
fn an_instance_is_replaced_after_its_uses() {
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
fn where_no_plugin_applies_no_plugin_works() {
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

/// Waits for the answer of a server before each call, and counts what it has begun and ended.
fn waiting(url: &str) -> Plugin {
    Plugin::new()
        .before_invoke(|c| {
            let asked = asked(c);
            asked.on(c, 'w', |c| {
                crate::plugins::held::get(c, url);
            });
        })
        .after_invoke(|c| {
            let name = c.text("after");
            c.call("metrics", "add", format!("{name} (i64.const 1)"));
        })
}

#[test]
fn the_after_hook_runs_for_a_caller_that_went_away_and_the_instance_is_kept() {
    let held = Held::new();
    let keys = format!("timeout = \"20s\"\ngrants = {{ metrics = true, http = [{:?}] }}", held.origin);
    let (gateway, _files) = with_plugin("", waiting(&held.url("/")), &keys);
    assert_ok(&call_do(&gateway, "x"), "[1]");
    let before = state_of(&gateway, "p");
    let mut caller = gateway.connect();
    let body = "[1]";
    write!(
        caller,
        "POST /local/it/v1/call/args HTTP/1.1\r\nhost: x\r\nx-do: wait\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let request = held.next();
    drop(caller);
    // The gateway has seen the caller's end when it has served somebody else after it.
    assert_ok(&call_do(&gateway, "x"), "[1]");
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
fn more_hook_calls_than_may_run_wait_and_more_than_may_wait_are_refused() {
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
    // To be full is no fault of the plugin.
    wait_status(&gateway, "p", "ready");
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

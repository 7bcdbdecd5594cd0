//! Calls through chains of plugins: order, verdicts, and what hooks read and change.

use crate::faulty::{assert_error, assert_ok};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::{Files, asked, call_do, call_with, count_of, deployment, table, with_plugin};
use crate::support::{Gateway, fixture};

/// Appends a letter to the header `x-order` of the request, and to that of the answer.
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
pub(crate) fn with_plugins(plugins: Vec<(&str, Plugin, &str)>) -> (Gateway, Files) {
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

pub(crate) fn set_context(c: &mut Code, key: &str, value: &str, shared: bool) {
    let (key, value) = (c.text(key), c.text(value));
    let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const {})", i32::from(shared)));
    c.expect_ok(set);
}

pub(crate) fn context(c: &mut Code, key: &str) -> crate::plugins::component::Text {
    let key = c.text(key);
    let found = c.call("invocation", "context", key);
    c.or_empty(found)
}

#[test]
pub(super) fn the_context_belongs_to_the_call_and_private_values_stay_private() {
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
    // Twice: the second call has its own context.
    for _ in 0..2 {
        let answer = call_do(&gateway, "x");
        assert_eq!(answer.message(), "\"alice\"||\"of the second\"");
        let header = |name: &str| answer.header(name).unwrap().to_owned();
        assert_eq!(header("x-caller"), "\"alice\"");
        assert_eq!(header("x-mine"), "{\"n\":1}");
        assert_eq!(header("x-both"), "\"of the first\"", "its own value comes before a shared one");
        assert_eq!(header("x-late"), "[2]");
    }
}

#[test]
pub(super) fn the_context_has_its_limits() {
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
    assert!(call_do(&gateway, "large").message().contains("exceeds the limit of 65536"));
    assert!(call_do(&gateway, "many").message().starts_with("65the context exceeds 64 values"));
}

#[test]
pub(super) fn a_before_hook_answers_with_status_headers_and_body() {
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
fn a_rejection_has_the_form_of_all_errors() {
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
    // The function is not called, whether it exists or not.
    assert_error(&gateway.call("it", "nothing_of_this_name", "[]"), 401, "unauthorized");
}

#[test]
pub(super) fn changes_of_arguments_and_headers_reach_later_plugins_and_the_function() {
    let first = Plugin::new().before_invoke(|c| {
        let (arguments, secret, user) = (c.text("[7,\n {\"a\": 8}]"), c.text("X-Secret"), c.text("x-user"));
        let set = c.call("invocation", "set-arguments", arguments);
        c.expect_ok(set);
        c.call("invocation", "remove-header", secret);
        let value = c.text("alice");
        let set = c.set_header("invocation", "X-User", &value);
        c.expect_ok(set);
        // The plugin that changes them sees the changes too.
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
pub(super) fn a_hook_reads_every_field_of_the_call() {
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

/// Copies the fields of the outcome into headers of the answer.
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
pub(super) fn an_after_hook_sees_every_outcome() {
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
pub(super) fn an_after_hook_changes_status_headers_body_and_problem() {
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

/// Adds its name to answers. Ends calls on request.
pub(crate) fn marking(name: &'static str) -> Plugin {
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
fn when_a_plugin_ends_a_call_the_after_hooks_of_earlier_plugins_run() {
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

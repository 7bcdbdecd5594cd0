//! A recording of live hook calls, replayed by `metagate plugin test`.

use std::fs;
use std::path::Path;

use crate::plugin_tools::{json, plugin};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::{Files, asked, call_do, call_with, deployment, table};
use crate::support::{Gateway, wait_for};

/// Rejects, answers, changes the call or traps, as the call requests.
fn act_as_asked(c: &mut Code) {
    let asked = asked(c);
    asked.on(c, 'r', |c| {
        let message = c.text("not you");
        c.reject(401, "unauthorized", &message, &[("www-authenticate", "Key"), ("x-two", "2")]);
    });
    asked.on(c, 'a', |c| {
        let body = c.text("{\"from\": \"plugin\", \"n\": 1.50}");
        c.respond(203, &[("x-by", "plugin")], &body);
    });
    asked.on(c, 'e', |c| {
        let nothing = c.text("");
        c.respond(204, &[], &nothing);
    });
    asked.on(c, 's', |c| {
        let arguments = c.text("[\"other\", 9007199254740993]");
        let set = c.call("invocation", "set-arguments", &arguments);
        c.expect_ok(set);
        let value = c.text("v");
        let set = c.set_header("invocation", "x-new", &value);
        c.expect_ok(set);
        let name = c.text("accept");
        c.call("invocation", "remove-header", &name);
    });
    asked.on(c, 't', |c| c.raw("(unreachable)"));
}

/// A plugin that uses every hook and effect. It adds its mark to each answer that reaches it.
fn busy(mark: &str) -> Plugin {
    let mark = mark.to_owned();
    Plugin::new()
        .before_load(|c| {
            let (name, value) = (c.text("REGION"), c.text("eu"));
            let set = c.call("release", "set-environment", format!("{name} {value}"));
            c.expect_ok(set);
            let (name, value) = (c.text("timeout"), c.text("5s"));
            let set = c.call("release", "set-limit", format!("{name} {value}"));
            c.expect_ok(set);
        })
        .after_load(|c| {
            let (name, value) = (c.text("shout"), c.text("cry"));
            c.call("release", "rename", format!("{name} {value}"));
            let (name, value) = (c.text("team"), c.text("a"));
            let set = c.call("release", "set-label", format!("{name} {value}"));
            c.expect_ok(set);
        })
        .before_invoke(|c| {
            // It copies headers into the context, where a header that the recording has lost is missing.
            let headers = c.call("invocation", "headers", "");
            let (key, count) = (c.text("headers"), c.decimal32(headers.i32_at(4)));
            let set = c.call("invocation", "set-context", format!("{key} {count} (i32.const 0)"));
            c.expect_ok(set);
            let (key, value) = (c.text("large"), c.text("123456789012345678901234567890"));
            let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const 1)"));
            c.expect_ok(set);
            act_as_asked(c);
        })
        .after_invoke(move |c| {
            let id = c.call("invocation", "id", "");
            let key = c.text("headers");
            let seen = c.call("invocation", "context", &key);
            let seen = c.or_empty(seen);
            let mark = c.text(&mark);
            let all = c.join(&[mark, id.text(), seen]);
            let set = c.set_header("outcome", "x-mark", &all);
            c.expect_ok(set);
            let status = c.call("outcome", "status", "");
            c.when(format!("(i32.eq {} (i32.const 404))", status.i32()), |c| {
                let set = c.set_problem(410, "gone", "no more", &[]);
                c.expect_ok(set);
            });
        })
}

fn replay(folder: &Path, component: &str) -> (i32, String) {
    let output = plugin(folder, &["test", component, "calls.jsonl"]);
    (output.code, output.out + &output.err)
}

#[test]
fn a_recording_of_live_calls_replays() {
    let files = Files::new();
    let file = files.put("p.wasm", busy("m").component());
    let recording = files.path().join("calls.jsonl");
    // The recording of the second plugin contains the changes of the first.
    let first = Plugin::new()
        .before_load(|c| {
            let (name, value) = (c.text("FIRST"), c.text("1"));
            let set = c.call("release", "set-environment", format!("{name} {value}"));
            c.expect_ok(set);
        })
        .before_invoke(|c| {
            let (key, value) = (c.text("large"), c.text("1e3"));
            let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const 1)"));
            c.expect_ok(set);
        });
    let first = table("first", &files.put("first.wasm", first.component()), "");
    let settings = format!("record = {recording:?}\ntimeout = \"5s\"");
    let gateway = Gateway::ready(&format!("{}{first}{}", deployment("it"), table("p", &file, &settings)));
    for what in ["nothing", "reject", "answer", "empty", "set", "trap", "nothing"] {
        call_do(&gateway, what);
    }
    assert_eq!(call_do(&gateway, "answer").status, 203);
    let twice = [("x-do", "n"), ("accept", "a/b"), ("accept", "c/d"), ("x-request-id", "an-id-of-mine")];
    assert_eq!(call_with(&gateway, "args", &twice, "{\"a\": 1e2, \"b\": \"\\u00e4\"}").status, 200);
    assert_eq!(call_with(&gateway, "missing", &[], "[]").status, 410);
    assert_eq!(call_with(&gateway, "fail", &[("x-do", "n")], "[]").status / 100, 4);
    // Two loads and eleven calls, five of which end in the plugin itself and so do not reach its after-hook.
    let lines = 2 + 11 + 6;
    wait_for("the recording", || {
        let text = fs::read_to_string(&recording).unwrap_or_default();
        (text.ends_with('\n') && text.lines().count() >= lines).then_some(())
    });
    assert!(gateway.stop().success());
    let text = fs::read_to_string(&recording).unwrap();
    let hooks: Vec<String> = text.lines().map(|line| json(line)["hook"].as_str().unwrap().to_owned()).collect();
    for (hook, count) in [("before-load", 1), ("after-load", 1), ("before-invoke", 11), ("after-invoke", 6)] {
        assert_eq!(hooks.iter().filter(|there| *there == hook).count(), count, "{hook}: {hooks:?}");
    }
    let (code, output) = replay(files.path(), "p.wasm");
    assert_eq!(code, 0, "{output}");
    assert!(output.contains(&format!("{lines} passed, 0 failed")), "{output}");

    // A plugin with another behaviour fails the case of each call that reached its after-hook.
    files.put("other.wasm", busy("other").component());
    let (code, output) = replay(files.path(), "other.wasm");
    assert_eq!((code, output.matches("FAILED").count()), (1, 6), "{output}");
    assert_eq!(output.matches("headers.x-mark: expected \"m").count(), 6, "{output}");
}

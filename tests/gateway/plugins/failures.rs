//! What the log has about a hook that traps: its last errors, and the functions it came through. Callers and users of
//! the API get none of it.

use std::fs;

use crate::plugins::component::{Code, Plugin};
use crate::plugins::{Files, assert_failed, call_do, deployment, reload, table, with_plugin};
use crate::support::{Gateway, metagate, wait_for};

const APART: &str = "isolation = \"process\"";

/// Logs an error and traps in another function.
fn fail(c: &mut Code) {
    let line = c.text("panicked at src/lib.rs:7:9: no such cabin");
    c.call("log", "write", format!("(i32.const 4) {line}"));
    c.raw("(call $too_deep)");
}

fn plugin() -> Plugin {
    Plugin::new().item("(func $too_deep (unreachable))")
}

/// The whole of a failure in a text.
fn has_all(text: &str) -> bool {
    ["unreachable", "src/lib.rs:7:9: no such cabin", "in too_deep"].iter().all(|part| text.contains(part))
}

/// A text for others says that the plugin failed, and not how.
#[track_caller]
fn assert_tells_nothing(text: &str) {
    assert!(!["cabin", "lib.rs", "too_deep"].iter().any(|part| text.contains(part)), "{text}");
}

#[test]
fn the_log_has_the_errors_and_the_functions_of_a_trap_and_the_caller_has_nothing() {
    for keys in ["", APART] {
        let (gateway, _files) = with_plugin("", plugin().before_invoke(fail), keys);
        let answer = call_do(&gateway, "x");
        assert_failed(&answer);
        assert_tells_nothing(&format!("{answer:?}"));
        wait_for("the failure in the log", || {
            let log = gateway.log();
            log.find("plugin failed").filter(|at| has_all(&log[*at..])).map(|_| ())
        });
    }
}

#[test]
fn a_failing_load_hook_says_to_those_who_deploy_only_that_it_trapped() {
    let files = Files::new();
    let file = files.put("p.wasm", plugin().before_load(fail).component());
    let gateway = Gateway::start(&format!("{}{}", deployment("it"), table("p", &file, "")));
    let ready = wait_for("the refusal", || {
        Some(gateway.get("/readyz").body).filter(|ready| ready.contains("refused_by_plugin"))
    });
    assert!(ready.contains("trapped: "), "{ready}");
    assert_tells_nothing(&ready);
    wait_for("the failure in the log", || has_all(&gateway.log()).then_some(()));
}

#[test]
fn a_plugin_that_traps_at_its_start_says_all_to_check_and_to_the_log() {
    for keys in ["", APART] {
        let files = Files::new();
        let file = files.put("p.wasm", plugin().start(fail).before_invoke(|_| {}).component());
        let gateway = Gateway::ready(&deployment("it"));
        let toml = gateway.folder.path().join("metagate.toml");
        let tables = fs::read_to_string(&toml).unwrap() + &table("p", &file, keys);
        fs::write(&toml, tables).unwrap();
        let answer = reload(&gateway);
        assert!(answer.status == 422 && answer.body.contains("trapped: "), "{answer:?}");
        assert_tells_nothing(&answer.body);
        assert_tells_nothing(&gateway.get("/readyz").body);
        assert_tells_nothing(&gateway.get("/api/plugins").body);
        wait_for("the failure in the log", || has_all(&gateway.log()).then_some(()));
        let checked = metagate().arg("check").arg(&toml).output().unwrap();
        let words = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.code() == Some(1) && has_all(&words), "{words}");
    }
}

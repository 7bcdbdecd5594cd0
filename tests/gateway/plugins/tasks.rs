//! The long-lived threads of plugins restart after a panic: the clock that interrupts hooks, and the recorder of hook
//! calls.

use std::fs;
use std::time::Duration;

use crate::faulty::{assert_error, assert_ok, timed};
use crate::plugins::component::Plugin;
use crate::plugins::{Files, asked, call_do, deployment, table};
use crate::support::{Gateway, wait_for};

fn looper() -> Plugin {
    Plugin::new().before_invoke(|c| asked(c).on(c, 'l', |c| c.raw("(loop (br 0))")))
}

fn panicking(tables: &str, task: &str) -> Gateway {
    let gateway = Gateway::start_with(tables, |command| {
        command.env("METAGATE_TEST_PANIC", task);
    });
    gateway.wait_ready();
    gateway
}

#[test]
fn hooks_are_interrupted_after_the_clock_panicked() {
    let files = Files::new();
    let file = files.put("p.wasm", looper().component());
    let tables = deployment("it") + &table("p", &file, "timeout = \"50ms\"");
    let gateway = panicking(&tables, "wasm-epoch");
    let (answer, time) = timed(|| call_do(&gateway, "loop"));
    assert_error(&answer, 503, "plugin_failed");
    assert!(time < Duration::from_secs(5), "{time:?}");
    wait_for("the restart in the log", || gateway.log().contains("task=wasm-epoch").then_some(()));
}

#[test]
fn hook_calls_are_recorded_after_the_recorder_panicked() {
    let files = Files::new();
    let file = files.put("p.wasm", looper().component());
    let record = files.path().join("calls.jsonl");
    let tables = deployment("it") + &table("p", &file, &format!("record = {record:?}"));
    let gateway = panicking(&tables, "hook-recorder");
    assert_ok(&call_do(&gateway, "z"), "[1]");
    wait_for("the restart in the log", || gateway.log().contains("task=hook-recorder").then_some(()));
    assert_ok(&call_do(&gateway, "z"), "[1]");
    wait_for("a recorded call", || {
        fs::read_to_string(&record).is_ok_and(|text| text.contains("proceed")).then_some(())
    });
}

#[test]
fn the_process_of_a_plugin_is_kept_after_its_keeper_panicked() {
    let files = Files::new();
    let file = files.put("p.wasm", looper().component());
    let tables = deployment("it") + &table("p", &file, "isolation = \"process\"");
    let gateway = panicking(&tables, "plugin-process");
    assert!(gateway.log().contains("task=plugin-process"), "{}", gateway.log());
    assert_ok(&call_do(&gateway, "z"), "[1]");
}

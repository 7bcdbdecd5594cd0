//! P12: a plugin that fails is turned off for the callers and deployments for which it fails, and as a whole only when
//! it fails for several.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::faulty::assert_ok;
use crate::plugins::component::Plugin;
use crate::plugins::{
    Files, asked, assert_failed, call_do, count_of, deployment, state_of, table, wait_status, with_plugin,
};
use crate::support::{Answer, Gateway, wait_for};
use crate::wire::{Wire, request};

/// Traps when asked to.
fn trapper() -> Plugin {
    Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'u', |c| c.raw("(unreachable)"));
    })
}

/// A gateway with the deployments `it` and `other` and the plugin on both.
fn shared() -> (Gateway, Files) {
    with_plugin(&deployment("other"), trapper(), "")
}

/// A caller with the address 127.0.0.n.
struct Caller(Wire);

impl Caller {
    fn new(gateway: &Gateway, last: u8) -> Self {
        Self(Wire::from([127, 0, 0, last], gateway))
    }

    fn call(&mut self, deployment: &str, what: &str) -> Answer {
        let headers = [("content-type", "application/json"), ("x-do", what)];
        self.0.send(request("POST", &format!("/local/{deployment}/v1/call/args"), &headers, "[1]")).answer()
    }
}

fn lines_with(gateway: &Gateway, words: &str) -> Vec<String> {
    gateway.log().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}

/// Makes calls until one is refused by an open breaker; returns how many there were.
fn until_open(gateway: &Gateway, mut call: impl FnMut()) -> u64 {
    let mut calls = 0;
    wait_for("an open breaker", || {
        calls += 1;
        call();
        (count_of(gateway, "p", "breaker_refusals") > 0).then_some(calls)
    })
}

#[test]
fn p12_calls_of_one_caller_that_trap_leave_other_callers_and_deployments_served() {
    let (gateway, _files) = shared();
    let (mut bad, mut good) = (Caller::new(&gateway, 2), Caller::new(&gateway, 1));
    let mut all_served = |bad: &mut Caller| {
        assert_ok(&good.call("it", "nothing"), "[1]");
        assert_ok(&good.call("other", "nothing"), "[1]");
        assert_ok(&bad.call("other", "nothing"), "[1]");
    };
    until_open(&gateway, || {
        all_served(&mut bad);
        assert_failed(&bad.call("it", "unreachable"));
    });
    for _ in 1..15 {
        assert_failed(&bad.call("it", "unreachable"));
        all_served(&mut bad);
    }
    let state = state_of(&gateway, "p");
    assert_eq!(state["open_for"], json!(["calls of 127.0.0.2 to it"]), "{state}");
    let refused = state["breaker_refusals"].as_u64().unwrap();
    // On a slow machine some are trials.
    assert!((10..=15).contains(&refused) && state["status"] == "ready", "{state}");
    let metrics = gateway.get("/metrics").body;
    for (name, value) in [("open_breakers", 1), ("ready", 1), ("breaker_refusals_total", refused)] {
        let line = format!("metagate_plugin_{name}{{plugin=\"p\"}} {value}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    let kind = "plugin=\"p\",hook=\"before-invoke\",kind=\"breaker_open\"";
    assert!(metrics.contains(&format!("metagate_plugin_hook_failures_total{{{kind}}} {refused}\n")), "{metrics}");
    assert_eq!(lines_with(&gateway, "breaker opened").len(), 1);

    wait_for("the trial", || Some(bad.call("it", "nothing")).filter(|answer| answer.status == 200));
    assert_eq!(count_of(&gateway, "p", "open_breakers"), 0);
    let closed = wait_for("the line", || lines_with(&gateway, "breaker closed").pop());
    let refused = count_of(&gateway, "p", "breaker_refusals");
    assert!(closed.contains(&format!("refused={refused}")), "{closed}: {refused} refused");
}

#[test]
fn p12_a_few_traps_among_the_calls_of_one_address_refuse_none_of_them() {
    let (gateway, _files) = shared();
    // Such as the callers behind one proxy.
    for n in 0..300 {
        match n % 5 {
            0 | 2 => assert_failed(&call_do(&gateway, "unreachable")),
            _ => assert_ok(&call_do(&gateway, "nothing"), "[1]"),
        }
    }
    assert_eq!((count_of(&gateway, "p", "failures"), count_of(&gateway, "p", "breaker_refusals")), (120, 0));
}

#[test]
fn p12_a_plugin_that_fails_for_everyone_is_soon_turned_off_as_a_whole() {
    let (gateway, _files) = shared();
    let mut callers: Vec<Caller> = (1..=3).map(|last| Caller::new(&gateway, last)).collect();
    let (mut calls, start) = (0, Instant::now());
    while state_of(&gateway, "p")["status"] != "open" {
        for (at, caller) in callers.iter_mut().enumerate() {
            assert_failed(&caller.call(["it", "other"][(calls + at) % 2], "unreachable"));
        }
        calls += 1;
        assert!(start.elapsed() < Duration::from_secs(5), "still called: {}", state_of(&gateway, "p"));
    }
    // A plugin that rejects on errors guards the function, so an open breaker refuses a caller that never failed.
    let mut stranger = Caller::new(&gateway, 9);
    let refused = stranger.call("other", "nothing");
    assert_failed(&refused);
    assert!(refused.message().contains("has failed too often"), "{refused:?}");
    let readiness = gateway.get("/readyz").json();
    assert!(readiness["plugins"][0]["error"].as_str().unwrap().contains("failed too often"), "{readiness}");

    wait_for("the trial", || Some(stranger.call("other", "nothing")).filter(|answer| answer.status == 200));
    wait_status(&gateway, "p", "ready");
}

#[test]
fn p12_an_open_breaker_skips_a_plugin_that_skips_on_errors() {
    let files = Files::new();
    let file = files.put("p.wasm", trapper().component());
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, "on_error = \"skip\"")));
    let calls = until_open(&gateway, || assert_ok(&call_do(&gateway, "unreachable"), "[1]"));
    assert_eq!((count_of(&gateway, "p", "calls"), count_of(&gateway, "p", "breaker_refusals")), (calls - 1, 1));
}
